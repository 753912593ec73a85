//! Group DRO with the classes as groups: classes with a large loss gain weight.

use std::collections::HashMap;

use candle_core::Tensor;
use mr2_loss::baselines::{AbsentClasses, GroupWeights, class_mean_losses, group_dro};
use mr2_nn::ops::cross_entropy;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

/// Weights of the classes move by a batch's losses before its loss is formed, as in
/// kohpangwei/group_DRO loss.py.
pub(super) struct GroupDro {
    step_size: f64,
    absent: AbsentClasses,
    weights: GroupWeights,
    classes: usize,
}

impl GroupDro {
    pub(super) fn new(
        step_size: f64,
        absent: AbsentClasses,
        setting: &Setting<'_>,
    ) -> Result<Self> {
        let classes = setting.classes;
        let weights = GroupWeights::new(classes, setting.device)?;
        let means = Tensor::zeros(classes, setting.dtype, setting.device)?;
        let nothing = vec![false; classes];
        weights
            .clone()
            .update(&means, &nothing, step_size, absent)?;
        Ok(Self {
            step_size,
            absent,
            weights,
            classes,
        })
    }

    /// The mean loss of each class, and whether the batch has it.
    fn class_losses(&self, step: &StepInput<'_>) -> Result<(Tensor, Vec<bool>)> {
        let losses = cross_entropy(step.logits, step.target(), None)?;
        Ok(class_mean_losses(&losses, step.labels(), self.classes)?)
    }
}

impl Objective for GroupDro {
    fn observe(&mut self, step: &StepInput<'_>) -> Result<()> {
        let (means, present) = self.class_losses(step)?;
        let Self {
            step_size, absent, ..
        } = *self;
        Ok(self.weights.update(&means, &present, step_size, absent)?)
    }

    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let (means, _) = self.class_losses(step)?;
        Ok(StepLoss::of(group_dro(&means, &self.weights)?))
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.weights.tensors()?)
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        Ok(self.weights.load(tensors)?)
    }
}
