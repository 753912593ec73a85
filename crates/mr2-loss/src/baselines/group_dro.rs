//! Group DRO with the classes as groups: classes with a large loss gain weight.
use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};
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

/// The weight `q` of each class: what a training loop keeps and saves.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupWeights {
    weights: Vec<f64>,
}

impl GroupWeights {
    /// Equal weights.
    ///
    /// # Errors
    /// No classes.
    pub fn new(classes: usize) -> Result<Self> {
        if classes == 0 {
            bail!("group weights need at least one class, got 0")
        }
        Ok(Self {
            weights: vec![1.0 / classes as f64; classes],
        })
    }

    /// `q_k ← q_k exp(step_size · loss_k)`, normalised to sum to 1 (Sagawa et al., ICLR 2020, arXiv
    /// 1911.08731; kohpangwei/group_DRO loss.py, with `step_size` 0.01). No loss is too large for it.
    ///
    /// Upstream's adjustment `C/√n_k`, which it adds to the losses where every one is positive, is
    /// the caller's to add; with equal counts it is a constant, which the normalisation cancels.
    ///
    /// # Shapes
    /// `class_losses` has one entry per class, `None` where the batch hasn't the class.
    ///
    /// # Errors
    /// Another length, a loss that is not finite, a negative `step_size`; nothing is changed.
    pub fn update(
        &mut self,
        class_losses: &[Option<f64>],
        step_size: f64,
        absent: AbsentClasses,
    ) -> Result<()> {
        check_not_negative("group weights: step_size", step_size)?;
        check_per_class(
            "group weights: class_losses",
            class_losses.len(),
            self.weights.len(),
        )?;
        for (class, loss) in class_losses.iter().enumerate() {
            if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
                bail!("group weights: the loss of class {class} is {loss}")
            }
        }
        let moving: Vec<usize> = (0..class_losses.len())
            .filter(|&class| class_losses[class].is_some() || absent == AbsentClasses::Zero)
            .collect();
        let exponent = |&class: &usize| step_size * class_losses[class].unwrap_or(0.0);
        let largest = moving
            .iter()
            .map(exponent)
            .fold(f64::NEG_INFINITY, f64::max);
        let growth = |class: &usize| (exponent(class) - largest).exp();
        let grown: f64 = moving.iter().map(|k| self.weights[*k] * growth(k)).sum();
        // Of all classes the sum is 1 but for rounding, which must not be carried on.
        let share = match moving.len() == class_losses.len() {
            true => 1.0,
            false => moving.iter().map(|&class| self.weights[class]).sum(),
        };
        if grown > 0.0 {
            for class in &moving {
                self.weights[*class] *= growth(class) / grown * share;
            }
        }
        Ok(())
    }

    /// The weight of each class; they sum to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The state as tensors on the CPU, for a checkpoint.
    ///
    /// # Shapes
    /// `weights` (classes), f64.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let weights = Tensor::new(self.weights.as_slice(), &Device::Cpu)?;
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
        let classes = self.weights.len();
        let [weights] = saved_state::read("group weights", tensors, [WEIGHTS], classes)?;
        let sum: f64 = weights.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            bail!("group weights: weights must sum to 1, got {sum}")
        }
        self.weights = weights;
        Ok(())
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

/// The losses of [`class_mean_losses`] as [`GroupWeights::update`] takes them.
///
/// # Shapes
/// `means` and `present` (classes).
///
/// # Errors
/// Another shape.
pub fn observed_losses(means: &Tensor, present: &[bool]) -> Result<Vec<Option<f64>>> {
    let losses: Vec<f64> = means.to_dtype(DType::F64)?.to_vec1()?;
    check_per_class("observed_losses: present", present.len(), losses.len())?;
    let observed = losses.into_iter().zip(present);
    Ok(observed
        .map(|(loss, &present)| present.then_some(loss))
        .collect())
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
    if means.dims() != [weights.weights.len()] {
        bail!(
            "group_dro: means must be ({}), got {:?}",
            weights.weights.len(),
            means.dims()
        )
    }
    let weights = constant(weights.weights.clone(), weights.weights.len(), means)?;
    (means * weights)?.sum_all()
}
