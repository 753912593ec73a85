//! Many heads at once: the weights of heads that see the same batches are stacked, and a batch makes the logits of all
//! of them, and the gradient of all of their weights, in one product each.

use mr2_nn::rng;
use mr2_nn::rows::{Rows, cross_entropy, sum};
use rayon::prelude::*;

use super::batches::{Batches, Drawn};
use super::config::{HeadKind, InitConfig, InputNorm, StepsConfig};
use super::cosine::Directions;
use super::features::Prepared;
use super::input_norm::BatchNorm;
use super::probed::{FitEnd, Fitted};
use super::update::{Moments, Step};
use crate::error::Result;

/// Logits of a product at most, beyond one head's: what stays near the cores between the product, the loss and the
/// gradient's product.
const LOGITS: usize = 1 << 20;

/// What a head has of its own.
pub(super) struct Spec {
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
    /// `γ` of each class.
    pub(super) margins: Vec<f64>,
}

/// Trains a head for each of `specs`, all on the same batches.
///
/// A head whose loss or weights stop being finite is taken out at that step; the others go on.
pub(super) fn train(
    set: &Prepared<'_>,
    config: &StepsConfig,
    specs: &[Spec],
    seed: u64,
    rows: &Rows,
) -> Result<Vec<Fitted>> {
    let (per_batch, length) = (config.images_per_batch, config.epoch_length);
    let mut batches = Batches::new(seed, set.len(), per_batch, length)?;
    let steps = config.epochs * batches.steps_per_epoch;
    let schedule = config
        .schedule
        .in_steps(config.epochs, batches.steps_per_epoch)?;
    let mut norm = match config.input_norm {
        InputNorm::Off {} => None,
        InputNorm::BatchNorm { eps, momentum } => Some(BatchNorm::new(set.width, eps, momentum)),
    };
    let together = (LOGITS / (per_batch.min(set.len()) * set.classes)).max(1);
    let mut stacks: Vec<Stack<'_>> = specs
        .chunks(together)
        .map(|specs| Stack::new(set, config, specs, seed))
        .collect();
    let (mut features, mut seen) = (Vec::new(), Seen::nothing(set));
    for step in 0..steps {
        let batch = batches.batch(step);
        seen.gather(&batch, &mut features)?;
        if let Some(norm) = &mut norm {
            norm.train(&mut features);
        }
        let labels: Vec<u32> = batch
            .iter()
            .map(|drawn| set.labels[drawn.image as usize])
            .collect();
        for stack in &mut stacks {
            let gradients = stack.gradients(&features, &labels, rows)?;
            stack.update(&gradients, step, schedule.factor(step));
        }
    }
    let fitted = stacks
        .into_iter()
        .flat_map(|stack| stack.finish(steps, norm.as_ref()));
    Ok(fitted.collect())
}

/// What heads see of the training images.
struct Seen<'a> {
    set: &'a Prepared<'a>,
    /// Of which `view` is.
    shuffle: Option<u64>,
    /// Nothing where the images always have the same features.
    view: Option<Vec<f32>>,
}

impl<'a> Seen<'a> {
    fn nothing(set: &'a Prepared<'a>) -> Self {
        Self {
            set,
            shuffle: None,
            view: None,
        }
    }

    /// The features of a batch, row after row.
    fn gather(&mut self, batch: &[Drawn], features: &mut Vec<f32>) -> Result<()> {
        let width = self.set.width;
        features.resize(batch.len() * width, 0.0);
        let mut rest = &mut features[..];
        for batch in batch.chunk_by(|a, b| a.shuffle == b.shuffle) {
            let shuffle = batch[0].shuffle;
            if self.shuffle != Some(shuffle) {
                // The old one goes before the new one comes.
                self.view = None;
                self.view = self.set.view(shuffle)?;
                self.shuffle = Some(shuffle);
            }
            let all = self.view.as_deref().unwrap_or(&self.set.features);
            let (rows, after) = rest.split_at_mut(batch.len() * width);
            rest = after;
            let rows = rows.par_chunks_exact_mut(width).zip(batch);
            rows.with_min_len(64).for_each(|(row, drawn)| {
                row.copy_from_slice(&all[drawn.image as usize * width..][..width]);
            });
        }
        Ok(())
    }
}

/// Heads whose products are made together.
struct Stack<'a> {
    config: &'a StepsConfig,
    width: usize,
    classes: usize,
    heads: Vec<Head>,
    /// (heads, classes, width).
    weight: Vec<f32>,
    /// (heads, classes).
    bias: Vec<f32>,
    /// `1 / γ`, (heads, classes).
    scales: Vec<f32>,
    logits: Vec<f32>,
}

/// What the optimiser keeps of a head.
struct Head {
    lr: f64,
    weight_decay: f64,
    of_weight: Moments,
    of_bias: Moments,
    /// The step, counted from 1, at which it was no longer finite.
    diverged: Option<u64>,
}

/// What a batch says about the heads of a stack.
struct Gradients {
    /// Summed over the batch.
    losses: Vec<f64>,
    of_weight: Vec<f32>,
    /// Empty where heads have no bias.
    of_bias: Vec<f32>,
}

impl<'a> Stack<'a> {
    fn new(set: &Prepared<'_>, config: &'a StepsConfig, specs: &[Spec], seed: u64) -> Self {
        let (width, classes) = (set.width, set.classes);
        let (weight, bias) = initial(config, width, classes, seed);
        let heads = specs.iter().map(|spec| Head {
            lr: spec.lr,
            weight_decay: spec.weight_decay,
            of_weight: Moments::new(config.rule, weight.len()),
            of_bias: Moments::new(config.rule, bias.len()),
            diverged: None,
        });
        let margins = specs.iter().flat_map(|spec| &spec.margins);
        Self {
            config,
            width,
            classes,
            heads: heads.collect(),
            weight: weight.repeat(specs.len()),
            bias: bias.repeat(specs.len()),
            scales: margins.map(|margin| (1.0 / margin) as f32).collect(),
            logits: Vec::new(),
        }
    }

    /// Losses, and the gradients of their means over the batch, of all heads.
    fn gradients(&mut self, features: &[f32], labels: &[u32], rows: &Rows) -> Result<Gradients> {
        let outputs = self.bias.len();
        self.logits.resize(labels.len() * outputs, 0.0);
        let cosine = match self.config.head {
            HeadKind::Linear {} => None,
            HeadKind::Cosine { scale } => Some(Directions::new(&self.weight, self.width, scale)),
        };
        let (weight, bias) = match &cosine {
            None => (&self.weight, Some(&self.bias[..])),
            Some(directions) => (&directions.scaled, None),
        };
        rows.linear(features, weight, bias, self.width, &mut self.logits)?;
        let share = 1.0 / labels.len() as f32;
        let losses = cross_entropy(&mut self.logits, labels, &self.scales, self.classes, share)?;
        let mut of_weight = rows.weight_gradient(&self.logits, features, self.width)?;
        let of_bias = match &cosine {
            None => sum(&self.logits, outputs)?,
            Some(directions) => {
                directions.gradient(&mut of_weight, self.width);
                Vec::new()
            }
        };
        Ok(Gradients {
            losses,
            of_weight,
            of_bias,
        })
    }

    /// Moves every head that is finite.
    fn update(&mut self, gradients: &Gradients, step: u64, factor: f64) {
        let (classes, per_head) = (self.classes, self.classes * self.width);
        let rule = self.config.rule;
        self.heads
            .par_iter_mut()
            .zip(self.weight.par_chunks_exact_mut(per_head))
            .zip(self.bias.par_chunks_exact_mut(classes))
            .enumerate()
            .for_each(|(place, ((head, weight), bias))| {
                if head.diverged.is_some() {
                    return;
                }
                let step = Step {
                    rule,
                    lr: head.lr * factor,
                    weight_decay: head.weight_decay,
                    number: step + 1,
                    is_bias: false,
                };
                if !gradients.losses[place].is_finite() {
                    head.diverged = Some(step.number);
                    // Its rows stay in the products: let them be cheap numbers.
                    weight.fill(0.0);
                    bias.fill(0.0);
                    return;
                }
                let of_weight = &gradients.of_weight[place * per_head..][..per_head];
                head.of_weight.step(step, weight, of_weight);
                let of_bias = place * classes..(place + 1) * classes;
                // A cosine head has none.
                if let Some(of_bias) = gradients.of_bias.get(of_bias) {
                    let is_bias = true;
                    head.of_bias.step(Step { is_bias, ..step }, bias, of_bias);
                }
            });
    }

    /// The heads as linear ones on features that are not batch-normalised.
    fn finish(mut self, steps: u64, norm: Option<&BatchNorm>) -> Vec<Fitted> {
        if let HeadKind::Cosine { scale } = self.config.head {
            self.weight = Directions::new(&self.weight, self.width, scale).scaled;
            self.bias.fill(0.0);
        }
        let weights = self.weight.chunks_exact(self.classes * self.width);
        let biases = self.bias.chunks_exact(self.classes);
        let heads = self.heads.iter().zip(weights.zip(biases));
        heads
            .map(|(head, (weight, bias))| {
                let (mut weight, mut bias) = (weight.to_vec(), bias.to_vec());
                if let Some(norm) = norm {
                    norm.fold(&mut weight, &mut bias);
                }
                let finite = weight.iter().chain(&bias).all(|value| value.is_finite());
                let diverged = head.diverged.or((!finite).then_some(steps));
                Fitted {
                    weight,
                    bias,
                    end: match diverged {
                        Some(step) => FitEnd::Diverged { step },
                        None => FitEnd::Finished,
                    },
                }
            })
            .collect()
    }
}

/// Weight and bias of one head before the first step; the same for all heads of a seed.
fn initial(config: &StepsConfig, width: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let numbers = |name: &str, count: usize, number: &dyn Fn(u64, u64) -> f64| -> Vec<f32> {
        let stream = rng::stream(seed, name);
        (0..count as u64)
            .map(|index| number(stream, index) as f32)
            .collect()
    };
    let linear = matches!(config.head, HeadKind::Linear {});
    match config.init {
        InitConfig::Normal { std } => {
            let normal = |stream, index| std * rng::normal(stream, index);
            (
                numbers("probe.weight", classes * width, &normal),
                vec![0.0; classes],
            )
        }
        InitConfig::PytorchDefault {} => {
            let bound = 1.0 / (width as f64).sqrt();
            let uniform = |stream, index| bound * (2.0 * rng::uniform(stream, index) - 1.0);
            let bias = match linear {
                true => numbers("probe.bias", classes, &uniform),
                false => vec![0.0; classes],
            };
            (numbers("probe.weight", classes * width, &uniform), bias)
        }
    }
}
