//! MAE's encoder: the original files (`model.`), which have timm's names, and transformers' ViTMAE.
//!
//! The encoder's `norm` stays: the class token needs it. For the mean of the patches,
//! [`for_config`](crate::vit::weights::for_config) puts a fresh `fc_norm` in its place.
use candle_core::Result;

use super::Tensors;
use super::transformer::{from_transformers, inside, is_one_of, without_prefix};

const DROPPED: [&str; 3] = ["decoder_", "decoder.", "mask_token"];

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let mut tensors = without_prefix(inside(tensors, "model."), "vit.");
    tensors.retain(|name, _| !is_one_of(name, &DROPPED));
    from_transformers(tensors)
}
