//! What must be finite, and the error that says where it isn't.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use mr2_data::Batch;

use crate::error::{Error, Result};
use crate::evaluate::{host_f32, sum};
use crate::objective::StepLoss;
use crate::run::Run;
use crate::step::reading::{Numbers, Step};

impl Run<'_> {
    /// The logits on the host, once features and logits are known to be finite.
    pub(crate) fn finite_rows(
        &self,
        features: &Tensor,
        logits: &Tensor,
        batch: &Batch,
    ) -> Result<Vec<f32>> {
        let scores = host_f32(logits)?;
        let rows = batch.labels.len();
        for (what, values) in [("a feature", &host_f32(features)?), ("a logit", &scores)] {
            let width = (values.len() / rows.max(1)).max(1);
            let bad: Vec<u32> = values
                .chunks(width)
                .zip(&batch.indices)
                .filter(|(row, _)| row.iter().any(|value| !value.is_finite()))
                .map(|(_, index)| *index)
                .collect();
            if !bad.is_empty() {
                return Err(self.not_finite(what, self.progress.step + 1, &bad));
            }
        }
        Ok(scores)
    }

    /// Total, classification and representation loss, known to be finite.
    pub(crate) fn finite_terms(&self, loss: &StepLoss, batch: &Batch) -> Result<[f64; 3]> {
        let scalar = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_scalar::<f64>();
        let representation = loss.representation.as_ref();
        let terms = [
            scalar(&loss.total)?,
            scalar(&loss.classification)?,
            representation.map_or(Ok(0.0), |part| scalar(&part.term))?,
        ];
        if terms.iter().all(|term| term.is_finite()) {
            return Ok(terms);
        }
        Err(self.not_finite("the loss", self.progress.step + 1, &batch.indices))
    }

    /// The error of gradients that aren't finite, by the first parameter of which that is so.
    pub(crate) fn overflown(
        &self,
        error: candle_core::Error,
        gradients: &GradStore,
        batch: &Batch,
    ) -> Error {
        let parameters = self.job.params.parameters();
        let overflown = parameters.iter().find(|(_, parameter)| {
            gradients
                .get(parameter)
                .is_some_and(|g| !sum(g).is_ok_and(f64::is_finite))
        });
        match overflown {
            None => error.into(),
            Some((name, _)) => self.not_finite(
                &format!("the gradient of {name}"),
                self.progress.step + 1,
                &batch.indices,
            ),
        }
    }

    /// Refuses numbers of a step that aren't finite, once they are read.
    pub(crate) fn finite_numbers(&self, step: &Step, numbers: &Numbers) -> Result<()> {
        let [features, logits] = numbers.terms.zeros;
        let losses = numbers.terms.losses.iter().sum();
        let in_order = [
            ("a feature", features),
            ("a logit", logits),
            ("the loss", losses),
            ("a gradient", numbers.grad_norm),
        ];
        match in_order.iter().find(|(_, number)| !number.is_finite()) {
            Some((what, _)) => Err(self.not_finite(what, step.step, &step.indices)),
            None => Ok(()),
        }
    }

    /// Epoch and batch of a step, all counted from 1.
    pub(crate) fn place_of(&self, step: u64) -> (u64, u64) {
        let before = step.saturating_sub(1);
        let per_epoch = self.progress.steps_per_epoch;
        (before / per_epoch + 1, before % per_epoch + 1)
    }

    /// `step` is counted from 1, `images` are places in the training set.
    pub(crate) fn not_finite(&self, what: &str, step: u64, images: &[u32]) -> Error {
        let (epoch, batch) = self.place_of(step);
        let set = self.job.train.set();
        Error::NotFinite {
            what: what.to_string(),
            step,
            epoch,
            batch,
            images: images.iter().map(|&i| set.image_name(i as usize)).collect(),
        }
    }
}
