//! Layer-wise adaptive rates (You et al. 2017, arXiv 1708.03888).
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "cuda")]
use candle_core::CudaDevice;
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, bail};
use serde::{Deserialize, Serialize};

use super::clip::sum_of_squares;
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

/// The settings of [`Lars`] that all groups share. MAE's linear probes take 0.9 and 0.001.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LarsConfig {
    /// The decay of the velocity, in `[0, 1)`; 0 for none.
    pub momentum: f64,
    /// What the norm of a step is of the norm of its parameter, for a learning rate of 1.
    pub trust: f64,
}

/// Stochastic gradient descent in which the step of each parameter of rank 2 and more has a norm in proportion to the
/// parameter's: `util/lars.py` of facebookresearch/mae. Its gradient with the weight decay is multiplied by
/// `trust · ‖parameter‖ / ‖gradient + decay · parameter‖` before it enters the velocity; by 1 where either norm is 0.
/// Biases and normalisations (rank 0 and 1) are neither scaled nor decayed. The learning rate multiplies the velocity
/// when it is applied.
#[derive(Debug, Clone)]
pub struct Lars {
    config: LarsConfig,
    slots: Vec<Slot<Moment>>,
}

const STATE: Kind = Kind {
    prefix: "mu",
    scalar: false,
};

impl Lars {
    /// An optimiser of the parameters of all groups.
    ///
    /// # Errors
    /// Momentum outside `[0, 1)`, a negative or non-finite trust or group setting, a parameter that appears twice or is
    /// neither f32 nor f64, no parameters at all.
    pub fn new(groups: Vec<ParamGroup>, config: LarsConfig) -> Result<Self> {
        if !(0.0..1.0).contains(&config.momentum) {
            bail!("LARS: momentum must lie in [0, 1), got {}", config.momentum)
        }
        check_setting("trust", config.trust)?;
        Ok(Self {
            config,
            slots: slots(groups)?,
        })
    }
}

impl Optimizer for Lars {
    fn step(&mut self, gradients: &GradStore, lr: f64) -> Result<()> {
        check_setting("lr", lr)?;
        let gradients = fitting_gradients(&self.slots, gradients)?;
        for (slot, gradient) in self.slots.iter_mut().zip(&gradients) {
            if gradient.is_some() && slot.state.is_none() {
                slot.state = Some(Moment::zeros_like(&slot.parameter)?);
            }
        }
        #[cfg(feature = "cuda")]
        if let Some(device) = on_device::one_device(&self.slots) {
            return self.step_on_device(&device, &gradients, lr);
        }
        for (slot, gradient) in self.slots.iter_mut().zip(&gradients) {
            let (Some(gradient), Some(velocity)) = (gradient, &mut slot.state) else {
                continue;
            };
            let parameter = &slot.parameter;
            let (factor, decay) = match is_scaled(parameter) {
                true => scaling(parameter, gradient, slot.weight_decay, self.config.trust)?,
                false => (1.0, 0.0),
            };
            let rule = Rule {
                lr: lr * slot.lr_scale,
                momentum: self.config.momentum,
                factor,
                decay,
            };
            match (parameter.device(), velocity) {
                (Device::Cpu, velocity) => {
                    update_in_place(parameter, gradient, [velocity], &rule)?;
                }
                (_, Moment::OnDevice(velocity)) => rule.composed(parameter, gradient, velocity)?,
                _ => bail!("LARS: the state is not on the parameter's device"),
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        velocities(&self.slots, STATE)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        load_velocities(&mut self.slots, STATE, state)
    }
}

#[cfg(feature = "cuda")]
impl Lars {
    /// All parameters in a few launches: their norms, then the updates.
    fn step_on_device(
        &mut self,
        device: &CudaDevice,
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        let mut entries = Vec::with_capacity(self.slots.len());
        for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
            let (Some(gradient), Some(velocity)) = (gradient, &mut slot.state) else {
                continue;
            };
            velocity.unshare()?;
            let is_scaled = is_scaled(&slot.parameter);
            let decay = match is_scaled {
                true => slot.weight_decay,
                false => 0.0,
            };
            let scaled = f32::from(u8::from(is_scaled));
            entries.push(Entry {
                tensors: [
                    Some(slot.parameter.as_tensor()),
                    Some(gradient),
                    Some(velocity.on_device()?),
                ],
                numbers: [(lr * slot.lr_scale) as f32, decay as f32, scaled, 0.0],
            });
        }
        cuda::optim::lars(device, &entries, self.config.momentum, self.config.trust)
    }
}

/// Whether a parameter's step is scaled by its norm.
fn is_scaled(parameter: &Var) -> bool {
    parameter.rank() > 1
}

/// What the gradient and the parameter are multiplied by before their sum enters the velocity.
fn scaling(parameter: &Var, gradient: &Tensor, decay: f64, trust: f64) -> Result<(f64, f64)> {
    let value = parameter.as_detached_tensor();
    let of_sum = sum_of_squares(&(gradient + (&value * decay)?)?)?.sqrt();
    let of_value = sum_of_squares(&value)?.sqrt();
    let factor = match of_value > 0.0 && of_sum > 0.0 {
        true => trust * of_value / of_sum,
        false => 1.0,
    };
    Ok((factor, factor * decay))
}

#[derive(Clone, Copy)]
struct Rule {
    lr: f64,
    momentum: f64,
    /// On the gradient.
    factor: f64,
    /// On the parameter.
    decay: f64,
}

impl Rule {
    fn composed(
        self,
        parameter: &Var,
        gradient: &Tensor,
        velocity: &mut Arc<Tensor>,
    ) -> Result<()> {
        let value = parameter.as_detached_tensor();
        let direction = ((gradient * self.factor)? + (&value * self.decay)?)?;
        let new = ((velocity.as_ref() * self.momentum)? + direction)?;
        *velocity = Arc::new(new.clone());
        parameter.set(&(value - (new * self.lr)?)?)
    }
}

impl Update<1> for Rule {
    #[inline(always)]
    fn apply<T: Float>(&self, parameter: &mut [T], gradient: &[T], [velocity]: [&mut [T]; 1]) {
        let (lr, momentum) = (T::from_f64(self.lr), T::from_f64(self.momentum));
        let (factor, decay) = (T::from_f64(self.factor), T::from_f64(self.decay));
        for ((p, &g), v) in parameter.iter_mut().zip(gradient).zip(velocity) {
            *v = momentum * *v + (factor * g + decay * *p);
            *p -= lr * *v;
        }
    }
}
