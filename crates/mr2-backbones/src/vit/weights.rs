//! Between published tensors, under our names ([`Family::to_ours`](crate::weights::keys::Family::to_ours)), and
//! configurations.
use candle_core::{DType, Result, Tensor, bail};
use mr2_nn::layers::Activation;

use super::sizes::VitSize;
use super::{Pooling, VitConfig};
use crate::weights::Tensors;
use crate::weights::positions::{self, Interpolation};

/// What shapes don't say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unseen {
    /// Attention heads; nothing for those of the published net of the width.
    pub heads: Option<usize>,
    /// See [`VitConfig::activation`].
    pub activation: Activation,
    /// See [`VitConfig::eps`].
    pub eps: f64,
    /// See [`VitConfig::pooling`].
    pub pooling: Pooling,
}

/// The configuration that the tensors' names and shapes say. Its image size is that of the position embeddings;
/// it has the projection if they have it.
///
/// # Errors
/// Tensors that are missing or of a wrong rank, a width that no published net has where `heads` isn't given.
pub fn config_of(tensors: &Tensors, unseen: Unseen) -> Result<VitConfig> {
    let [dim, _, patch, _] = dims(tensors, "patch_embed.proj.weight")?;
    let block = |number: usize| tensors.contains_key(&format!("blocks.{number}.norm1.weight"));
    let [mlp_dim, _] = dims(tensors, "blocks.0.mlp.fc1.weight")?;
    let heads = match unseen.heads.or_else(|| VitSize::heads_of(dim)) {
        Some(heads) => heads,
        None => bail!(
            "vit weights: no published net has {dim} features, so its heads aren't known: give them"
        ),
    };
    let projection = match tensors.contains_key("projection.weight") {
        true => Some(dims::<2>(tensors, "projection.weight")?[0]),
        false => None,
    };
    let config = VitConfig {
        image_size: grid_of(tensors)? * patch,
        patch,
        dim,
        depth: (0..).take_while(|&number| block(number)).count(),
        heads,
        mlp_dim,
        activation: unseen.activation,
        eps: unseen.eps,
        patch_bias: tensors.contains_key("patch_embed.proj.bias"),
        qkv_bias: tensors.contains_key("blocks.0.attn.qkv.bias"),
        norm_pre: tensors.contains_key("norm_pre.weight"),
        layer_scale: tensors.contains_key("blocks.0.ls1.gamma").then_some(1e-5),
        pooling: unseen.pooling,
        projection,
    };
    config.check()?;
    Ok(config)
}

/// Whether the tensors are of the configuration's net. Image size, pooling and a projection that isn't wanted
/// may differ: [`for_config`] takes care of those.
///
/// # Errors
/// As [`config_of`]; one error names all differences.
pub fn check_fits(config: &VitConfig, tensors: &Tensors) -> Result<()> {
    let unseen = Unseen {
        heads: Some(config.heads),
        activation: config.activation,
        eps: config.eps,
        pooling: config.pooling,
    };
    let found = config_of(tensors, unseen)?;
    let number = |of: fn(&VitConfig) -> usize| (of(config), of(&found));
    let sizes = [
        ("patch", number(|net| net.patch)),
        ("dim", number(|net| net.dim)),
        ("depth", number(|net| net.depth)),
        ("mlp_dim", number(|net| net.mlp_dim)),
    ];
    let has = |of: fn(&VitConfig) -> bool| (of(config), of(&found));
    let parts = [
        ("patch_bias", has(|net| net.patch_bias)),
        ("qkv_bias", has(|net| net.qkv_bias)),
        ("norm_pre", has(|net| net.norm_pre)),
        ("layer_scale", has(|net| net.layer_scale.is_some())),
    ];
    let sizes = sizes
        .into_iter()
        .filter(|(_, (own, other))| own != other)
        .map(|(what, (own, other))| {
            format!("{what} is {own} in the configuration, {other} in the weights")
        });
    let yes = |has: bool| if has { "has it" } else { "has none" };
    let parts = parts
        .into_iter()
        .filter(|(_, (own, other))| own != other)
        .map(|(what, (own, other))| {
            format!(
                "{what}: the configuration {}, the file {}",
                yes(own),
                yes(other)
            )
        });
    let mut problems: Vec<String> = sizes.chain(parts).collect();
    if config.projection.is_some() && config.projection != found.projection {
        problems.push(format!(
            "projection is {:?} in the configuration, {:?} in the weights",
            config.projection, found.projection
        ));
    }
    if !problems.is_empty() {
        bail!(
            "vit: the weights are of another net:\n  {}",
            problems.join("\n  ")
        )
    }
    Ok(())
}

/// The tensors as the configuration's net needs them: positions interpolated to its image size, the projection
/// dropped where it has none, and for [`Pooling::Mean`] a fresh `fc_norm` where the file has only the class
/// token's `norm`, as MAE is fine-tuned.
///
/// Tensors of another net stay what they are: [`crate::weights::fit`] then lists all that don't fit, and [`check_fits`]
/// says in what the nets differ.
///
/// # Errors
/// Tensors of a type that can't be computed with.
pub fn for_config(config: &VitConfig, mut tensors: Tensors, how: Interpolation) -> Result<Tensors> {
    let positions = tensors.get_mut("pos_embed");
    if let Some(positions) = positions.filter(|it| positions::sizes(it).is_ok()) {
        *positions = positions::interpolate(positions, [config.grid(); 2], how)?;
    }
    if config.projection.is_none() {
        tensors.remove("projection.weight");
    }
    if config.pooling == Pooling::Mean {
        tensors.retain(|name, _| !name.starts_with("norm."));
        if !tensors.contains_key("fc_norm.weight") {
            let (dtype, device) = (DType::F32, &candle_core::Device::Cpu);
            let ones = Tensor::ones(config.dim, dtype, device)?;
            tensors.insert("fc_norm.bias".to_string(), ones.zeros_like()?);
            tensors.insert("fc_norm.weight".to_string(), ones);
        }
    }
    Ok(tensors)
}

fn grid_of(tensors: &Tensors) -> Result<usize> {
    match tensors.get("pos_embed") {
        Some(positions) => Ok(positions::sizes(positions)?.0),
        None => Err(missing("pos_embed")),
    }
}

fn missing(name: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!(
        "vit weights: there is no {name}; is the file of a vision transformer, and of the family that it is read as?"
    ))
}

fn dims<const N: usize>(tensors: &Tensors, name: &str) -> Result<[usize; N]> {
    let Some(tensor) = tensors.get(name) else {
        return Err(missing(name));
    };
    match tensor.dims().try_into() {
        Ok(dims) => Ok(dims),
        Err(_) => bail!(
            "vit weights: {name}: expected {N} dimensions, got {:?}",
            tensor.dims()
        ),
    }
}
