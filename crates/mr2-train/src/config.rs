//! The hyperparameters of one run, except for its data and model.

use mr2_loss::baselines;
use mr2_nn::optim::{AdamW, AdamWConfig, Lars, LarsConfig, Optimizer, ParamGroup, Sgd, SgdConfig};
use mr2_nn::params::ParamStore;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::objective::ObjectiveConfig;
use crate::schedule::ScheduleConfig;

/// Everything that decides a run, given its data and model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of what the loop draws itself (dropout masks). Weights and batches have their own.
    pub seed: u64,
    /// Passes over the training loader.
    pub epochs: u64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The learning rate's factor over the run.
    pub schedule: ScheduleConfig,
    /// Clipping of the gradient's norm.
    pub clip: Clip,
    /// Share of the target that is spread evenly over all classes; 0 for hard labels.
    pub label_smoothing: f64,
    /// What is minimised.
    pub objective: ObjectiveConfig,
    /// Where the gradient of a step is taken.
    pub sharpness: Sharpness,
    /// When the training images are measured as a fixed set.
    pub class_measures: ClassMeasures,
    /// Steps from one checkpoint to the next.
    pub checkpoint_every_steps: u64,
    /// Steps from one line of step metrics to the next.
    pub log_every_steps: u64,
    /// Which weights are tested at the end.
    pub select: Select,
    /// Whether each epoch's record also has the accuracies on the test part, as scripts have it that
    /// report their best epoch. They are recorded and nothing else: nothing is ever selected by them.
    pub test_every_epoch: bool,
}

/// An optimiser with its learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent as in `torch.optim.SGD`.
    Sgd {
        /// Learning rate before the schedule's factor.
        lr: f64,
        /// Momentum; 0 for none.
        momentum: f64,
        /// Nesterov's momentum.
        nesterov: bool,
        /// L2 decay added to the gradient.
        weight_decay: f64,
        /// Whether biases and normalisation parameters (rank 0 and 1) decay as well.
        decay_norm_and_bias: bool,
    },
    /// Decoupled weight decay as in `torch.optim.AdamW`.
    Adamw {
        /// Learning rate before the schedule's factor.
        lr: f64,
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        eps: f64,
        /// Decoupled weight decay.
        weight_decay: f64,
        /// Whether biases and normalisation parameters (rank 0 and 1) decay as well.
        decay_norm_and_bias: bool,
    },
    /// Steps in proportion to each weight's norm, for large batches; biases and normalisation parameters (rank 0 and 1)
    /// are neither scaled nor decayed: [`mr2_nn::optim::Lars`].
    Lars {
        /// Learning rate before the schedule's factor.
        lr: f64,
        /// Momentum; 0 for none.
        momentum: f64,
        /// The norm of a step over the norm of its weight, for a learning rate of 1.
        trust: f64,
        /// L2 decay added to the gradient.
        weight_decay: f64,
    },
}

/// Clipping of the gradient's norm over all parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Clip {
    /// No clipping. With braces, because serde lets unknown keys pass beside a bare variant's tag.
    Off {},
    /// Gradients whose L2 norm is larger are scaled down to it.
    Norm {
        /// The largest norm.
        max: f64,
    },
}

/// Where the gradient of a step is taken, whatever the objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sharpness {
    /// At the weights.
    Off {},
    /// Where the loss is worst within a radius: a second pass over the batch, twice the cost.
    /// `mr2_loss::baselines::Sharpness::Sam`.
    Sam {
        /// The radius.
        rho: f64,
    },
    /// The same with a radius in proportion to each weight's size.
    /// `mr2_loss::baselines::Sharpness::Asam`.
    Asam {
        /// The radius.
        rho: f64,
        /// Keeps small weights moving.
        eta: f64,
    },
}

/// When m and v of all training images, as they are without augmentation and with the network in evaluation mode, are
/// measured beside the running statistics. A pass over the training images each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassMeasures {
    /// Never.
    Off,
    /// At the end of the last epoch, and before the first.
    LastEpoch,
    /// At the end of every epoch, and before the first.
    EveryEpoch,
}

/// Which weights are tested at the end; nothing but validation data can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Those after the last step.
    Last,
    /// Those of the epoch with the highest validation accuracy; the earliest of equals.
    BestValidation,
}

impl Clip {
    /// The largest norm that gradients may have, if any.
    pub(crate) fn max_norm(&self) -> Option<f64> {
        match *self {
            Clip::Off {} => None,
            Clip::Norm { max } => Some(max),
        }
    }
}

impl Sharpness {
    /// Where to look for the worst loss, if anywhere.
    pub(crate) fn neighbourhood(&self) -> Option<baselines::Sharpness> {
        match *self {
            Sharpness::Off {} => None,
            Sharpness::Sam { rho } => Some(baselines::Sharpness::Sam { rho }),
            Sharpness::Asam { rho, eta } => Some(baselines::Sharpness::Asam { rho, eta }),
        }
    }
}

impl OptimizerConfig {
    /// The learning rate before the schedule's factor.
    pub fn lr(&self) -> f64 {
        match *self {
            OptimizerConfig::Sgd { lr, .. }
            | OptimizerConfig::Adamw { lr, .. }
            | OptimizerConfig::Lars { lr, .. } => lr,
        }
    }

    fn decay(&self) -> (f64, bool) {
        match *self {
            OptimizerConfig::Sgd {
                weight_decay,
                decay_norm_and_bias,
                ..
            }
            | OptimizerConfig::Adamw {
                weight_decay,
                decay_norm_and_bias,
                ..
            } => (weight_decay, decay_norm_and_bias),
            OptimizerConfig::Lars { weight_decay, .. } => (weight_decay, false),
        }
    }

    /// The optimiser over all parameters of the store.
    pub(crate) fn build(&self, params: &ParamStore) -> Result<Box<dyn Optimizer>> {
        let (weight_decay, decay_norm_and_bias) = self.decay();
        let (decayed, exempt): (Vec<_>, Vec<_>) = params
            .parameters()
            .into_iter()
            .partition(|(_, var)| decay_norm_and_bias || var.rank() > 1);
        let groups = [(decayed, weight_decay), (exempt, 0.0)]
            .into_iter()
            .filter(|(params, _)| !params.is_empty())
            .map(|(params, weight_decay)| ParamGroup {
                params,
                lr_scale: 1.0,
                weight_decay,
            })
            .collect();
        Ok(match *self {
            OptimizerConfig::Sgd {
                momentum, nesterov, ..
            } => Box::new(Sgd::new(groups, SgdConfig { momentum, nesterov })?),
            OptimizerConfig::Adamw {
                beta1, beta2, eps, ..
            } => Box::new(AdamW::new(groups, AdamWConfig { beta1, beta2, eps })?),
            OptimizerConfig::Lars {
                momentum, trust, ..
            } => Box::new(Lars::new(groups, LarsConfig { momentum, trust })?),
        })
    }
}

impl TrainConfig {
    /// Checks the values that the loop itself uses.
    ///
    /// # Errors
    /// Names the key and what it accepts.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, reason: &str| {
            Err(Error::Config {
                key,
                reason: reason.to_string(),
            })
        };
        let lr = self.optimizer.lr();
        if !(lr.is_finite() && lr > 0.0) {
            return refuse(
                "optimizer.lr",
                &format!("must be finite and positive, got {lr}"),
            );
        }
        let positive = [
            ("epochs", self.epochs),
            ("checkpoint_every_steps", self.checkpoint_every_steps),
            ("log_every_steps", self.log_every_steps),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return refuse(key, "must be at least 1, got 0");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let got = self.label_smoothing;
            return refuse("label_smoothing", &format!("must be in [0, 1), got {got}"));
        }
        if let Some(neighbourhood) = self.sharpness.neighbourhood()
            && let Err(error) = neighbourhood.check()
        {
            return refuse("sharpness", &Error::reason(&error));
        }
        match self.clip {
            Clip::Norm { max } if !(max.is_finite() && max > 0.0) => refuse(
                "clip.max",
                &format!(
                    "must be finite and positive, got {max}; write kind = \"off\" for no clipping"
                ),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mr2_loss::Preset;
    use serde_json::{Value, json};

    fn written() -> Value {
        let optimizer = json!({"kind": "adamw", "lr": 1e-3, "beta1": 0.9, "beta2": 0.999,
            "eps": 1e-8, "weight_decay": 0.1, "decay_norm_and_bias": false});
        let mut objective = serde_json::to_value(Preset::PaperLinear.config()).unwrap();
        objective["kind"] = "mr2".into();
        let schedule = json!({"kind": "warmup_cosine", "warmup_epochs": 0.5,
            "start_factor": 0.1, "final_factor": 0.0, "update": "every_step"});
        json!({"seed": 1, "epochs": 2, "optimizer": optimizer, "schedule": schedule,
            "clip": {"kind": "off"}, "label_smoothing": 0.0, "objective": objective,
            "sharpness": {"kind": "asam", "rho": 0.5, "eta": 0.01}, "checkpoint_every_steps": 5,
            "log_every_steps": 1, "select": "last", "test_every_epoch": false, "class_measures": "off"})
    }

    /// Paths of all objects in it, the outermost first.
    fn objects(value: &Value, path: String) -> Vec<String> {
        let Value::Object(map) = value else {
            return Vec::new();
        };
        let inner = map
            .iter()
            .flat_map(|(key, v)| objects(v, format!("{path}/{key}")));
        std::iter::once(path.clone()).chain(inner).collect()
    }

    #[test]
    fn a_config_is_read_back_as_it_was_written() {
        let config: TrainConfig = serde_json::from_value(written()).unwrap();
        let again = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(config, again);
        config.check().unwrap();
    }

    #[test]
    fn unknown_keys_are_refused_beside_variants_without_keys() {
        for (key, value) in [
            ("clip", json!({"kind": "off"})),
            ("schedule", json!({"kind": "constant"})),
            ("objective", json!({"kind": "erm"})),
            ("objective", json!({"kind": "balanced_softmax"})),
            ("sharpness", json!({"kind": "off"})),
        ] {
            let mut config = written();
            config[key] = value;
            serde_json::from_value::<TrainConfig>(config.clone()).unwrap();
            config[key]["learning_rate"] = 1.into();
            serde_json::from_value::<TrainConfig>(config).unwrap_err();
        }
    }

    #[test]
    fn missing_and_unknown_keys_are_refused_at_every_level() {
        for path in objects(&written(), String::new()) {
            // An enum's variant by name, such as {"class_mean": …}, has no keys of its own.
            let keys: Vec<String> = written()
                .pointer(&path)
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect();
            let refused = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                let mut config = written();
                change(config.pointer_mut(&path).unwrap().as_object_mut().unwrap());
                serde_json::from_value::<TrainConfig>(config).unwrap_err()
            };
            refused(&|map| drop(map.insert("learning_rate".into(), 1.into())));
            for key in keys {
                refused(&|map| drop(map.remove(&key)));
            }
        }
    }
}
