//! One step of training.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mr2_data::Batch;
use mr2_metrics::arg_max;
use mr2_nn::graph::Ctx;
use mr2_nn::optim::clip_grad_norm_unread;
use mr2_stats::Pairs;

use crate::compute::enter;
use crate::error::{Error, Result};
use crate::objective::{StepInput, StepLoss};
use crate::run::Run;
use crate::train::Job;

use reading::{Reading, Step, Terms, Value};

mod finite;
mod read_steps;
pub(crate) mod reading;

impl Run<'_> {
    /// One step of training; its numbers are read by [`Run::read_steps`].
    pub(crate) fn step(&mut self, batch: &Batch) -> Result<()> {
        let Job { config, model, .. } = *self.job;
        let (features, logits) = self.forward(batch)?;
        let predictions = self.predictions(&features, &logits, batch)?;

        let pairs = Pairs::new(&batch.labels, model.classes())?;
        self.statistics.observe(&features, &pairs)?;
        let input = self.input(batch, &features, &logits, &pairs);
        if let Err(error) = self.objective.observe(&input) {
            return Err(self.refused(error, &input));
        }
        let objective_loss = self.objective.loss(&input)?;
        let terms = self.terms(&objective_loss, &input)?;

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
        let grad_norm = self.clip(&mut gradients, batch)?;
        let lr = self.learning_rate(self.progress.step);
        self.optimizer.step(&gradients, lr)?;
        let input = self.input(batch, &features, &logits, &pairs);
        let updated = self.objective.update(&input, lr);
        updated.map_err(|error| self.of_objective(error))?;

        self.unread.push(Step {
            step: self.progress.step + 1,
            epoch: self.progress.epochs_done() + 1,
            lr,
            labels: batch.labels.clone(),
            indices: batch.indices.clone(),
            with_positive: pairs.with_positive(),
            terms,
            predictions,
            grad_norm,
        });
        self.progress.step += 1;
        Ok(())
    }

    /// The class of each image by its logits. Read at once, features and logits are known to be finite.
    fn predictions(
        &self,
        features: &Tensor,
        logits: &Tensor,
        batch: &Batch,
    ) -> Result<Value<Vec<u32>>> {
        if self.reading == Reading::Together {
            return Ok(Value::There(logits.detach().argmax(1)?));
        }
        let scores = self.finite_rows(features, logits, batch)?;
        Ok(Value::Read(arg_max(&scores, self.job.model.classes())?))
    }

    /// The losses; read at once, they are known to be finite.
    fn terms(&self, loss: &StepLoss, step: &StepInput<'_>) -> Result<Value<Terms>> {
        if self.reading == Reading::Together {
            return Ok(Value::There(reading::terms(loss, step)?));
        }
        let losses = self.finite_terms(loss, step.batch)?;
        let zeros = [0.0; 2];
        Ok(Value::Read(Terms { losses, zeros }))
    }

    /// Clips the gradients; their norm before. It is taken without clipping too, so that a gradient that isn't
    /// finite is found in its own step.
    fn clip(&self, gradients: &mut GradStore, batch: &Batch) -> Result<Value<f64>> {
        let (config, parameters) = (self.job.config, self.job.params.parameters());
        let norm = clip_grad_norm_unread(&parameters, gradients, config.clip.max_norm());
        let norm = norm.map_err(|error| self.overflown(error, gradients, batch))?;
        Ok(match self.reading {
            Reading::AtOnce => Value::Read(norm.to_scalar()?),
            Reading::Together => Value::There(norm),
        })
    }

    /// Features and logits of a batch in training, with the dropout masks of the step.
    pub(crate) fn forward(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let step = self.stage_step(self.progress.step);
        self.context.begin_step(self.job.config.seed, step);
        let images = enter(&self.context, batch)?;
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

    /// The learning rate of a step of the run, counted from 0.
    pub(crate) fn learning_rate(&self, step: u64) -> f64 {
        self.job.config.optimizer.lr() * self.schedule.factor(self.stage_step(step))
    }

    /// Why the objective's state refused a value: a number that wasn't finite in a step not read yet, or in this
    /// one's features or logits, where there is one.
    fn refused(&mut self, error: Error, step: &StepInput<'_>) -> Error {
        let earlier = self.read_steps().map(|_| ());
        let earlier =
            earlier.and_then(|()| self.finite_rows(step.features, step.logits, step.batch));
        match earlier {
            Ok(_) => self.of_objective(error),
            Err(earlier) => earlier,
        }
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
}
