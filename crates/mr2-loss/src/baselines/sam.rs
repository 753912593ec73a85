//! Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby.
//!
//! One step is: gradient at the weights, [`perturbation`], [`apply`], gradient there,
//! [`Perturbed::undo`], and the optimiser's step with the second gradient. The second pass must
//! update neither running statistics of batch norm nor class statistics; its cost doubles the step's.
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var, bail};
use mr2_nn::optim::clip_grad_norm_unread;
use serde::{Deserialize, Serialize};

use super::arguments::{check_not_negative, check_positive};

/// Added to the norm by davda54/sam.
const SAM_EPSILON: f64 = 1e-12;
/// Added to the norm by SamsungLabs/ASAM.
const ASAM_EPSILON: f64 = 1e-16;

/// What "nearby" means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sharpness {
    /// A ball of radius `rho` about all parameters together (Foret et al., ICLR 2021, arXiv
    /// 2010.01412; davda54/sam sam.py): `ε = rho · g / (‖g‖ + 1e-12)`. 0.05 on CIFAR-10, 0.1 on
    /// CIFAR-100.
    Sam {
        /// The radius.
        rho: f64,
    },
    /// The ball in coordinates scaled by the size of each weight (Kwon et al., ICML 2021, arXiv
    /// 2102.11600; SamsungLabs/ASAM asam.py): with `t = |w| + eta`, `ε = rho · t² g / (‖t g‖ + 1e-16)`.
    /// As there, `t` is 1 for parameters whose name doesn't contain `weight`, such as biases.
    /// `rho` 0.5 on CIFAR-10, 1 on CIFAR-100, `eta` 0.01. davda54/sam has another ASAM, without `eta`.
    Asam {
        /// The radius.
        rho: f64,
        /// Keeps small weights moving.
        eta: f64,
    },
}

impl Sharpness {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// Names the first number that is not.
    pub fn check(&self) -> Result<()> {
        match *self {
            Sharpness::Sam { rho } => check_positive("sam: rho", rho),
            Sharpness::Asam { rho, eta } => {
                check_positive("asam: rho", rho)?;
                check_not_negative("asam: eta", eta)
            }
        }
    }
}

/// What to add to each parameter that has a gradient, in the order of `params`; the others are left
/// out. Nothing is changed yet. A gradient of 0 everywhere gives 0.
///
/// # Shapes
/// Each tensor is as its variable.
///
/// # Errors
/// A number out of range, a store that has a gradient for none of the parameters, a gradient that is not of its
/// parameter's shape or, on the CPU, not finite (the error names the parameter). On CUDA nothing waits for the norm: a gradient
/// that isn't finite makes steps NaN.
pub fn perturbation(
    params: &[(String, Var)],
    grads: &GradStore,
    config: &Sharpness,
) -> Result<Vec<(Var, Tensor)>> {
    config.check()?;
    let mut scaled = GradStore::default();
    let mut scales = Vec::new();
    for (name, var) in params {
        let Some(gradient) = grads.get(var.as_tensor()) else {
            continue;
        };
        if gradient.dims() != var.dims() {
            bail!(
                "perturbation: the gradient of {name:?} must be {:?}, got {:?}",
                var.dims(),
                gradient.dims()
            )
        }
        let scale = match *config {
            Sharpness::Asam { eta, .. } if name.contains("weight") => {
                Some((var.as_tensor().detach().abs()? + eta)?)
            }
            _ => None,
        };
        let gradient = match &scale {
            Some(scale) => (gradient.detach() * scale)?,
            None => gradient.detach(),
        };
        scaled.insert(var.as_tensor(), gradient.clone());
        scales.push((var, gradient, scale));
    }
    if scales.is_empty() {
        bail!(
            "perturbation: no gradient for any of the {} parameters",
            params.len()
        )
    }
    let norm = clip_grad_norm_unread(params, &mut scaled, None)?;
    let (rho, epsilon) = match *config {
        Sharpness::Sam { rho } => (rho, SAM_EPSILON),
        Sharpness::Asam { rho, .. } => (rho, ASAM_EPSILON),
    };
    let wide = ((norm + epsilon)?.recip()? * rho)?;
    // For each type and place of gradients once, which is once: parameters share theirs.
    let mut factor = wide.clone();
    let step = |(var, gradient, scale): (&Var, Tensor, Option<Tensor>)| {
        let device = gradient.device();
        if factor.dtype() != gradient.dtype() || !factor.device().same_device(device) {
            factor = wide.to_dtype(gradient.dtype())?.to_device(device)?;
        }
        let gradient = match scale {
            Some(scale) => (gradient * scale)?,
            None => gradient,
        };
        Ok((var.clone(), gradient.broadcast_mul(&factor)?))
    };
    scales.into_iter().map(step).collect()
}

/// The weights from before [`apply`].
#[must_use = "the weights stay perturbed until undo"]
pub struct Perturbed {
    originals: Vec<(Var, Tensor)>,
}

/// Adds the perturbation to the weights. All sums are taken before the first weight is set.
///
/// # Errors
/// A tensor that is not as its variable; nothing is changed.
pub fn apply(perturbation: &[(Var, Tensor)]) -> Result<Perturbed> {
    let mut originals = Vec::with_capacity(perturbation.len());
    let mut moved = Vec::with_capacity(perturbation.len());
    for (var, step) in perturbation {
        let original = var.as_tensor().detach().copy()?;
        moved.push((&original + step)?);
        originals.push((var.clone(), original));
    }
    for ((var, _), moved) in originals.iter().zip(&moved) {
        var.set(moved)?;
    }
    Ok(Perturbed { originals })
}

impl Perturbed {
    /// Puts the weights back to the bit: from copies, since subtracting what was added would leave
    /// its rounding in them.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn undo(self) -> Result<()> {
        for (var, original) in &self.originals {
            var.set(original)?;
        }
        Ok(())
    }
}
