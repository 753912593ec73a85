//! Residual nets for photographs. torchvision's names are timm's and ours; transformers' say where a layer stands in its
//! tree: `resnet.encoder.stages.0.layers.1.layer.2.convolution` is `layer1.1.conv3`.
use candle_core::Result;

use super::rename::{renamed, unwrapped};
use crate::weights::Tensors;

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    renamed(tensors, |name| {
        let name = unwrapped(name);
        Some(from_transformers(name).unwrap_or_else(|| name.to_string()))
    })
}

/// Our name for transformers' `ResNetForImageClassification`, or `ResNetModel` without its prefix.
fn from_transformers(name: &str) -> Option<String> {
    let (path, leaf) = name.rsplit_once('.')?;
    let path = path.strip_prefix("resnet.").unwrap_or(path);
    let parts: Vec<&str> = path.split('.').collect();
    let ours = match parts[..] {
        ["classifier", "1"] => "fc".to_string(),
        ["embedder", "embedder", kind] => format!("{}1", short(kind)?),
        [
            "encoder",
            "stages",
            stage,
            "layers",
            block,
            "layer",
            index,
            kind,
        ] => format!(
            "{}.{}{}",
            block_path(stage, block)?,
            short(kind)?,
            index.parse::<usize>().ok()? + 1
        ),
        [
            "encoder",
            "stages",
            stage,
            "layers",
            block,
            "shortcut",
            kind,
        ] => {
            let index = match short(kind)? {
                "conv" => 0,
                _ => 1,
            };
            format!("{}.downsample.{index}", block_path(stage, block)?)
        }
        _ => return None,
    };
    Some(format!("{ours}.{leaf}"))
}

fn short(kind: &str) -> Option<&'static str> {
    match kind {
        "convolution" => Some("conv"),
        "normalization" => Some("bn"),
        _ => None,
    }
}

/// Stages are counted from 0 there, from 1 here.
fn block_path(stage: &str, block: &str) -> Option<String> {
    Some(format!("layer{}.{block}", stage.parse::<usize>().ok()? + 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rename::tests::{names, tensors};
    use super::*;

    #[test]
    fn torchvisions_names_stay_and_transformers_become_them() {
        let theirs = tensors(&[
            "resnet.embedder.embedder.convolution.weight",
            "resnet.embedder.embedder.normalization.running_mean",
            "resnet.embedder.embedder.normalization.num_batches_tracked",
            "resnet.encoder.stages.3.layers.0.layer.2.normalization.bias",
            "resnet.encoder.stages.3.layers.0.shortcut.convolution.weight",
            "resnet.encoder.stages.3.layers.0.shortcut.normalization.weight",
            "classifier.1.bias",
        ]);
        let ours = [
            "bn1.running_mean",
            "conv1.weight",
            "fc.bias",
            "layer4.0.bn3.bias",
            "layer4.0.downsample.0.weight",
            "layer4.0.downsample.1.weight",
        ];
        assert_eq!(names(&to_ours(theirs).unwrap()), ours);
        assert_eq!(names(&to_ours(tensors(&ours)).unwrap()), ours);
    }

    #[test]
    fn an_unknown_name_stays() {
        let theirs = tensors(&[
            "resnet.encoder.stages.x.layers.0.layer.2.convolution.weight",
            "odd",
        ]);
        assert_eq!(to_ours(theirs.clone()).unwrap().len(), 2);
        assert_eq!(names(&to_ours(theirs.clone()).unwrap()), names(&theirs));
    }
}
