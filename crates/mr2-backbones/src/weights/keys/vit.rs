//! Vision transformers: timm's names, which are ours, and transformers' in both spellings.
use candle_core::Result;

use super::Tensors;
use super::transformer::{from_transformers, is_one_of, without_prefix};

/// transformers' pooler has a layer that classification doesn't use; a mask token is for pretraining.
const DROPPED: [&str; 2] = ["pooler.", "embeddings.mask_token"];

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let mut tensors = without_prefix(tensors, "vit.");
    tensors.retain(|name, _| !is_one_of(name, &DROPPED));
    from_transformers(tensors)
}
