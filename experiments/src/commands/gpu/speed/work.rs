//! What is timed: networks, sizes, precisions, and one step of each.

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use mr2_loss::Preset;
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::ops::{Target, cross_entropy};
use mr2_nn::optim::{AdamW, AdamWConfig, Optimizer, ParamGroup, Sgd, SgdConfig};

use crate::commands::bench::inputs::{labels, normals};
use crate::commands::bench::mr2_loss::Mr2Loss;
use crate::commands::bench::network::build_network;
use crate::device::Precision;

const MOMENTUM: f64 = 0.9;
/// Small, so that the loss stays finite on random labels.
const LEARNING_RATE: f64 = 1e-3;

/// One kind of work; experiments/gpu/peers.py has the same.
#[derive(Clone, Copy)]
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) batch: usize,
    pub(super) precision: Precision,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Forward, loss, backward and update.
    Step(Network, Rule),
    /// Forward in evaluation.
    Forward(Network),
    /// The MR² loss of official_cifar, forward and backward to logits and features.
    Loss { classes: usize, features: usize },
}

#[derive(Clone, Copy)]
struct Network {
    name: &'static str,
    size: usize,
    classes: usize,
}

#[derive(Clone, Copy)]
enum Rule {
    Sgd,
    AdamW,
}

const VIT: Network = Network {
    name: "vit-b16",
    size: 224,
    classes: 1000,
};

/// All kinds of work.
pub(super) const ALL: [Work; 6] = [
    Work {
        name: "resnet32-step",
        batch: 128,
        precision: Precision::Tf32,
        kind: Kind::Step(
            Network {
                name: "resnet32",
                size: 32,
                classes: 100,
            },
            Rule::Sgd,
        ),
    },
    Work {
        name: "wrn-28-10-step",
        batch: 128,
        precision: Precision::Bf16,
        kind: Kind::Step(
            Network {
                name: "wrn-28-10",
                size: 32,
                classes: 100,
            },
            Rule::Sgd,
        ),
    },
    Work {
        name: "resnet50-step",
        batch: 256,
        precision: Precision::Bf16,
        kind: Kind::Step(
            Network {
                name: "resnet50",
                size: 224,
                classes: 1000,
            },
            Rule::Sgd,
        ),
    },
    Work {
        name: "vit-b16-forward",
        batch: 256,
        precision: Precision::Bf16,
        kind: Kind::Forward(VIT),
    },
    Work {
        name: "vit-b16-step",
        batch: 128,
        precision: Precision::Bf16,
        kind: Kind::Step(VIT, Rule::AdamW),
    },
    Work {
        name: "mr2-loss",
        batch: 512,
        precision: Precision::F32,
        kind: Kind::Loss {
            classes: 1000,
            features: 768,
        },
    },
];

/// Does the work once; gives a scalar in f32, which may not be computed yet.
pub(super) type Step = Box<dyn FnMut() -> Result<Tensor>>;

impl Work {
    /// The work with all that it needs on the device.
    ///
    /// # Errors
    /// Those of building the network.
    pub(super) fn prepare(&self, device: &Device) -> Result<Step> {
        match self.kind {
            Kind::Step(network, rule) => self.training_step(network, rule, device),
            Kind::Forward(network) => self.forward(network, device),
            Kind::Loss { classes, features } => self.loss(classes, features, device),
        }
    }

    fn images(&self, network: Network, device: &Device) -> Result<Tensor> {
        let shape = [self.batch, 3, network.size, network.size];
        let images = normals("images", &shape)?.to_device(device)?;
        Ok(images.to_dtype(self.precision.dtype())?)
    }

    fn training_step(&self, network: Network, rule: Rule, device: &Device) -> Result<Step> {
        let (store, model) = build_network(network.name, 3, network.classes, device)?;
        let images = self.images(network, device)?;
        let labels = labels(self.batch, network.classes);
        let context = Ctx::new(device, self.precision.dtype(), Mode::Train)?;
        let mut rule = rule.of(store.parameters())?;
        let mut number = 0;
        Ok(Box::new(move || {
            context.begin_step(0, number);
            number += 1;
            let logits = model.forward(&context, &context.enter(&images)?)?;
            let logits = logits.to_dtype(DType::F32)?;
            let loss = cross_entropy(&logits, Target::Hard(&labels), None)?.mean_all()?;
            rule.step(&context.backward(&loss)?, LEARNING_RATE)?;
            Ok(loss.detach())
        }))
    }

    fn forward(&self, network: Network, device: &Device) -> Result<Step> {
        let (_, model) = build_network(network.name, 3, network.classes, device)?;
        let images = self.images(network, device)?;
        let context = Ctx::new(device, self.precision.dtype(), Mode::Eval)?;
        Ok(Box::new(move || {
            let logits = model.forward(&context, &context.enter(&images)?)?;
            Ok(logits.get(0)?.get(0)?.to_dtype(DType::F32)?)
        }))
    }

    fn loss(&self, classes: usize, dim: usize, device: &Device) -> Result<Step> {
        let variable = |name: &str, width| {
            let values = normals(name, &[self.batch, width])?.to_device(device)?;
            Ok::<_, anyhow::Error>(Var::from_tensor(&values)?)
        };
        let (features, logits) = (variable("features", dim)?, variable("logits", classes)?);
        let labels = labels(self.batch, classes);
        let mut mr2 = Mr2Loss::new(Preset::OfficialCifar, classes, dim, device)?;
        Ok(Box::new(move || {
            let loss = mr2.forward(&logits, &features, &labels)?;
            loss.backward()?;
            Ok(loss.detach())
        }))
    }
}

impl Rule {
    fn of(self, params: Vec<(String, Var)>) -> Result<Box<dyn Optimizer>> {
        let group = |weight_decay| ParamGroup {
            params,
            lr_scale: 1.0,
            weight_decay,
        };
        Ok(match self {
            Self::Sgd => {
                let config = SgdConfig {
                    momentum: MOMENTUM,
                    nesterov: false,
                };
                Box::new(Sgd::new(vec![group(5e-4)], config)?)
            }
            Self::AdamW => {
                let config = AdamWConfig {
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                };
                Box::new(AdamW::new(vec![group(0.05)], config)?)
            }
        })
    }
}
