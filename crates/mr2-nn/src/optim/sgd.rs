//! Stochastic gradient descent with momentum.
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, bail};
use serde::{Deserialize, Serialize};

use super::moment::{Moment, Update, update_in_place};
use super::state::{Kind, Slot, check_setting, for_each_gradient, load_state, slots};
use super::{Optimizer, ParamGroup};
use crate::ops::float::Float;

/// The settings of [`Sgd`] that all groups share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// The decay of the velocity, in `[0, 1)`; 0 for none.
    pub momentum: f64,
    /// Looks one step of the velocity ahead. Needs momentum.
    pub nesterov: bool,
}

/// `torch.optim.SGD` with dampening 0: the velocity starts as the first gradient, weight decay is
/// part of the gradient, and the learning rate multiplies the velocity when it is applied.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    slots: Vec<Slot<Moment>>,
}

const STATE: [Kind; 1] = [Kind {
    prefix: "momentum_buffer",
    scalar: false,
}];

impl Sgd {
    /// An optimiser of the parameters of all groups.
    ///
    /// # Errors
    /// Momentum outside `[0, 1)`, Nesterov without momentum, negative or non-finite group
    /// settings, a parameter that appears twice or is neither f32 nor f64, no parameters at all.
    pub fn new(groups: Vec<ParamGroup>, config: SgdConfig) -> Result<Self> {
        if !(0.0..1.0).contains(&config.momentum) {
            bail!("SGD: momentum must lie in [0, 1), got {}", config.momentum)
        }
        if config.nesterov && config.momentum == 0.0 {
            bail!("SGD: nesterov needs momentum, got momentum 0")
        }
        Ok(Self {
            config,
            slots: slots(groups)?,
        })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, gradients: &GradStore, lr: f64) -> Result<()> {
        check_setting("lr", lr)?;
        let SgdConfig { momentum, nesterov } = self.config;
        for_each_gradient(&mut self.slots, gradients, |slot, gradient| {
            let Slot {
                parameter,
                lr_scale,
                weight_decay,
                state,
                ..
            } = slot;
            let lr = lr * *lr_scale;
            let rule = Rule {
                lr,
                weight_decay: *weight_decay,
                momentum,
                nesterov,
            };
            // A zero velocity becomes the gradient itself in the first step.
            let velocity = match state {
                None if momentum > 0.0 => Some(state.insert(Moment::zeros_like(parameter)?)),
                other => other.as_mut(),
            };
            match (parameter.device(), velocity) {
                (Device::Cpu, None) => update_in_place(parameter, gradient, [], &rule),
                (Device::Cpu, Some(velocity)) => {
                    update_in_place(parameter, gradient, [velocity], &rule)
                }
                (_, velocity) => rule.composed(parameter, gradient, velocity),
            }
        })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = Vec::new();
        for slot in &self.slots {
            if let Some(velocity) = &slot.state {
                tensors.push((
                    STATE[0].name(&slot.name),
                    velocity.to_tensor(&slot.parameter)?,
                ));
            }
        }
        Ok(tensors)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        if self.config.momentum == 0.0 && !state.is_empty() {
            bail!("the optimiser's state doesn't fit: SGD without momentum has none")
        }
        load_state(&mut self.slots, &STATE, state, |tensors| {
            Moment::from_tensor(&tensors[0])
        })
    }
}

#[derive(Clone, Copy)]
struct Rule {
    lr: f64,
    weight_decay: f64,
    momentum: f64,
    nesterov: bool,
}

impl Rule {
    fn composed(
        self,
        parameter: &Var,
        gradient: &Tensor,
        moment: Option<&mut Moment>,
    ) -> Result<()> {
        let value = parameter.as_detached_tensor();
        let gradient = (gradient + (&value * self.weight_decay)?)?;
        let direction = match moment {
            Some(Moment::OnDevice(velocity)) => {
                *velocity = ((&*velocity * self.momentum)? + &gradient)?;
                match self.nesterov {
                    true => (gradient + (&*velocity * self.momentum)?)?,
                    false => velocity.clone(),
                }
            }
            _ => gradient,
        };
        parameter.set(&(value - (direction * self.lr)?)?)
    }
}

impl Update<0> for Rule {
    #[inline(always)]
    fn apply<T: Float>(&self, parameter: &mut [T], gradient: &[T], _moments: [&mut [T]; 0]) {
        let (lr, decay) = (T::from_f64(self.lr), T::from_f64(self.weight_decay));
        for (p, &g) in parameter.iter_mut().zip(gradient) {
            *p -= lr * (g + decay * *p);
        }
    }
}

impl Update<1> for Rule {
    #[inline(always)]
    fn apply<T: Float>(&self, parameter: &mut [T], gradient: &[T], [velocity]: [&mut [T]; 1]) {
        let (lr, decay) = (T::from_f64(self.lr), T::from_f64(self.weight_decay));
        let momentum = T::from_f64(self.momentum);
        let all = parameter.iter_mut().zip(gradient).zip(velocity);
        if self.nesterov {
            for ((p, &g), v) in all {
                let g = g + decay * *p;
                *v = momentum * *v + g;
                *p -= lr * (g + momentum * *v);
            }
        } else {
            for ((p, &g), v) in all {
                *v = momentum * *v + (g + decay * *p);
                *p -= lr * *v;
            }
        }
    }
}
