//! When the numbers of a step are read: losses, the gradient's norm, predictions, and whether all are finite.
//!
//! On the CPU at once, so that a NaN stops the run in its step, before the weights move. On an accelerator a
//! read waits for all work that is queued there; so steps leave their numbers where they are, and they are
//! read together: before a step is logged or a checkpoint saved, at the end of an epoch, and after
//! [`STEPS`] steps. A NaN then stops the run up to so many steps late, with the number and the images of the
//! first step that had one; no checkpoint is saved and no line logged from it on.

use candle_core::{DType, Device, Result, Tensor};

use crate::objective::{StepInput, StepLoss};

/// Steps that are read together at most: few enough that a late stop costs little, and many enough that the
/// wait for the queue doesn't show.
pub(crate) const STEPS: usize = 32;

/// When numbers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As soon as they are computed.
    AtOnce,
    /// Many at a time.
    Together,
}

impl Reading {
    pub(crate) fn on(device: &Device) -> Self {
        match device.is_cpu() {
            true => Self::AtOnce,
            false => Self::Together,
        }
    }
}

/// What a step computed: read, or a tensor of it on the device.
pub(crate) enum Value<T> {
    Read(T),
    There(Tensor),
}

/// Losses of a step and what says that it was finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Total, classification and representation loss.
    pub(crate) losses: [f64; 3],
    /// 0 for features and for logits that are finite, or else NaN.
    pub(crate) zeros: [f64; 2],
}

/// A step whose numbers may not have been read.
pub(crate) struct Step {
    /// Counted from 1.
    pub(crate) step: u64,
    /// Counted from 1.
    pub(crate) epoch: u64,
    pub(crate) lr: f64,
    pub(crate) labels: Vec<u32>,
    pub(crate) indices: Vec<u32>,
    pub(crate) with_positive: usize,
    pub(crate) terms: Value<Terms>,
    pub(crate) predictions: Value<Vec<u32>>,
    /// Before clipping.
    pub(crate) grad_norm: Value<f64>,
}

/// The numbers of a step.
pub(crate) struct Numbers {
    pub(crate) terms: Terms,
    pub(crate) predictions: Vec<u32>,
    pub(crate) grad_norm: f64,
}

/// The [`Terms`] of a step in one tensor, (5) in f64.
pub(crate) fn terms(loss: &StepLoss, step: &StepInput<'_>) -> Result<Tensor> {
    let scalar = |tensor: &Tensor| tensor.detach().to_dtype(DType::F64);
    // 0 · x is NaN for every x that isn't finite.
    let zero = |tensor: &Tensor| (tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F64);
    let total = scalar(&loss.total)?;
    let representation = match &loss.representation {
        Some(part) => scalar(&part.term)?,
        None => total.zeros_like()?,
    };
    let classification = scalar(&loss.classification)?;
    let (features, logits) = (zero(step.features)?, zero(step.logits)?);
    let numbers = [total, classification, representation, features, logits];
    Tensor::stack(&numbers, 0)
}

/// The numbers of `steps`, in their order, with one read of each kind.
pub(crate) fn numbers(steps: &mut [Step]) -> Result<Vec<Numbers>> {
    read_terms(steps)?;
    read_predictions(steps)?;
    read_norms(steps)?;
    let numbers = steps.iter_mut().map(|step| {
        let Step {
            terms: Value::Read(terms),
            predictions: Value::Read(predictions),
            grad_norm: Value::Read(grad_norm),
            ..
        } = step
        else {
            candle_core::bail!("step {} has not been read", step.step)
        };
        Ok(Numbers {
            terms: *terms,
            predictions: std::mem::take(predictions),
            grad_norm: *grad_norm,
        })
    });
    numbers.collect()
}

fn read_terms(steps: &mut [Step]) -> Result<()> {
    let unread: Vec<&mut Value<Terms>> = steps.iter_mut().map(|step| &mut step.terms).collect();
    read(unread, |tensors| {
        let rows = Tensor::stack(tensors, 0)?.to_vec2::<f64>()?;
        Ok(rows.into_iter().map(Terms::of_row).collect())
    })
}

fn read_norms(steps: &mut [Step]) -> Result<()> {
    let unread = steps.iter_mut().map(|step| &mut step.grad_norm);
    read(unread.collect(), |tensors| {
        Tensor::stack(tensors, 0)?.to_vec1()
    })
}

fn read_predictions(steps: &mut [Step]) -> Result<()> {
    let unread = steps.iter_mut().map(|step| &mut step.predictions);
    read(unread.collect(), |tensors| {
        let all = Tensor::cat(tensors, 0)?.to_vec1::<u32>()?;
        let mut rest = all.as_slice();
        let of_step = |tensor: &Tensor| {
            let (own, others) = rest.split_at(tensor.elem_count());
            rest = others;
            own.to_vec()
        };
        Ok(tensors.iter().map(of_step).collect())
    })
}

/// Replaces the tensors among `values` by what `read` makes of all of them.
fn read<T>(
    values: Vec<&mut Value<T>>,
    read: impl FnOnce(&[Tensor]) -> Result<Vec<T>>,
) -> Result<()> {
    let mut places = Vec::new();
    let mut tensors = Vec::new();
    for value in values {
        if let Value::There(tensor) = value {
            tensors.push(tensor.clone());
            places.push(value);
        }
    }
    if tensors.is_empty() {
        return Ok(());
    }
    for (place, value) in places.into_iter().zip(read(&tensors)?) {
        *place = Value::Read(value);
    }
    Ok(())
}

impl Terms {
    fn of_row(row: Vec<f64>) -> Self {
        let number = |at: usize| row.get(at).copied().unwrap_or(f64::NAN);
        Self {
            losses: [number(0), number(1), number(2)],
            zeros: [number(3), number(4)],
        }
    }
}
