//! One step of training.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use mr2_data::Batch;
use mr2_metrics::{PerClass, arg_max};
use mr2_nn::optim::{clip_grad_norm, grad_norm};
use mr2_stats::Pairs;

use crate::config::Clip;
use crate::error::{Error, Result};
use crate::evaluate::{host_f32, sum};
use crate::metrics_log::StepRecord;
use crate::objective::{StepInput, StepLoss};
use crate::run::Run;
use crate::train::Job;

impl Run<'_> {
    /// One step of training.
    pub(crate) fn step(&mut self, batch: &Batch) -> Result<StepRecord> {
        let Job { config, model, .. } = *self.job;
        self.context.begin_step(config.seed, self.progress.step);
        let images = self
            .context
            .enter(&batch.images.to_dtype(self.context.dtype())?)?;
        let features = model.features(&self.context, &images)?;
        let logits = model.head(&self.context, &features)?;
        let scores = self.finite_rows(&features, &logits, batch)?;

        let pairs = Pairs::new(&batch.labels, model.classes())?;
        self.statistics.observe(&features, &pairs)?;
        let input = StepInput {
            batch,
            features: &features,
            logits: &logits,
            pairs: &pairs,
            label_smoothing: config.label_smoothing,
        };
        self.objective.observe(&input)?;
        let objective_loss = self.objective.loss(&input)?;
        let [loss, classification_loss, representation_loss] =
            self.finite_terms(&objective_loss, batch)?;

        if self.progress.batches_done() == 0 && objective_loss.representation.is_some() {
            self.progress.counters.pulls = self.pulls(batch, &features, &pairs)?;
        }

        let mut gradients = self.context.backward(&objective_loss.total)?;
        let grad_norm = self.clip(&mut gradients, batch)?;
        let lr = self.learning_rate(self.progress.step);
        self.optimizer.step(&gradients, lr)?;

        let record = StepRecord {
            step: self.progress.step + 1,
            epoch: self.progress.epochs_done() + 1,
            loss,
            classification_loss,
            representation_loss,
            lr,
            grad_norm,
        };
        let predictions = arg_max(&scores, model.classes())?;
        let seen = PerClass::from_predictions(&batch.labels, &predictions, model.classes())?;
        self.progress
            .counters
            .add(&record, &seen, pairs.with_positive());
        self.progress.step += 1;
        Ok(record)
    }

    /// The logits on the host, once features and logits are known to be finite.
    fn finite_rows(&self, features: &Tensor, logits: &Tensor, batch: &Batch) -> Result<Vec<f32>> {
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
    fn finite_terms(&self, loss: &StepLoss, batch: &Batch) -> Result<[f64; 3]> {
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

    /// The norm of the gradients before they are clipped.
    fn clip(&self, gradients: &mut GradStore, batch: &Batch) -> Result<f64> {
        let parameters = self.job.params.parameters();
        let norm = match self.job.config.clip {
            Clip::Off {} => grad_norm(&parameters, gradients),
            Clip::Norm { max } => clip_grad_norm(&parameters, gradients, max),
        };
        norm.map_err(|error| {
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
        })
    }

    /// The learning rate of a step, counted from 0.
    pub(crate) fn learning_rate(&self, step: u64) -> f64 {
        self.job.config.optimizer.lr() * self.schedule.factor(step)
    }

    /// `step` is counted from 1, `images` are places in the training set.
    pub(crate) fn not_finite(&self, what: &str, step: u64, images: &[u32]) -> Error {
        let before = step.saturating_sub(1);
        let per_epoch = self.progress.steps_per_epoch;
        let set = self.job.train.set();
        Error::NotFinite {
            what: what.to_string(),
            step,
            epoch: before / per_epoch + 1,
            batch: before % per_epoch + 1,
            images: images.iter().map(|&i| set.image_name(i as usize)).collect(),
        }
    }
}
