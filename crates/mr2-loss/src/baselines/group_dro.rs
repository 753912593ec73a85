//! Group DRO with the classes as groups: classes with a large loss gain weight.
use std::collections::HashMap;

use candle_core::{Device, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use super::arguments::{check_labels, check_not_negative, check_per_class, constant};
use super::saved_state;

/// The name of the tensor that holds the weights.
const WEIGHTS: &str = "weights";
/// How far from 1 saved weights may sum.
const SUM_TOLERANCE: f64 = 1e-6;

/// What an update does with a class that the batch hasn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsentClasses {
    /// Its loss is 0, so it loses weight to the classes that are there (kohpangwei/group_DRO loss.py;
    /// YyzHarry/SubpopBench leaves absent classes out of the exponential, which comes to the same).
    /// With 100 classes and a batch of 128 that is about 28 classes in each step.
    Zero,
    /// It keeps its weight; the others share among them what they had. Ours: chance alone then moves
    /// no weight.
    Skip,
}

/// The weight `q` of each class: what a training loop keeps and saves. It lies on the device of the losses, and nothing waits
/// for it there.
#[derive(Debug, Clone)]
pub struct GroupWeights {
    /// (classes), as wide as the device has it
    weights: Tensor,
}

impl GroupWeights {
    /// Equal weights, on the device of the losses.
    ///
    /// # Errors
    /// No classes.
    pub fn new(classes: usize, device: &Device) -> Result<Self> {
        if classes == 0 {
            bail!("group weights need at least one class, got 0")
        }
        let weights = vec![1.0 / classes as f64; classes];
        Ok(Self {
            weights: saved_state::on_device(weights, device)?,
        })
    }

    /// `q_k ← q_k exp(step_size · loss_k)`, normalised to sum to 1 (Sagawa et al., ICLR 2020, arXiv
    /// 1911.08731; kohpangwei/group_DRO loss.py, with `step_size` 0.01). No loss is too large for it.
    ///
    /// Upstream's adjustment `C/√n_k`, which it adds to the losses where every one is positive, is
    /// the caller's to add; with equal counts it is a constant, which the normalisation cancels.
    ///
    /// # Shapes
    /// `means` and `present` are (classes), of [`class_mean_losses`]: the batch's loss of each class, and whether it has
    /// the class.
    ///
    /// # Errors
    /// Another length, a `step_size` that is negative or not finite; on the CPU a loss that is not finite. Nothing is changed
    /// then. Elsewhere nothing looks at the losses.
    pub fn update(
        &mut self,
        means: &Tensor,
        present: &[bool],
        step_size: f64,
        absent: AbsentClasses,
    ) -> Result<()> {
        check_not_negative("group weights: step_size", step_size)?;
        let classes = self.weights.dim(0)?;
        check_per_class("group weights: present", present.len(), classes)?;
        check_class_means("group weights: means", means, classes)?;
        let means = means.detach().to_dtype(self.weights.dtype())?;
        if means.device().is_cpu() {
            let losses: Vec<f64> = means.to_vec1()?;
            let mut seen = losses.iter().zip(present).enumerate();
            if let Some((class, (loss, _))) = seen.find(|(_, (x, seen))| **seen && !x.is_finite()) {
                bail!("group weights: the loss of class {class} is {loss}")
            }
        }
        let of_absent = match absent {
            AbsentClasses::Zero => 0.0,
            AbsentClasses::Skip if present.contains(&true) => f64::NEG_INFINITY,
            AbsentClasses::Skip => return Ok(()),
        };
        let all = absent == AbsentClasses::Zero || !present.contains(&false);
        let mask = |others: bool| {
            let mask = present.iter().map(|&present| u8::from(present || others));
            Tensor::new(mask.collect::<Vec<_>>(), means.device())
        };
        let (there, moving) = (mask(false)?, mask(all)?);
        let of_absent = saved_state::on_device(vec![of_absent; classes], means.device())?;
        let exponent = there.where_cond(&(&means * step_size)?, &of_absent)?;
        let growth = exponent.broadcast_sub(&exponent.max_all()?)?.exp()?;
        let moved = (&self.weights * growth)?;
        let grown = moved.sum_all()?;
        // Of all classes the sum is 1 but for rounding, which must not be carried on.
        let share = match all {
            true => grown.ones_like()?,
            false => (&self.weights * moving.to_dtype(self.weights.dtype())?)?.sum_all()?,
        };
        let moved = moved.broadcast_mul(&(share / &grown)?)?;
        let usable = moving.broadcast_mul(&grown.gt(0f64)?)?;
        self.weights = usable.where_cond(&moved, &self.weights)?;
        Ok(())
    }

    /// The weight of each class, (classes) in f64 (f32 on Metal, which has no f64); they sum to 1.
    pub fn weights(&self) -> &Tensor {
        &self.weights
    }

    /// The state as tensors on the CPU, for a checkpoint.
    ///
    /// # Shapes
    /// `weights` (classes), f64.
    ///
    /// # Errors
    /// A weight that a loss has made NaN.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let weights = saved_state::to_save("group weights", WEIGHTS, &self.weights)?;
        Ok(vec![(WEIGHTS.to_string(), weights)])
    }

    /// Puts back what [`GroupWeights::tensors`] gave, to the bit.
    ///
    /// # Shapes
    /// As [`GroupWeights::tensors`].
    ///
    /// # Errors
    /// A tensor too many, missing or of another shape, a negative weight, weights that don't sum to
    /// 1; nothing is changed.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let classes = self.weights.dim(0)?;
        let [weights] = saved_state::read("group weights", tensors, [WEIGHTS], classes)?;
        let sum: f64 = weights.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            bail!("group weights: weights must sum to 1, got {sum}")
        }
        self.weights = saved_state::on_device(weights, self.weights.device())?;
        Ok(())
    }
}

fn check_class_means(name: &str, means: &Tensor, classes: usize) -> Result<()> {
    match means.dims() == [classes] {
        true => Ok(()),
        false => bail!("{name} must be ({classes}), got {:?}", means.dims()),
    }
}

/// The mean loss of each class in the batch, 0 for a class without a sample, and which classes are
/// there. The gradient flows to the samples.
///
/// # Shapes
/// `per_sample` (batch), f32 or f64; the tensor and the mask are (classes).
///
/// # Errors
/// Another shape, a label that is no class.
pub fn class_mean_losses(
    per_sample: &Tensor,
    labels: &[u32],
    classes: usize,
) -> Result<(Tensor, Vec<bool>)> {
    let &[batch] = per_sample.dims() else {
        bail!(
            "class_mean_losses: per_sample must be (batch), got {:?}",
            per_sample.dims()
        )
    };
    check_labels(labels, batch, classes)?;
    let mut counts = vec![0u32; classes];
    for &label in labels {
        counts[label as usize] += 1;
    }
    let shares = labels
        .iter()
        .map(|&label| 1.0 / f64::from(counts[label as usize]));
    let shares = constant(shares.collect(), batch, per_sample)?;
    let places = Tensor::new(labels, per_sample.device())?;
    let means = Tensor::zeros(classes, per_sample.dtype(), per_sample.device())?.index_add(
        &places,
        &(per_sample * shares)?,
        0,
    )?;
    Ok((means, counts.into_iter().map(|count| count > 0).collect()))
}

/// `Σ_k q_k loss_k`, the objective: weights after the update with the losses of this batch, as
/// upstream. The weights are constants.
///
/// # Shapes
/// `means` (classes), of [`class_mean_losses`]; the result is a scalar.
///
/// # Errors
/// Another number of classes.
pub fn group_dro(means: &Tensor, weights: &GroupWeights) -> Result<Tensor> {
    check_class_means("group_dro: means", means, weights.weights.dim(0)?)?;
    (means * weights.weights.to_dtype(means.dtype())?)?.sum_all()
}
