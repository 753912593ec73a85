//! Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).
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
use super::state::{Kind, Slot, check_setting, fitting_gradients, load_state, slots};
use super::{Optimizer, ParamGroup};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{self, optim::Entry};
use crate::ops::float::Float;

/// The settings of [`AdamW`] that all groups share. PyTorch's are 0.9, 0.999 and 1e-8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// The decay of the mean of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// The decay of the mean of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
}

/// `torch.optim.AdamW`. Each parameter counts the steps in which it had a gradient.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    slots: Vec<Slot<State>>,
}

#[derive(Debug, Clone)]
struct State {
    step: i64,
    mean: Moment,
    square: Moment,
}

const STATE: [Kind; 3] = [
    Kind {
        prefix: "step",
        scalar: true,
    },
    Kind {
        prefix: "exp_avg",
        scalar: false,
    },
    Kind {
        prefix: "exp_avg_sq",
        scalar: false,
    },
];

impl AdamW {
    /// An optimiser of the parameters of all groups.
    ///
    /// # Errors
    /// A beta outside `[0, 1)`, a negative or non-finite `eps` or group setting, a parameter that
    /// appears twice or is neither f32 nor f64, no parameters at all.
    pub fn new(groups: Vec<ParamGroup>, config: AdamWConfig) -> Result<Self> {
        for (name, beta) in [("beta1", config.beta1), ("beta2", config.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                bail!("AdamW: {name} must lie in [0, 1), got {beta}")
            }
        }
        check_setting("eps", config.eps)?;
        Ok(Self {
            config,
            slots: slots(groups)?,
        })
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, gradients: &GradStore, lr: f64) -> Result<()> {
        check_setting("lr", lr)?;
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
            let state = counted(state, parameter)?;
            let rule = Rule::new(&self.config, lr * *lr_scale, *weight_decay, state.step);
            let moments = [&mut state.mean, &mut state.square];
            match parameter.device() {
                Device::Cpu => update_in_place(parameter, gradient, moments, &rule)?,
                _ => rule.composed(parameter, gradient, moments)?,
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let [step, mean, square] = &STATE;
        let mut tensors = Vec::new();
        for Slot {
            name,
            parameter,
            state,
            ..
        } in &self.slots
        {
            if let Some(state) = state {
                tensors.push((step.name(name), Tensor::new(state.step, &Device::Cpu)?));
                tensors.push((mean.name(name), state.mean.to_tensor(parameter)?));
                tensors.push((square.name(name), state.square.to_tensor(parameter)?));
            }
        }
        Ok(tensors)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        load_state(&mut self.slots, &STATE, state, |tensors| {
            Ok(State {
                step: tensors[0].to_scalar()?,
                mean: Moment::from_tensor(&tensors[1])?,
                square: Moment::from_tensor(&tensors[2])?,
            })
        })
    }
}

#[cfg(feature = "cuda")]
impl AdamW {
    /// All parameters in a few launches.
    fn step_on_device(
        &mut self,
        device: &CudaDevice,
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
            if gradient.is_some() {
                let state = counted(&mut slot.state, &slot.parameter)?;
                state.mean.unshare()?;
                state.square.unshare()?;
            }
        }
        let mut entries = Vec::with_capacity(self.slots.len());
        for (slot, gradient) in self.slots.iter().zip(gradients) {
            let (Some(gradient), Some(state)) = (gradient, &slot.state) else {
                continue;
            };
            let lr = lr * slot.lr_scale;
            let rule = Rule::new(&self.config, lr, slot.weight_decay, state.step);
            let numbers = [rule.keep, rule.step_size, rule.root_of_correction, 0.0];
            entries.push(Entry {
                tensors: [
                    Some(slot.parameter.as_tensor()),
                    Some(gradient),
                    Some(state.mean.on_device()?),
                    Some(state.square.on_device()?),
                ],
                numbers: numbers.map(|number| number as f32),
            });
        }
        let AdamWConfig { beta1, beta2, eps } = self.config;
        cuda::optim::adamw(device, &entries, [beta1, beta2], eps)
    }
}

/// A parameter's state with one step more, from zeros at the first.
fn counted<'a>(state: &'a mut Option<State>, parameter: &Var) -> Result<&'a mut State> {
    let state = match state {
        Some(state) => state,
        None => {
            let mean = Moment::zeros_like(parameter)?;
            state.insert(State {
                step: 0,
                square: mean.clone(),
                mean,
            })
        }
    };
    state.step += 1;
    Ok(state)
}

/// The numbers of one step of one parameter.
#[derive(Clone, Copy)]
struct Rule {
    keep: f64,
    beta1: f64,
    beta2: f64,
    step_size: f64,
    root_of_correction: f64,
    eps: f64,
}

impl Rule {
    fn new(config: &AdamWConfig, lr: f64, weight_decay: f64, step: i64) -> Self {
        let AdamWConfig { beta1, beta2, eps } = *config;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            keep: 1.0 - lr * weight_decay,
            beta1,
            beta2,
            step_size: lr / correction(beta1),
            root_of_correction: correction(beta2).sqrt(),
            eps,
        }
    }

    fn composed(self, parameter: &Var, gradient: &Tensor, moments: [&mut Moment; 2]) -> Result<()> {
        let [Moment::OnDevice(mean), Moment::OnDevice(square)] = moments else {
            bail!("AdamW: the state is not on the parameter's device")
        };
        let new_mean = ((mean.as_ref() * self.beta1)? + (gradient * (1.0 - self.beta1))?)?;
        let new_square =
            ((square.as_ref() * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
        let root = ((new_square.sqrt()? / self.root_of_correction)? + self.eps)?;
        let value = (parameter.as_detached_tensor() * self.keep)?;
        let change = ((&new_mean / root)? * self.step_size)?;
        (*mean, *square) = (Arc::new(new_mean), Arc::new(new_square));
        parameter.set(&(value - change)?)
    }
}

impl Update<2> for Rule {
    #[inline(always)]
    fn apply<T: Float>(&self, parameter: &mut [T], gradient: &[T], moments: [&mut [T]; 2]) {
        let [mean, square] = moments;
        let (keep, step_size) = (T::from_f64(self.keep), T::from_f64(self.step_size));
        let (new1, keep2) = (T::from_f64(1.0 - self.beta1), T::from_f64(self.beta2));
        let new2 = T::from_f64(1.0 - self.beta2);
        let root_of_correction = T::from_f64(self.root_of_correction);
        let eps = T::from_f64(self.eps);
        let all = parameter
            .iter_mut()
            .zip(gradient)
            .zip(mean.iter_mut().zip(square.iter_mut()));
        for ((p, &g), (m, v)) in all {
            *m += new1 * (g - *m);
            *v = keep2 * *v + new2 * g * g;
            *p = *p * keep - step_size * (*m / (v.square_root() / root_of_correction + eps));
        }
    }
}
