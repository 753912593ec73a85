//! What is measured on the training images as a fixed set, where `class_measures` asks for it.

use candle_core::{DType, Device, Tensor};
use mr2_data::Loader;
use mr2_metrics::arg_max;
use mr2_nn::graph::Mode;
use mr2_nn::model::Backbone;
use mr2_stats::{Centre, exact, neural_collapse};

use crate::compute::{context, enter};
use crate::config::ClassMeasures;
use crate::error::Result;
use crate::evaluate::{check_covers, host_f32};
use crate::event::{Event, Part};
use crate::report::{Diversity, ExactClasses, TrainingSet};
use crate::run::Run;
use crate::stop::StopFlag;
use crate::train::Job;

/// What a pass looks at.
enum Look<'a> {
    /// The model's features, in evaluation mode, with layers that compute in that type.
    Features(&'a dyn Backbone, DType),
    /// The images' pixels as the model gets them, in one row.
    Pixels,
}

impl Run<'_> {
    /// Whether the epoch that is ending is to be measured.
    fn measures_now(&self) -> bool {
        match self.job.config.class_measures {
            ClassMeasures::Off => false,
            ClassMeasures::LastEpoch => self.progress.step == self.total_steps(),
            ClassMeasures::EveryEpoch => true,
        }
    }

    /// The training images' features with the weights as they are; the inner `None` where they aren't asked
    /// for, the outer where a stop is asked for on the way.
    pub(crate) fn training_set(&mut self, stop: &StopFlag) -> Result<Option<Option<TrainingSet>>> {
        let loader = match self.job.train_once {
            Some(loader) if self.measures_now() => loader,
            _ => return Ok(Some(None)),
        };
        (self.observer)(&Event::Evaluating(Part::Training));
        let model = self.job.model;
        let Some(seen) = look(&Look::Features(model, self.job.activations), loader, stop)? else {
            return Ok(None);
        };
        let predictions = arg_max(&seen.logits, model.classes())?;
        let head = model.head_weight();
        let collapse = neural_collapse(&seen.rows, &seen.labels, head, &predictions)?;
        Ok(Some(Some(TrainingSet {
            classes: exact_classes(&seen, model.classes())?,
            collapse,
        })))
    }
}

/// How much the images of each class differ before anything is learnt: their pixels, and their features
/// under the initial weights. To be called while the model has these.
pub(crate) fn diversity(job: &Job<'_>) -> Result<Option<Diversity>> {
    let loader = match (job.config.class_measures, job.train_once) {
        (ClassMeasures::Off, _) | (_, None) => return Ok(None),
        (_, Some(loader)) => loader,
    };
    let never = StopFlag::new();
    let classes = job.class_names.len();
    let measured = |what| match look(&what, loader, &never)? {
        Some(seen) => exact_classes(&seen, classes).map(Some),
        None => Ok(None),
    };
    let pixels = measured(Look::Pixels)?;
    let initial_features = measured(Look::Features(job.model, job.activations))?;
    let both = pixels.zip(initial_features);
    Ok(both.map(|(pixels, initial_features)| Diversity {
        pixels,
        initial_features,
    }))
}

/// A row for each image, in the order of the loader.
struct Seen {
    rows: Tensor,
    /// Empty for pixels.
    logits: Vec<f32>,
    labels: Vec<u32>,
}

fn look(what: &Look<'_>, loader: &Loader, stop: &StopFlag) -> Result<Option<Seen>> {
    check_covers(loader)?;
    let (mut rows, mut logits, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for batch in loader.epoch(0, 0) {
        if stop.is_set() {
            return Ok(None);
        }
        let batch = batch?;
        let row = match what {
            Look::Pixels => batch.images.flatten_from(1)?,
            Look::Features(model, activations) => {
                let context = context(*model, *activations, Mode::Eval)?;
                let features = model.features(&context, &enter(&context, &batch)?)?;
                logits.extend(host_f32(&model.head(&context, &features)?)?);
                features
            }
        };
        // A data set's worth may be more than a GPU holds.
        rows.push(row.to_device(&Device::Cpu)?);
        labels.extend(batch.labels);
    }
    Ok(Some(Seen {
        rows: Tensor::cat(&rows, 0)?,
        logits,
        labels,
    }))
}

fn exact_classes(seen: &Seen, classes: usize) -> Result<ExactClasses> {
    let statistics = exact(&seen.rows, &seen.labels, classes, 2.0, Centre::None)?;
    let seen = statistics.seen.to_vec1::<u8>()?;
    let known = |values: &Tensor| -> Result<Vec<Option<f64>>> {
        let values = values.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let known = values.into_iter().zip(&seen);
        Ok(known
            .map(|(value, seen)| (*seen != 0).then_some(value))
            .collect())
    };
    Ok(ExactClasses {
        m: known(&statistics.m)?,
        v: known(&statistics.v)?,
    })
}
