//! The second pass of a step whose gradient is taken where the loss is worst nearby.

use candle_core::backprop::GradStore;
use mr2_data::Batch;
use mr2_loss::baselines::{Sharpness, apply, perturbation};
use mr2_stats::Pairs;

use crate::error::Result;
use crate::run::Run;
use crate::step::reading::Reading;

impl Run<'_> {
    /// The gradients at the worst point within the neighbourhood, for a batch with these gradients at
    /// the weights.
    ///
    /// The pass has the first one's dropout masks and moves nothing: neither running statistics nor
    /// class statistics nor the objective's state; the weights are back to the bit.
    pub(crate) fn sharp_gradients(
        &self,
        gradients: &GradStore,
        batch: &Batch,
        pairs: &Pairs,
        neighbourhood: &Sharpness,
    ) -> Result<GradStore> {
        let parameters = self.job.params.parameters();
        let steps = perturbation(&parameters, gradients, neighbourhood)
            .map_err(|error| self.overflown(error, gradients, batch))?;
        let perturbed = apply(&steps)?;
        drop(steps);
        let second = self
            .context
            .keeping_running_statistics(|| self.second_pass(batch, pairs));
        perturbed.undo()?;
        second
    }

    fn second_pass(&self, batch: &Batch, pairs: &Pairs) -> Result<GradStore> {
        let (features, logits) = self.forward(batch)?;
        // Otherwise what isn't finite here makes the gradients so, whose norm is read with the step's numbers.
        let at_once = self.reading == Reading::AtOnce;
        if at_once {
            self.finite_rows(&features, &logits, batch)?;
        }
        let input = self.input(batch, &features, &logits, pairs);
        let loss = self.objective.loss(&input)?;
        if at_once {
            self.finite_terms(&loss, batch)?;
        }
        Ok(self.context.backward(&loss.total)?)
    }
}
