//! When an arm is the reference, written otherwise.

use anyhow::Result;
use mr2_data::Sampler;
use mr2_loss::GammaSource;
use mr2_train::ObjectiveConfig;

use super::{Balanced, PlannedRun};

/// Whether an arm differs from the reference by an objective only that is cross-entropy too, or by re-sampling
/// where classes are balanced, which is plain shuffling.
pub(super) fn same_objective(
    arm: &PlannedRun,
    reference: &PlannedRun,
    balanced: &Balanced<'_>,
) -> Result<bool> {
    let (own, base) = (&arm.file.config, &reference.file.config);
    let mut plain = own.clone();
    plain.name.clone_from(&base.name);
    plain.training.objective = ObjectiveConfig::Erm {};
    let resampled = own.data.sampler == Sampler::Resampled {};
    if resampled {
        plain.data.sampler.clone_from(&base.data.sampler);
    }
    if plain != *base {
        return Ok(false);
    }
    match when_cross_entropy(&own.training.objective) {
        Some(CrossEntropy::Always) if !resampled => Ok(true),
        Some(_) => balanced(arm),
        None => Ok(false),
    }
}

/// When an objective is plain cross-entropy.
enum CrossEntropy {
    Always,
    OnBalancedData,
}

fn when_cross_entropy(objective: &ObjectiveConfig) -> Option<CrossEntropy> {
    match objective {
        ObjectiveConfig::Erm {} => Some(CrossEntropy::Always),
        ObjectiveConfig::Mr2(config) => {
            let uniform = config.gamma.source == GammaSource::Uniform;
            let same = uniform && config.gamma.budget == 1.0 && config.representation.weight == 0.0;
            same.then_some(CrossEntropy::Always)
        }
        ObjectiveConfig::ReWeighting { .. }
        | ObjectiveConfig::LogitAdjustment { .. }
        | ObjectiveConfig::BalancedSoftmax {}
        | ObjectiveConfig::VectorScaling { .. } => Some(CrossEntropy::OnBalancedData),
        _ => None,
    }
}
