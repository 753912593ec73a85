//! The numbers of steps taken: read, counted, told and logged.

use mr2_metrics::PerClass;

use crate::error::Result;
use crate::event::Event;
use crate::metrics_log::{Line, StepRecord};
use crate::run::Run;
use crate::step::reading::{self, Numbers, Reading, STEPS, Step};
use crate::stop::StopFlag;

impl Run<'_> {
    /// Whether the steps taken are to be read now: see [`crate::step::reading`].
    pub(crate) fn reads_now(&self, stop: &StopFlag) -> bool {
        let (step, config) = (self.progress.step, self.job.config);
        self.reading == Reading::AtOnce
            || self.unread.len() >= STEPS
            || self.progress.batches_done() == 0
            || step.is_multiple_of(config.log_every_steps)
            || step.is_multiple_of(config.checkpoint_every_steps)
            || stop.is_set()
    }

    /// Reads and counts the steps whose numbers weren't yet, in their order.
    ///
    /// # Errors
    /// Numbers that aren't finite, by the first step that has one; later steps are forgotten.
    pub(crate) fn read_steps(&mut self) -> Result<Vec<StepRecord>> {
        let mut steps = std::mem::take(&mut self.unread);
        let numbers = reading::numbers(&mut steps)?;
        let mut records = Vec::with_capacity(steps.len());
        for (step, numbers) in steps.iter().zip(numbers) {
            self.finite_numbers(step, &numbers)?;
            records.push(self.count(step, &numbers)?);
        }
        Ok(records)
    }

    fn count(&mut self, step: &Step, numbers: &Numbers) -> Result<StepRecord> {
        let [loss, classification_loss, representation_loss] = numbers.terms.losses;
        let record = StepRecord {
            step: step.step,
            epoch: step.epoch,
            loss,
            classification_loss,
            representation_loss,
            lr: step.lr,
            grad_norm: numbers.grad_norm,
        };
        let classes = self.job.model.classes();
        let seen = PerClass::from_predictions(&step.labels, &numbers.predictions, classes)?;
        let counters = &mut self.progress.counters;
        counters.add(&record, &seen, step.with_positive);
        Ok(record)
    }

    /// Tells of steps, and logs those for which that is due.
    pub(crate) fn log_steps(&mut self, records: Vec<StepRecord>) -> Result<()> {
        records
            .into_iter()
            .try_for_each(|record| self.log_step(record))
    }

    /// Tells of a step, and logs it where that is due.
    fn log_step(&mut self, record: StepRecord) -> Result<()> {
        (self.observer)(&Event::Step {
            record: &record,
            images_per_second: self.progress.counters.images_per_second(),
        });
        if !record.step.is_multiple_of(self.job.config.log_every_steps) {
            return Ok(());
        }
        let scalars = [
            ("step/loss", record.loss),
            ("step/classification_loss", record.classification_loss),
            ("step/representation_loss", record.representation_loss),
            ("step/lr", record.lr),
            ("step/grad_norm", record.grad_norm),
        ];
        self.events
            .scalars(record.step, &scalars.map(|(tag, x)| (tag.to_string(), x)))?;
        self.metrics.append(&Line::Step(record))
    }
}

#[cfg(test)]
mod tests;
