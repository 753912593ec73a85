//! MoCo's checkpoints (github.com/facebookresearch/moco): a residual net with torchvision's names, `module.encoder_q.` before
//! them. Its projection, the key encoder and the queue served pretraining alone.
use candle_core::{Result, bail};

use super::rename::{renamed, unwrapped};
use crate::weights::Tensors;

const QUERY: &str = "encoder_q.";

pub(super) fn to_ours(tensors: Tensors) -> Result<Tensors> {
    let ours = renamed(tensors, |name| {
        let name = unwrapped(name).strip_prefix(QUERY)?;
        // v1 projects by `fc`, v2 by `fc.0` and `fc.2`.
        (!name.starts_with("fc.")).then(|| name.to_string())
    })?;
    if ours.is_empty() {
        bail!(
            "weights: a checkpoint of MoCo has tensors called state_dict.module.{QUERY}*, this one has none; is it a \
             plain residual net?"
        )
    }
    Ok(ours)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rename::tests::{names, tensors};
    use super::*;

    #[test]
    fn the_query_encoder_stays_without_its_projection() {
        let theirs = tensors(&[
            "state_dict.module.encoder_q.conv1.weight",
            "state_dict.module.encoder_q.layer1.0.bn1.num_batches_tracked",
            "state_dict.module.encoder_q.layer1.0.bn1.weight",
            "state_dict.module.encoder_q.fc.weight",
            "state_dict.module.encoder_q.fc.0.weight",
            "state_dict.module.encoder_q.fc.2.bias",
            "state_dict.module.encoder_k.conv1.weight",
            "state_dict.module.queue",
            "state_dict.module.queue_ptr",
            "optimizer.state.0.momentum_buffer",
        ]);
        let ours = ["conv1.weight", "layer1.0.bn1.weight"];
        assert_eq!(names(&to_ours(theirs).unwrap()), ours);
    }

    #[test]
    fn a_file_without_a_query_encoder_is_an_error() {
        let error = to_ours(tensors(&["conv1.weight"])).unwrap_err();
        assert!(error.to_string().contains("this one has none"));
    }
}
