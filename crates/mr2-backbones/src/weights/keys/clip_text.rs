//! CLIP's text tower: OpenAI's and open_clip's names, and transformers'. The image tower and what TorchScript archives
//! say of themselves are dropped; the logits' scale belongs to both towers and is kept.
use candle_core::{Result, Tensor};

use super::Tensors;
use super::clip::transposed;
use super::rename::unwrapped;
use super::transformer::{inside, is_one_of, rename, without_prefix};

/// OpenAI's names, then transformers'; OpenAI's `text_projection` is transposed before.
const AROUND: [(&str, &str); 5] = [
    ("ln_final", "norm"),
    ("text_projection", "projection"),
    ("embeddings.token_embedding", "token_embedding"),
    (
        "embeddings.position_embedding.weight",
        "positional_embedding",
    ),
    ("final_layer_norm", "norm"),
];

const DROPPED: [&str; 9] = [
    "visual.",
    "vision_model.",
    "visual_projection.",
    "input_resolution",
    "context_length",
    "vocab_size",
    "attn_mask",
    "text_model.embeddings.position_ids",
    "embeddings.position_ids",
];

/// What open_clip keeps outside of its text tower, where that has a prefix of its own.
const SCALE: &str = "logit_scale";

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let bare = |(name, tensor): (String, Tensor)| (unwrapped(&name).to_string(), tensor);
    let mut tensors: Tensors = tensors.into_iter().map(bare).collect();
    tensors.retain(|name, _| !is_one_of(name, &DROPPED));
    let scale = tensors.remove(SCALE);
    let mut tensors = without_prefix(inside(tensors, "text."), "text_model.");
    if let Some(projection) = tensors.remove("text_projection") {
        let projection = transposed("text_projection", &projection)?;
        tensors.insert("projection.weight".to_string(), projection);
    }
    let mut tensors = rename(tensors, &AROUND)?;
    if let Some(scale) = scale {
        // Some files have it as a vector of one.
        let scale = match scale.elem_count() {
            1 => scale.reshape(())?,
            _ => scale,
        };
        tensors.insert(SCALE.to_string(), scale);
    }
    Ok(tensors)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rename::tests::{names, tensors};
    use super::*;

    #[test]
    fn the_text_tower_stays_and_the_image_tower_goes() {
        let ours = [
            "blocks.0.norm1.weight",
            "logit_scale",
            "norm.weight",
            "positional_embedding",
            "token_embedding.weight",
        ];
        let openai = [
            "visual.conv1.weight",
            "transformer.resblocks.0.ln_1.weight",
            "token_embedding.weight",
            "positional_embedding",
            "ln_final.weight",
            "logit_scale",
            "input_resolution",
        ];
        assert_eq!(names(&to_ours(tensors(&openai)).unwrap()), ours);
        let open_clip = [
            "module.visual.trunk.blocks.0.norm1.weight",
            "module.text.transformer.resblocks.0.ln_1.weight",
            "module.text.token_embedding.weight",
            "module.text.positional_embedding",
            "module.text.ln_final.weight",
            "module.logit_scale",
        ];
        assert_eq!(names(&to_ours(tensors(&open_clip)).unwrap()), ours);
        let transformers = [
            "vision_model.pre_layrnorm.weight",
            "visual_projection.weight",
            "text_model.encoder.layers.0.layer_norm1.weight",
            "text_model.embeddings.token_embedding.weight",
            "text_model.embeddings.position_embedding.weight",
            "text_model.embeddings.position_ids",
            "text_model.final_layer_norm.weight",
            "logit_scale",
        ];
        assert_eq!(names(&to_ours(tensors(&transformers)).unwrap()), ours);
    }
}
