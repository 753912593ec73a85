//! Evaluation: a pass over a loader that changes nothing.

use candle_core::{DType, Tensor};
use mr2_data::{Epoch, Loader, LoaderConfig, Sampler};
use mr2_metrics::{
    Confusion, ECE_BINS, SplitSource, arg_max, calibration, group_accuracy, softmax, thirds, top_k,
};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::model::Backbone;

use crate::compute::{context, enter};
use crate::error::{Error, Result};
use crate::predictions::Predictions;
use crate::result::{Evaluated, ThirdsResult};
use crate::step::reading::{Reading, STEPS};

/// Top-5 says nothing where there are only five classes.
const TOP: usize = 5;

/// Runs the model in evaluation mode over the first epoch of the loader.
///
/// The loader must be sequential and keep its last batch, as `Loader::for_evaluation` gives it.
/// Batch norm uses its running statistics, dropout is the identity; no parameter, buffer or random
/// stream moves. `activations` is what layers compute in: see [`Job::activations`](crate::Job::activations).
///
/// # Errors
/// A loader that doesn't give every image once; an image that can't be read or doesn't fit the
/// model.
pub fn evaluate(
    model: &dyn Backbone,
    loader: &Loader,
    class_names: &[String],
    activations: DType,
) -> Result<Predictions> {
    let mut pass = Pass::new(model, loader, activations)?;
    while pass.batch()? {}
    pass.predictions(class_names)
}

/// An evaluation under way, which can be given up between two batches.
pub(crate) struct Pass<'a> {
    model: &'a dyn Backbone,
    context: Ctx,
    batches: Epoch,
    indices: Vec<u32>,
    labels: Vec<u32>,
    logits: Vec<f32>,
    /// Logits of the last batches, where reading them would wait for the device each time.
    unread: Vec<Tensor>,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(
        model: &'a dyn Backbone,
        loader: &Loader,
        activations: DType,
    ) -> Result<Self> {
        check_covers(loader)?;
        Ok(Self {
            model,
            context: context(model, activations, Mode::Eval)?,
            batches: loader.epoch(0, 0),
            indices: Vec::new(),
            labels: Vec::new(),
            logits: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Evaluates the next batch; `false` when there is none.
    pub(crate) fn batch(&mut self) -> Result<bool> {
        let Some(batch) = self.batches.next().transpose()? else {
            self.read()?;
            return Ok(false);
        };
        let images = enter(&self.context, &batch)?;
        self.unread
            .push(self.model.forward(&self.context, &images)?);
        let reading = Reading::on(self.context.device());
        if reading == Reading::AtOnce || self.unread.len() >= STEPS {
            self.read()?;
        }
        self.labels.extend(batch.labels);
        self.indices.extend(batch.indices);
        Ok(true)
    }

    fn read(&mut self) -> Result<()> {
        for scores in self.unread.drain(..) {
            self.logits.extend(host_f32(&scores)?);
        }
        Ok(())
    }

    pub(crate) fn predictions(self, class_names: &[String]) -> Result<Predictions> {
        Ok(Predictions {
            class_names: class_names.to_vec(),
            predictions: arg_max(&self.logits, class_names.len())?,
            indices: self.indices,
            labels: self.labels,
            logits: self.logits,
        })
    }
}

/// Every image once.
pub(crate) fn check_covers(loader: &Loader) -> Result<()> {
    let LoaderConfig {
        sampler, drop_last, ..
    } = loader.config();
    if *sampler == Sampler::Sequential && !drop_last {
        return Ok(());
    }
    Err(Error::Config {
        key: "loader",
        reason: format!(
            "evaluation needs every image once (sampler sequential, drop_last false), got \
             sampler {sampler:?}, drop_last {drop_last}"
        ),
    })
}

/// Numbers of one set of predictions.
///
/// # Errors
/// When there is no image, or a logit isn't finite.
pub fn summarise(predictions: &Predictions) -> Result<Evaluated> {
    let classes = predictions.class_names.len();
    let labels = &predictions.labels;
    let per_class = predictions.per_class()?;
    let confusion = Confusion::from_predictions(labels, &predictions.predictions, classes)?;
    let top5 = if classes > TOP {
        top_k(labels, &predictions.logits, classes, TOP)?.overall()
    } else {
        None
    };
    let probabilities = softmax(&predictions.logits, classes)?;
    Ok(Evaluated {
        overall: per_class.overall(),
        class_accuracy: per_class.accuracies(),
        predicted: Some(predicted(&predictions.predictions, classes)),
        mean_recall: per_class.mean_recall(),
        macro_f1: confusion.macro_f1(),
        top5,
        ece: calibration(labels, &probabilities, classes, ECE_BINS)?.ece,
        loss: predictions.mean_cross_entropy(),
        per_class,
    })
}

/// How often each class was predicted.
fn predicted(predictions: &[u32], classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes];
    for &class in predictions {
        if let Some(count) = counts.get_mut(class as usize) {
            *count += 1;
        }
    }
    counts
}

/// Thirds by the run's own accuracies; `None` below three classes.
pub(crate) fn own_thirds(accuracies: &[Option<f64>]) -> Result<Option<ThirdsResult>> {
    let Some(classes) = thirds(accuracies)? else {
        return Ok(None);
    };
    Ok(Some(ThirdsResult {
        chosen_on: SplitSource::SameRunOptimistic,
        easy: group_accuracy(accuracies, &classes.easy),
        medium: group_accuracy(accuracies, &classes.medium),
        hard: group_accuracy(accuracies, &classes.hard),
        classes,
    }))
}

/// The values of a tensor, row after row, in single precision.
pub(crate) fn host_f32(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}

/// The sum in double precision, which is finite if and only if every value is.
pub(crate) fn sum(tensor: &Tensor) -> candle_core::Result<f64> {
    tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar()
}
