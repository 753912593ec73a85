//! CLIP's image tower: OpenAI's and open_clip's names, transformers' and timm's. The text tower, the logits'
//! scale and what TorchScript archives say of themselves are dropped.
use candle_core::{DType, Result, Tensor, bail};

use super::Tensors;
use super::transformer::{inside, is_one_of, rename, without_prefix};

/// OpenAI's names, then transformers'; `proj` is transposed.
const AROUND: [(&str, &str); 12] = [
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("conv1", "patch_embed.proj"),
    ("ln_pre", "norm_pre"),
    ("ln_post", "norm"),
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("embeddings.patch_embedding", "patch_embed.proj"),
    // So it is spelled.
    ("pre_layrnorm", "norm_pre"),
    ("post_layernorm", "norm"),
    ("visual_projection", "projection"),
    ("classifier", "head"),
];

/// In files of transformers.
const DROPPED: [&str; 4] = [
    "text_model.",
    "text_projection.",
    "logit_scale",
    "embeddings.position_ids",
];

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let tensors = inside(without_prefix(tensors, "module."), "visual.");
    let mut tensors = without_prefix(tensors, "vision_model.");
    tensors.retain(|name, _| !is_one_of(name, &DROPPED));
    if let Some(projection) = tensors.remove("proj") {
        tensors.insert(
            "projection.weight".to_string(),
            transposed("proj", &projection)?,
        );
    }
    let mut tensors = rename(tensors, &AROUND)?;
    for name in ["cls_token", "pos_embed"] {
        if let Some(tensor) = tensors.get_mut(name) {
            while tensor.rank() < 3 {
                *tensor = tensor.unsqueeze(0)?;
            }
        }
    }
    head_to_projection(&mut tensors)?;
    Ok(tensors)
}

/// A projection of OpenAI's, as one of our layers has it.
pub(super) fn transposed(name: &str, projection: &Tensor) -> Result<Tensor> {
    if projection.rank() != 2 {
        bail!(
            "clip: {name}: expected (features, outputs), got {:?}",
            projection.dims()
        )
    }
    projection.t()?.contiguous()
}

/// timm makes a head of the projection, with a bias of zeros; a head that was trained has another.
fn head_to_projection(tensors: &mut Tensors) -> Result<()> {
    let Some(bias) = tensors.get("head.bias") else {
        return Ok(());
    };
    let largest = bias.abs()?.max_all()?.to_dtype(DType::F64)?;
    if largest.to_scalar::<f64>()? != 0.0 || tensors.contains_key("projection.weight") {
        return Ok(());
    }
    tensors.remove("head.bias");
    if let Some(weight) = tensors.remove("head.weight") {
        tensors.insert("projection.weight".to_string(), weight);
    }
    Ok(())
}
