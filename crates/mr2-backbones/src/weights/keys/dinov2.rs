//! DINOv2: Meta's names, which are timm's, and transformers'.
use candle_core::{Result, bail};

use super::Tensors;
use super::transformer::{from_transformers, is_one_of, without_prefix};

/// For pretraining.
const DROPPED: [&str; 2] = ["mask_token", "embeddings.mask_token"];

/// Further tokens of the nets with registers (Darcet et al. 2023, arXiv 2309.16588).
const REGISTERS: [&str; 3] = ["register_tokens", "reg_token", "embeddings.register_tokens"];

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let mut tensors = without_prefix(tensors, "dinov2.");
    if let Some(name) = tensors.keys().find(|name| is_one_of(name, &REGISTERS)) {
        bail!("dinov2: the weights have registers ({name}); take those without (dinov2_vitb14)")
    }
    tensors.retain(|name, _| !is_one_of(name, &DROPPED));
    from_transformers(tensors)
}
