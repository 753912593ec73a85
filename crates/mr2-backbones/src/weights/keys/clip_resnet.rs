//! The image tower of CLIP's residual nets: `visual.` before our names in OpenAI's and open_clip's files, or the tower
//! alone. The text tower and the scale of the logits are dropped.
use candle_core::Result;

use super::rename::{renamed, unwrapped};
use crate::weights::Tensors;

const TOWER: &str = "visual.";

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let has_towers = tensors
        .keys()
        .any(|name| unwrapped(name).starts_with(TOWER));
    renamed(tensors, |name| {
        let name = unwrapped(name);
        match has_towers {
            true => name.strip_prefix(TOWER).map(str::to_string),
            false => Some(name.to_string()),
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rename::tests::{names, tensors};
    use super::*;

    #[test]
    fn the_image_tower_stays_and_the_text_tower_goes() {
        let theirs = tensors(&[
            "visual.conv1.weight",
            "visual.bn1.num_batches_tracked",
            "visual.attnpool.positional_embedding",
            "transformer.resblocks.0.ln_1.weight",
            "token_embedding.weight",
            "logit_scale",
            "input_resolution",
        ]);
        let ours = ["attnpool.positional_embedding", "conv1.weight"];
        assert_eq!(names(&to_ours(theirs).unwrap()), ours);
        assert_eq!(names(&to_ours(tensors(&ours)).unwrap()), ours);
    }
}
