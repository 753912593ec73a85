//! Stochastic gradient descent with momentum.
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "cuda")]
use candle_core::CudaDevice;
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, bail};
use serde::{Deserialize, Serialize};

use super::moment::{Moment, Update, update_in_place};
#[cfg(feature = "cuda")]
use super::on_device;
use super::state::{
    Kind, Slot, check_setting, fitting_gradients, load_velocities, slots, velocities,
};
use super::{Optimizer, ParamGroup};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{self, optim::Entry};
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

const STATE: Kind = Kind {
    prefix: "momentum_buffer",
    scalar: false,
};

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
        let gradients = fitting_gradients(&self.slots, gradients)?;
        #[cfg(feature = "cuda")]
        if let Some(device) = on_device::one_device(&self.slots) {
            return self.step_on_device(&device, &gradients, lr);
        }
        for (slot, gradient) in self.slots.iter_mut().zip(&gradients) {
            let Some(gradient) = gradient else { continue };
            let Slot {
                parameter,
                lr_scale,
                weight_decay,
                state,
                ..
            } = slot;
            let rule = Rule {
                lr: lr * *lr_scale,
                weight_decay: *weight_decay,
                momentum,
                nesterov,
            };
            let velocity = velocity(state, parameter, momentum)?;
            match (parameter.device(), velocity) {
                (Device::Cpu, None) => update_in_place(parameter, gradient, [], &rule)?,
                (Device::Cpu, Some(velocity)) => {
                    update_in_place(parameter, gradient, [velocity], &rule)?
                }
                (_, velocity) => rule.composed(parameter, gradient, velocity)?,
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        velocities(&self.slots, STATE)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        if self.config.momentum == 0.0 && !state.is_empty() {
            bail!("the optimiser's state doesn't fit: SGD without momentum has none")
        }
        load_velocities(&mut self.slots, STATE, state)
    }
}

#[cfg(feature = "cuda")]
impl Sgd {
    /// All parameters in a few launches.
    fn step_on_device(
        &mut self,
        device: &CudaDevice,
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        let SgdConfig { momentum, nesterov } = self.config;
        for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
            if gradient.is_some()
                && let Some(velocity) = velocity(&mut slot.state, &slot.parameter, momentum)?
            {
                velocity.unshare()?;
            }
        }
        let mut entries = Vec::with_capacity(self.slots.len());
        for (slot, gradient) in self.slots.iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let velocity = slot.state.as_ref().filter(|_| momentum > 0.0);
            let lr = lr * slot.lr_scale;
            entries.push(Entry {
                tensors: [
                    Some(slot.parameter.as_tensor()),
                    Some(gradient),
                    velocity.map(Moment::on_device).transpose()?,
                ],
                numbers: [lr as f32, slot.weight_decay as f32, 0.0, 0.0],
            });
        }
        cuda::optim::sgd(device, &entries, momentum, nesterov)
    }
}

/// A parameter's velocity; a fresh zero one becomes the gradient itself in the first step.
fn velocity<'a>(
    state: &'a mut Option<Moment>,
    parameter: &Var,
    momentum: f64,
) -> Result<Option<&'a mut Moment>> {
    if state.is_none() && momentum > 0.0 {
        *state = Some(Moment::zeros_like(parameter)?);
    }
    Ok(state.as_mut())
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
                let new = ((velocity.as_ref() * self.momentum)? + &gradient)?;
                *velocity = Arc::new(new.clone());
                match self.nesterov {
                    true => (gradient + (new * self.momentum)?)?,
                    false => new,
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
