//! Every method's first steps against the same steps written out: a plain loop, and losses in a few
//! ordinary operations each.

use std::fs;

use mr2_data::Batch;
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::model::Backbone;
use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig, grad_norm};
use mr2_nn::params::ParamStore;
use mr2_train::candle_core::backprop::GradStore;
use mr2_train::candle_core::{D, DType, Device, Tensor};
use mr2_train::objective::ObjectiveConfig;
use mr2_train::{Clip, OptimizerConfig, ScheduleConfig, Sharpness, Start, TrainConfig};

use crate::baselines::{difference, imbalanced};
use crate::resume::{End, run_process_until};
use crate::support::{CLASSES, Process, TinyNet, config, process_with, weights_of};

/// Methods that keep something from step to step.
mod stateful;
/// Losses of a batch alone.
mod stateless;

/// Training images of each class in [`imbalanced`].
const COUNTS: [f64; CLASSES] = [11.0, 8.0, 5.0, 2.0];
/// More than an epoch of four.
const STEPS: u64 = 6;
const LR: f64 = 0.1;

fn process(objective: &ObjectiveConfig, sharpness: Sharpness) -> Process {
    let config = TrainConfig {
        objective: objective.clone(),
        sharpness,
        optimizer: OptimizerConfig::Sgd {
            lr: LR,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            decay_norm_and_bias: true,
        },
        schedule: ScheduleConfig::Constant {},
        clip: Clip::Off {},
        label_smoothing: 0.0,
        checkpoint_every_steps: 1,
        ..config()
    };
    process_with(config).with_images(&imbalanced())
}

/// A network with all that trains it.
struct Trained<'a> {
    model: &'a TinyNet,
    params: &'a ParamStore,
    cx: Ctx,
    sgd: Sgd,
}

impl<'a> Trained<'a> {
    fn new(model: &'a TinyNet, params: &'a ParamStore) -> Self {
        let group = ParamGroup {
            params: params.parameters(),
            lr_scale: 1.0,
            weight_decay: 0.0,
        };
        let (momentum, nesterov) = (0.9, false);
        Self {
            model,
            params,
            cx: Ctx::new(&Device::Cpu, DType::F32, Mode::Train).unwrap(),
            sgd: Sgd::new(vec![group], SgdConfig { momentum, nesterov }).unwrap(),
        }
    }

    fn features(&self, batch: &Batch, seed: u64, step: u64) -> Tensor {
        self.cx.begin_step(seed, step);
        let images = self.cx.enter(&batch.images).unwrap();
        self.model.features(&self.cx, &images).unwrap()
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.model.head(&self.cx, features).unwrap()
    }

    fn descend(&mut self, gradients: &GradStore) {
        self.sgd.step(gradients, LR).unwrap();
    }
}

/// What a loss written out sees of a step.
struct Seen<'a> {
    batch: &'a Batch,
    features: Tensor,
    logits: Tensor,
    step: u64,
    net: &'a Trained<'a>,
}

impl Seen<'_> {
    fn labels(&self) -> &[u32] {
        &self.batch.labels
    }
}

/// Trains by hand and as a run, and compares weights and losses. `loss` gives what is differentiated.
fn check(objective: &ObjectiveConfig, mut loss: impl FnMut(&Seen<'_>) -> Tensor) {
    check_as(objective, Sharpness::Off {}, |net, batch, step| {
        let features = net.features(batch, net_seed(), step);
        let logits = net.head(&features);
        let total = loss(&Seen {
            batch,
            features,
            logits,
            step,
            net,
        });
        (value(&total), net.cx.backward(&total).unwrap())
    });
}

/// The seed of the run's dropout masks.
fn net_seed() -> u64 {
    config().seed
}

fn value(scalar: &Tensor) -> f64 {
    f64::from(scalar.to_scalar::<f32>().unwrap())
}

/// As [`check`], with the loss's value and the gradients of a step by hand.
fn check_as(
    objective: &ObjectiveConfig,
    sharpness: Sharpness,
    mut gradients: impl FnMut(&Trained<'_>, &Batch, u64) -> (f64, GradStore),
) {
    let folder = tempfile::tempdir().unwrap();
    let run = process(objective, sharpness);
    run_process_until(&run, folder.path(), Start::Fresh, STEPS, End::Stop);
    let text = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let logged: Vec<f64> = lines
        .filter(|line: &serde_json::Value| line["kind"] == "step")
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();

    let hand = process(objective, sharpness);
    let mut net = Trained::new(&hand.model, &hand.params);
    let batches = (0..2).flat_map(|epoch| hand.train.epoch(epoch, 0));
    for (step, batch) in batches.take(STEPS as usize).enumerate() {
        let (loss, gradients) = gradients(&net, &batch.unwrap(), step as u64);
        net.descend(&gradients);
        let found = logged[step];
        assert!(
            (loss - found).abs() < 1e-4 * loss.abs().max(1.0),
            "step {step}: {found} and {loss}"
        );
    }
    let found = difference(&weights_of(folder.path()), &named(net.params));
    assert!(found < 1e-4, "{objective:?}: {found}");
}

/// The tensors of a store as a checkpoint has them.
fn named(params: &ParamStore) -> Vec<(String, Vec<f32>)> {
    let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    let tensors = params.tensors().into_iter();
    let mut named: Vec<_> = tensors
        .map(|(name, tensor)| (format!("model.{name}"), values(tensor)))
        .collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

fn vector(values: impl IntoIterator<Item = f64>) -> Tensor {
    let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
    Tensor::new(values, &Device::Cpu).unwrap()
}

/// `−log softmax(z)_y` of each sample.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Tensor {
    let log = candle_nn::ops::log_softmax(logits, D::Minus1).unwrap();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let own = log.gather(&labels.unsqueeze(1).unwrap(), 1).unwrap();
    own.squeeze(1).unwrap().neg().unwrap()
}

fn mean(losses: &Tensor) -> Tensor {
    losses.mean_all().unwrap()
}

fn host(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// `Σ w loss / Σ w`.
fn weighted_mean(losses: &Tensor, weights: &[f64]) -> Tensor {
    let sum = (losses * vector(weights.iter().copied())).unwrap();
    (sum.sum_all().unwrap() / weights.iter().sum::<f64>()).unwrap()
}

/// `(1 − β) / (1 − β^n)` up to a factor.
fn class_balanced(beta: f64) -> [f64; CLASSES] {
    COUNTS.map(|n| (1.0 - beta) / (1.0 - beta.powf(n)))
}

fn of_labels(values: &[f64], labels: &[u32]) -> Vec<f64> {
    labels.iter().map(|label| values[*label as usize]).collect()
}

#[test]
fn sharpness_aware_steps() {
    let loss = |net: &Trained<'_>, batch: &Batch, step| {
        let features = net.features(batch, net_seed(), step);
        mean(&cross_entropy(&net.head(&features), &batch.labels))
    };
    for (sharpness, rho, eta) in [
        (Sharpness::Sam { rho: 0.2 }, 0.2, None),
        (Sharpness::Asam { rho: 0.7, eta: 0.1 }, 0.7, Some(0.1)),
    ] {
        check_as(&ObjectiveConfig::Erm {}, sharpness, |net, batch, step| {
            let first = loss(net, batch, step);
            let gradients = net.cx.backward(&first).unwrap();
            let parameters = net.params.parameters();
            // Of the scaled coordinates: |w| + η for weights, 1 for the others and in SAM.
            let scale = |name: &str, weight: &Tensor| match eta {
                Some(eta) if name.contains("weight") => (weight.abs().unwrap() + eta).unwrap(),
                _ => weight.ones_like().unwrap(),
            };
            let mut scaled = GradStore::default();
            for (name, var) in &parameters {
                let scale = scale(name, &var.as_tensor().detach());
                let gradient = gradients.get(var).unwrap();
                scaled.insert(var, (gradient * scale).unwrap());
            }
            let norm = grad_norm(&parameters, &scaled).unwrap();
            let mut before = Vec::new();
            for (name, var) in &parameters {
                let weight = var.as_tensor().detach().copy().unwrap();
                let gradient = scaled.get(var).unwrap();
                let step = (gradient * scale(name, &weight)).unwrap() * (rho / norm);
                var.set(&(&weight + step.unwrap()).unwrap()).unwrap();
                before.push(weight);
            }
            // Running statistics are put back instead of kept.
            let buffers = net.params.buffers();
            let copies = buffers
                .iter()
                .map(|(_, buffer)| buffer.as_tensor().copy().unwrap());
            let copies: Vec<_> = copies.collect();
            let second = net.cx.backward(&loss(net, batch, step)).unwrap();
            for ((_, buffer), copy) in buffers.iter().zip(&copies) {
                buffer.set(&copy.detach()).unwrap();
            }
            for ((_, var), weight) in parameters.iter().zip(&before) {
                var.set(weight).unwrap();
            }
            (value(&first), second)
        });
    }
}
