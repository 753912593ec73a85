//! The end of a run: the test part, evaluated once, and `result.json`.

use std::collections::BTreeMap;

use mr2_metrics::PerClass;

use crate::config::Select;
use crate::error::{Error, Result};
use crate::evaluate::{own_thirds, summarise};
use crate::event::{Event, Part};
use crate::report::{Correlations, EpochRecord, MeasuredOn, premise};
use crate::result::{RESULT_FORMAT_VERSION, RunResult, Selected, Warning};
use crate::run::Run;
use crate::stop::StopFlag;

const PREDICTIONS: &str = "predictions.safetensors";

impl Run<'_> {
    /// Tests the selected weights and writes predictions and result, the result last: a folder
    /// with a `result.json` is a finished run. `None` where a stop is asked for on the way; the run
    /// was saved before, and a resumed one begins with the test.
    pub(crate) fn finish(mut self, stop: &StopFlag) -> Result<Option<RunResult>> {
        let selected = self.select()?;
        (self.observer)(&Event::Evaluating(Part::Test));
        let Some(predictions) = self.evaluate(self.job.test, stop)? else {
            return Ok(None);
        };
        let Some(extra_tests) = self.extra_tests(stop)? else {
            return Ok(None);
        };
        let test = summarise(&predictions)?;
        let (classes, spread_threshold) = self.class_series()?;
        let correlations = Correlations::new(MeasuredOn::Test, &test.class_accuracy, &classes)?;
        let seed = self.job.config.seed;
        let premise = premise(&test.class_accuracy, &classes.second_moment, seed)?;
        let of_selected = self
            .history
            .iter()
            .find(|record| record.step == selected.step);
        let validation = of_selected.and_then(|record| record.validation_classes.clone());
        let (started, before) = self.started;
        self.progress.timings.total_seconds = before + started.elapsed().as_secs_f64();
        let result = RunResult {
            format_version: RESULT_FORMAT_VERSION,
            seed,
            config: self.job.config.clone(),
            class_names: self.job.class_names.to_vec(),
            selected,
            thirds: own_thirds(&test.class_accuracy)?,
            test,
            extra_tests,
            diversity: self.diversity,
            validation,
            classes,
            spread_threshold,
            correlations,
            premise,
            warnings: warnings(&self.history),
            curves: self.history,
            timings: self.progress.timings,
            versions: self.job.versions.clone(),
            predictions: PREDICTIONS.to_string(),
        };
        self.dir
            .write(PREDICTIONS, &predictions.to_safetensors()?)?;
        self.dir
            .write("predictions.csv", predictions.to_csv().as_bytes())?;
        let json = serde_json::to_vec_pretty(&result)
            .map_err(|e| Error::malformed(&self.dir.file("result.json"), e))?;
        self.dir.write("result.json", &json)?;
        Ok(Some(result))
    }

    /// Tests on the further test sets; `None` where a stop is asked for on the way.
    fn extra_tests(&mut self, stop: &StopFlag) -> Result<Option<BTreeMap<String, PerClass>>> {
        let mut tests = BTreeMap::new();
        for (name, loader) in self.job.extra_tests {
            (self.observer)(&Event::Evaluating(Part::ExtraTest(name)));
            let Some(predictions) = self.evaluate(loader, stop)? else {
                return Ok(None);
            };
            tests.insert(name.clone(), predictions.per_class()?);
        }
        Ok(Some(tests))
    }

    /// Puts the selected weights into place.
    fn select(&mut self) -> Result<Selected> {
        let by = self.job.config.select;
        let step = match (by, self.progress.best) {
            (Select::BestValidation, Some(best)) => {
                self.restore_best(best.step)?;
                best.step
            }
            _ => self.progress.step,
        };
        Ok(Selected {
            by,
            epoch: step / self.progress.steps_per_epoch,
            step,
        })
    }
}

fn warnings(history: &[EpochRecord]) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    for record in history {
        for sign in &record.signs {
            let message = sign.message.clone();
            match warnings
                .iter_mut()
                .find(|warning| warning.sign == sign.sign)
            {
                Some(warning) => {
                    warning.epochs.push(record.epoch);
                    warning.message = message;
                }
                None => {
                    let epochs = vec![record.epoch];
                    warnings.push(Warning {
                        sign: sign.sign,
                        epochs,
                        message,
                    });
                }
            }
        }
    }
    warnings
}
