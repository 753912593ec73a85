//! The end of an epoch: validation, class statistics, correlations, failure signs.

use std::time::Instant;

use candle_core::{DType, Tensor};
use mr2_data::Loader;
use mr2_stats::Snapshot;

use crate::error::Result;
use crate::evaluate::Pass;
use crate::event::{Event, Part};
use crate::metrics_log::Line;
use crate::predictions::Predictions;
use crate::progress::Best;
use crate::report::{ClassSeries, Correlations, EpochRecord, signs};
use crate::run::Run;
use crate::stop::StopFlag;

impl Run<'_> {
    /// Measures and logs the epoch; `true` if it is the best on validation so far.
    ///
    /// Where a stop is asked for on the way, nothing is measured, and a resumed run begins with it.
    pub(crate) fn end_epoch(&mut self, stop: &StopFlag) -> Result<bool> {
        let validation = match self.job.validation {
            None => None,
            Some(loader) => {
                (self.observer)(&Event::Evaluating(Part::Validation));
                let Some(predictions) = self.evaluate(loader, stop)? else {
                    return Ok(false);
                };
                Some(predictions)
            }
        };
        let mut test_classes = None;
        if self.job.config.test_every_epoch {
            (self.observer)(&Event::Evaluating(Part::Test));
            let Some(predictions) = self.evaluate(self.job.test, stop)? else {
                return Ok(false);
            };
            test_classes = Some(predictions.per_class()?);
        }
        let Some(training_set) = self.training_set(stop)? else {
            return Ok(false);
        };
        let (classes, spread_threshold) = self.class_series()?;
        let counters = &self.progress.counters;
        let validation_classes = match &validation {
            None => None,
            Some(predictions) => Some(predictions.per_class()?),
        };
        let mut record = EpochRecord {
            epoch: self.progress.epochs_done(),
            step: self.progress.step,
            lr: self.learning_rate(self.progress.step - 1),
            loss: counters.mean(counters.loss),
            classification_loss: counters.mean(counters.classification_loss),
            representation_loss: counters.mean(counters.representation_loss),
            images_per_second: counters.images_per_second(),
            share_with_positive: counters.with_positive as f64 / counters.images.max(1) as f64,
            train_accuracy: counters.per_class.overall(),
            train_classes: counters.per_class.clone(),
            validation_accuracy: validation_classes.as_ref().and_then(|c| c.overall()),
            validation_loss: validation.as_ref().and_then(|p| p.mean_cross_entropy()),
            test_classes,
            correlations: Correlations::unknown(),
            validation_classes,
            classes,
            training_set,
            spread_threshold,
            pulls: counters.pulls,
            signs: Vec::new(),
        };
        let (measured_on, accuracies) = record.accuracies();
        record.correlations = Correlations::new(measured_on, &accuracies, &record.classes)?;
        record.signs = signs(&record, &self.history, self.objective.watched())?;
        self.log_epoch(record)?;
        self.progress.epochs_measured += 1;
        self.keep_best()
    }

    /// The predictions of the model as it is; `None` where a stop is asked for on the way.
    pub(crate) fn evaluate(
        &mut self,
        loader: &Loader,
        stop: &StopFlag,
    ) -> Result<Option<Predictions>> {
        let clock = Instant::now();
        let mut pass = Pass::new(self.job.model, loader, self.job.activations)?;
        while pass.batch()? {
            if stop.is_set() {
                return Ok(None);
            }
        }
        let predictions = pass.predictions(self.job.class_names)?;
        self.progress.timings.evaluation_seconds += clock.elapsed().as_secs_f64();
        Ok(Some(predictions))
    }

    fn log_epoch(&mut self, record: EpochRecord) -> Result<()> {
        for sign in &record.signs {
            let seen = self.history.iter().flat_map(|epoch| &epoch.signs);
            // Every epoch has it in its record; a user is told once.
            if seen.clone().all(|earlier| earlier.sign != sign.sign) {
                let message = format!("epoch {}: {}", record.epoch, sign.message);
                (self.observer)(&Event::Warning(&message));
            }
        }
        self.events
            .scalars(record.step, &record.scalars(self.job.class_names))?;
        self.metrics
            .append(&Line::Epoch(Box::new(record.clone())))?;
        (self.observer)(&Event::Epoch(&record));
        self.history.push(record);
        Ok(())
    }

    /// Saves the epoch just recorded if no earlier one was as accurate on validation; one of a first
    /// stage can't be tested.
    fn keep_best(&mut self) -> Result<bool> {
        if self.progress.step <= self.first_stage_steps() {
            return Ok(false);
        }
        let accuracy = self
            .history
            .last()
            .and_then(|record| record.validation_accuracy);
        let Some(accuracy) = accuracy else {
            return Ok(false);
        };
        if self
            .progress
            .best
            .is_some_and(|best| best.accuracy >= accuracy)
        {
            return Ok(false);
        }
        self.progress.best = Some(Best {
            step: self.progress.step,
            accuracy,
        });
        self.save_best()?;
        Ok(true)
    }

    /// Statistics, margins and head norms as they are now, and s̄.
    pub(crate) fn class_series(&self) -> Result<(ClassSeries, Option<f64>)> {
        let Snapshot {
            m,
            v,
            second_moment,
            seen,
            has_spread,
            ..
        } = self.statistics.snapshot()?;
        let margins = self.objective.margins()?;
        let (gamma, spread_threshold) = match margins {
            Some(margins) => (margins.gamma, margins.spread_threshold),
            None => (vec![None; self.job.model.classes()], None),
        };
        let head = self.job.model.head_weight().detach().to_dtype(DType::F64)?;
        let norms = head.sqr()?.sum(1)?.sqrt()?.to_vec1::<f64>()?;
        let series = ClassSeries {
            m: where_known(&m, &has_spread)?,
            v: where_known(&v, &has_spread)?,
            second_moment: where_known(&second_moment, &seen)?,
            gamma,
            head_norm: norms.into_iter().map(Some).collect(),
        };
        Ok((series, spread_threshold))
    }
}

fn where_known(values: &Tensor, known: &Tensor) -> Result<Vec<Option<f64>>> {
    let values = values.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let known = known.to_vec1::<u8>()?;
    Ok(values
        .into_iter()
        .zip(known)
        .map(|(value, known)| (known != 0).then_some(value))
        .collect())
}
