//! How hard the two terms of a loss pull at the features.
//!
//! The value of the representation term says nothing of its influence: reduced as the official code
//! does, it is about (D/10) · ln(1 + positives) for features of width D whatever they are, most of
//! the loss of a run in which it changes little. What a term does to the features is its gradient.

use candle_core::{DType, Tensor, Var};
use mr2_data::Batch;
use mr2_nn::graph::Mode;
use mr2_stats::Pairs;

use crate::compute::context;
use crate::error::Result;
use crate::objective::StepLoss;
use crate::report::Pulls;
use crate::run::Run;

impl Run<'_> {
    /// The pulls of a batch's terms at its `features`, (batch, features), with the objective's state
    /// as it is; `None` where the loss has one term only.
    ///
    /// Taken on a copy of the features and, through the head, in evaluation mode: no graph, buffer
    /// or random stream of the run is touched.
    pub(crate) fn pulls(
        &self,
        batch: &Batch,
        features: &Tensor,
        pairs: &Pairs,
    ) -> Result<Option<Pulls>> {
        let features = Var::from_tensor(&features.detach())?;
        let context = context(self.job.model, self.job.activations, Mode::Eval)?;
        let logits = self.logits(&context, &features)?;
        let StepLoss {
            classification,
            representation,
            ..
        } = self
            .objective
            .loss(&self.input(batch, &features, &logits, pairs))?;
        let Some(representation) = representation else {
            return Ok(None);
        };
        let norm = |term: &Tensor| -> Result<Option<f64>> {
            let gradients = context.backward(term)?;
            let Some(gradient) = gradients.get(&features) else {
                return Ok(None);
            };
            let squares = gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?;
            Ok(Some(squares.to_scalar::<f64>()?.sqrt()))
        };
        let (classification, representation) = (
            norm(&classification)?,
            norm(&(representation.term * representation.weight)?)?,
        );
        let finite = |pull: &f64| pull.is_finite();
        Ok(classification
            .filter(finite)
            .zip(representation.filter(finite))
            .map(|(classification, representation)| Pulls {
                classification,
                representation,
            }))
    }
}

#[cfg(test)]
pub(crate) mod tests;
