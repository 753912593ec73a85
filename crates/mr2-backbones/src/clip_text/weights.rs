//! From published tensors, under our names ([`Family::ClipText`](crate::weights::keys::Family::ClipText)), to a
//! configuration.
use candle_core::{Result, bail};
use mr2_nn::layers::Activation;

use super::ClipTextConfig;
use crate::weights::Tensors;

/// Features of an attention head in all published towers.
const HEAD: usize = 64;

/// What shapes don't say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unseen {
    /// Attention heads; nothing for one for each 64 features.
    pub heads: Option<usize>,
    /// See [`ClipTextConfig::activation`].
    pub activation: Activation,
    /// See [`ClipTextConfig::eps`].
    pub eps: f64,
}

/// The configuration that the tensors' names and shapes say.
///
/// # Errors
/// Tensors that are missing, as in a file of the image tower alone, or of a wrong rank; sizes that don't go together.
pub fn config_of(tensors: &Tensors, unseen: Unseen) -> Result<ClipTextConfig> {
    let [vocabulary, dim] = dims(tensors, "token_embedding.weight")?;
    let [context, _] = dims(tensors, "positional_embedding")?;
    let [mlp_dim, _] = dims(tensors, "blocks.0.mlp.fc1.weight")?;
    let [projection, _] = dims(tensors, "projection.weight")?;
    let block = |number: usize| tensors.contains_key(&format!("blocks.{number}.norm1.weight"));
    let config = ClipTextConfig {
        vocabulary,
        context,
        dim,
        depth: (0..).take_while(|&number| block(number)).count(),
        heads: unseen.heads.unwrap_or(dim.div_ceil(HEAD)),
        mlp_dim,
        activation: unseen.activation,
        eps: unseen.eps,
        projection,
    };
    config.check()?;
    Ok(config)
}

fn dims(tensors: &Tensors, name: &str) -> Result<[usize; 2]> {
    let Some(tensor) = tensors.get(name) else {
        bail!(
            "clip text: there is no {name}; the file has no text tower of CLIP's kind: take one that holds both towers \
             (openai/clip-vit-*, or open_clip_model.safetensors of timm/*_clip*)"
        )
    };
    match *tensor.dims() {
        [rows, columns] => Ok([rows, columns]),
        _ => bail!(
            "clip text: {name}: expected 2 dimensions, got {:?}",
            tensor.dims()
        ),
    }
}
