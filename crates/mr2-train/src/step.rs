//! One step of training.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use mr2_data::Batch;
use mr2_metrics::{PerClass, arg_max};
use mr2_nn::graph::Ctx;
use mr2_stats::Pairs;

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
        let (features, logits) = self.forward(batch)?;
        let scores = self.finite_rows(&features, &logits, batch)?;

        let pairs = Pairs::new(&batch.labels, model.classes())?;
        self.statistics.observe(&features, &pairs)?;
        let input = self.input(batch, &features, &logits, &pairs);
        let observed = self.objective.observe(&input);
        observed.map_err(|error| self.of_objective(error))?;
        let objective_loss = self.objective.loss(&input)?;
        let [loss, classification_loss, representation_loss] =
            self.finite_terms(&objective_loss, batch)?;

        if self.progress.batches_done() == 0 && objective_loss.representation.is_some() {
            self.progress.counters.pulls = self.pulls(batch, &features, &pairs)?;
        }

        let mut gradients = self.context.backward(&objective_loss.total)?;
        // The graph goes before a second one is made.
        let (features, logits) = (features.detach(), logits.detach());
        drop(objective_loss);
        if let Some(neighbourhood) = config.sharpness.neighbourhood() {
            gradients = self.sharp_gradients(&gradients, batch, &pairs, &neighbourhood)?;
        }
        let parameters = self.job.params.parameters();
        let grad_norm = config
            .clip
            .apply(&parameters, &mut gradients)
            .map_err(|error| self.overflown(error, &gradients, batch))?;
        let lr = self.learning_rate(self.progress.step);
        self.optimizer.step(&gradients, lr)?;
        let input = self.input(batch, &features, &logits, &pairs);
        let updated = self.objective.update(&input, lr);
        updated.map_err(|error| self.of_objective(error))?;

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

    /// Features and logits of a batch in training, with the dropout masks of the step.
    pub(crate) fn forward(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let step = self.stage_step(self.progress.step);
        self.context.begin_step(self.job.config.seed, step);
        let images = self
            .context
            .enter(&batch.images.to_dtype(self.context.dtype())?)?;
        let features = self.job.model.features(&self.context, &images)?;
        let logits = self.logits(&self.context, &features)?;
        Ok((features, logits))
    }

    /// The head of the features, or of a copy that the head's loss doesn't move.
    pub(crate) fn logits(&self, context: &Ctx, features: &Tensor) -> Result<Tensor> {
        let model = self.job.model;
        Ok(match self.objective.detaches_head() {
            true => model.head(context, &features.detach())?,
            false => model.head(context, features)?,
        })
    }

    /// What the objective sees of the step under way.
    pub(crate) fn input<'b>(
        &self,
        batch: &'b Batch,
        features: &'b Tensor,
        logits: &'b Tensor,
        pairs: &'b Pairs,
    ) -> StepInput<'b> {
        let step = self.stage_step(self.progress.step);
        StepInput {
            batch,
            features,
            logits,
            pairs,
            label_smoothing: self.job.config.label_smoothing,
            epoch: step / self.progress.steps_per_epoch,
            step,
        }
    }

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

    /// The learning rate of a step of the run, counted from 0.
    pub(crate) fn learning_rate(&self, step: u64) -> f64 {
        self.job.config.optimizer.lr() * self.schedule.factor(self.stage_step(step))
    }

    /// An error of the objective's state with the step that is under way.
    fn of_objective(&self, error: Error) -> Error {
        let step = self.progress.step + 1;
        let (epoch, batch) = self.place_of(step);
        Error::Objective {
            step,
            epoch,
            batch,
            source: Box::new(error),
        }
    }

    /// Epoch and batch of a step, all counted from 1.
    fn place_of(&self, step: u64) -> (u64, u64) {
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
