//! Optimisers with `torch.optim`'s semantics, and clipping of the gradient norm.
//!
//! An update is one pass over a parameter, in place. State can be taken out and put back to the
//! bit; it is named after the parameters, so it fits a model and not an order.
//!
//! ```
//! use candle_core::{DType, Device};
//! use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};
//! use mr2_nn::params::ParamStore;
//! let store = ParamStore::new(7, DType::F32, &Device::Cpu);
//! let weight = store.var_builder().get_with_hints((2,), "w", candle_nn::init::ONE)?;
//! let group = ParamGroup { params: store.parameters(), lr_scale: 1.0, weight_decay: 0.0 };
//! let mut sgd = Sgd::new(vec![group], SgdConfig { momentum: 0.9, nesterov: true })?;
//! let gradients = weight.sqr()?.sum_all()?.backward()?;
//! sgd.step(&gradients, 0.125)?; // gradient 2, and 0.9 of it ahead
//! assert_eq!(weight.to_vec1::<f32>()?, [1.0 - 0.125 * 3.8; 2]);
//! # Ok::<(), candle_core::Error>(())
//! ```
mod adamw;
mod clip;
mod lars;
mod moment;
#[cfg(feature = "cuda")]
mod on_device;
mod sgd;
mod state;

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

pub use adamw::{AdamW, AdamWConfig};
pub use clip::{clip_grad_norm, clip_grad_norm_unread, grad_norm};
pub use lars::{Lars, LarsConfig};
pub use sgd::{Sgd, SgdConfig};

/// Parameters that share their learning rate and weight decay.
#[derive(Debug, Clone)]
pub struct ParamGroup {
    /// Names and variables.
    pub params: Vec<(String, Var)>,
    /// The factor on the learning rate given to [`Optimizer::step`].
    pub lr_scale: f64,
    /// Added to the gradient by [`Sgd`] and [`Lars`], decoupled from it by [`AdamW`].
    pub weight_decay: f64,
}

/// What changes parameters by their gradients.
pub trait Optimizer {
    /// One update. Parameters without a gradient are left alone, state included, as in PyTorch.
    ///
    /// # Errors
    /// A learning rate that is negative or not finite; a store that has a gradient for none of
    /// the parameters; a gradient of another shape, dtype or device than its parameter. Nothing is
    /// changed.
    fn step(&mut self, gradients: &GradStore, lr: f64) -> Result<()>;

    /// A copy of the state, in the order of the parameters; empty before the first step.
    ///
    /// # Shapes
    /// Moments have the shape and dtype of their parameter, step counts are scalars.
    ///
    /// # Errors
    /// Only Candle's own.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Puts back what [`Optimizer::state`] gave.
    ///
    /// # Shapes
    /// As given by [`Optimizer::state`].
    ///
    /// # Errors
    /// Names that belong to no parameter, another shape or dtype, or a parameter whose state is
    /// there only in part: one error lists them all and nothing is changed.
    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()>;
}
