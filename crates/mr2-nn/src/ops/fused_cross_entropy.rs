//! The CPU op behind [`cross_entropy`](super::cross_entropy()): one pass over the logits each way.
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::Target;
use super::float::{self, Float};

pub(super) const NAME: &str = "cross_entropy";

/// [`cross_entropy`](super::cross_entropy()) of checked arguments on the CPU.
pub(super) fn fused<T: Float>(
    logits: &Tensor,
    target: Target,
    row_scale: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, classes) = logits.dims2()?;
    let target = match target {
        Target::Hard(labels) => HostTarget::Labels {
            labels: labels.to_vec(),
            spread: 0.0,
        },
        Target::Smoothed { labels, epsilon } => HostTarget::Labels {
            labels: labels.to_vec(),
            spread: epsilon / classes as f64,
        },
        Target::Soft(weights) => {
            let weights = weights.to_device(&Device::Cpu)?.to_dtype(T::DTYPE)?;
            HostTarget::Weights(float::to_vec(&weights)?)
        }
    };
    let scale = match row_scale {
        Some(scale) => {
            let scale: Vec<T> = float::to_vec(&scale.to_device(&Device::Cpu)?.to_dtype(T::DTYPE)?)?;
            let refused = |s: f64| !(s > 0.0 && s.is_finite());
            if let Some(row) = scale.iter().position(|&s| refused(s.to_f64())) {
                bail!(
                    "{NAME}: row_scale must be positive and finite, got {} in row {row}",
                    scale[row]
                )
            }
            Some(scale)
        }
        None => None,
    };
    logits.contiguous()?.apply_op1(CrossEntropy {
        target,
        scale,
        rows: OnceLock::new(),
    })
}

/// Targets as the CPU op reads them.
enum HostTarget<T> {
    /// Weight `1 - spread * classes` on the label and `spread` on every class.
    Labels {
        labels: Vec<u32>,
        spread: f64,
    },
    Weights(Vec<T>),
}

/// What backward needs of a row's softmax. `rest` is the sum of `exp(s (z - peak))` without the
/// peak's own 1: kept apart, a loss of 1e-12 and its gradient keep all their digits.
#[derive(Clone, Copy)]
struct Row<T> {
    peak: T,
    at: usize,
    rest: f64,
}

struct CrossEntropy<T> {
    target: HostTarget<T>,
    scale: Option<Vec<T>>,
    rows: OnceLock<Vec<Row<T>>>,
}

impl<T: Float> CrossEntropy<T> {
    fn scale(&self, row: usize) -> T {
        self.scale.as_ref().map_or(T::one(), |scale| scale[row])
    }

    fn weights(&self, row: usize, classes: usize) -> Option<&[T]> {
        match &self.target {
            HostTarget::Labels { .. } => None,
            HostTarget::Weights(weights) => Some(&weights[row * classes..][..classes]),
        }
    }

    /// The loss of a row, and what its gradient will need.
    fn row_forward(&self, row: usize, logits: &[T]) -> (T, Row<T>) {
        let scale = self.scale(row);
        let peak = float::max(logits);
        let at = first_equal(logits, peak);
        let mut rest = 0.0;
        let mut scratch = [T::zero(); float::BLOCK];
        for (block, values) in logits.chunks(float::BLOCK).enumerate() {
            let scratch = &mut scratch[..values.len()];
            for (out, &z) in scratch.iter_mut().zip(values) {
                *out = (scale * (z - peak)).exp_nonpositive();
            }
            if block == at / float::BLOCK {
                scratch[at % float::BLOCK] = T::zero();
            }
            rest += float::sum(scratch);
        }
        let total = self.weights(row, logits.len()).map_or(1.0, float::sum);
        let loss = total * rest.ln_1p() - self.target_depth(row, logits, peak);
        (T::from_f64(loss), Row { peak, at, rest })
    }

    /// The mean of `s (z - peak)` under the row's target.
    fn target_depth(&self, row: usize, logits: &[T], peak: T) -> f64 {
        let scale = self.scale(row);
        let weighted = |weights: Option<&[T]>| {
            let mut sum = 0.0;
            let mut scratch = [T::zero(); float::BLOCK];
            for (block, values) in logits.chunks(float::BLOCK).enumerate() {
                let scratch = &mut scratch[..values.len()];
                for (out, &z) in scratch.iter_mut().zip(values) {
                    *out = scale * (z - peak);
                }
                if let Some(weights) = weights {
                    for (out, &weight) in scratch.iter_mut().zip(&weights[block * float::BLOCK..]) {
                        *out *= weight;
                    }
                }
                sum += float::sum(scratch);
            }
            sum
        };
        match &self.target {
            HostTarget::Labels { labels, spread } => {
                let on_label = 1.0 - spread * logits.len() as f64;
                let label = on_label * (scale * (logits[labels[row] as usize] - peak)).to_f64();
                if *spread > 0.0 {
                    label + spread * weighted(None)
                } else {
                    label
                }
            }
            HostTarget::Weights(_) => weighted(self.weights(row, logits.len())),
        }
    }

    /// Writes `upstream` times the gradient of a row's loss.
    fn row_backward(&self, row: usize, logits: &[T], state: Row<T>, upstream: f64, out: &mut [T]) {
        let scale = self.scale(row);
        let peak = state.peak;
        let step = upstream * scale.to_f64();
        let weights = self.weights(row, logits.len());
        let factor = step * weights.map_or(1.0, float::sum) / (1.0 + state.rest);
        let factor = T::from_f64(factor);
        for (out, &z) in out.iter_mut().zip(logits) {
            *out = (scale * (z - peak)).exp_nonpositive() * factor;
        }
        match &self.target {
            HostTarget::Labels { labels, spread } => {
                if *spread > 0.0 {
                    let even = T::from_f64(step * spread);
                    out.iter_mut().for_each(|out| *out -= even);
                }
                let label = labels[row] as usize;
                // p - 1 cancels as p nears 1; there it is minus the other classes' share.
                let to_one = if label == state.at {
                    -state.rest / (1.0 + state.rest)
                } else {
                    let above = (scale * (logits[label] - peak)).exp_nonpositive().to_f64();
                    above / (1.0 + state.rest) - 1.0
                };
                let to_target = to_one + spread * (logits.len() as f64 - 1.0);
                out[label] = T::from_f64(step * to_target);
            }
            HostTarget::Weights(_) => {
                let step = T::from_f64(step);
                for (out, &weight) in out.iter_mut().zip(weights.unwrap_or_default()) {
                    *out -= step * weight;
                }
            }
        }
    }
}

impl<T: Float> CustomOp1 for CrossEntropy<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits: &[T] = float::contiguous(NAME, storage, layout)?;
        let classes = layout.dims()[1];
        let forward = |(row, logits): (usize, &[T])| self.row_forward(row, logits);
        let (losses, rows): (Vec<T>, Vec<Row<T>>) = if logits.len() < float::PARALLEL_FROM {
            logits.chunks(classes).enumerate().map(forward).unzip()
        } else {
            logits.par_chunks(classes).enumerate().map(forward).unzip()
        };
        let batch = losses.len();
        // A second forward of one op would compute the same rows, so the first may stay.
        let _ = self.rows.set(rows);
        Ok((T::to_cpu_storage_owned(losses), Shape::from(batch)))
    }

    fn bwd(&self, logits: &Tensor, _res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        let Some(rows) = self.rows.get() else {
            bail!("{NAME}: backward before forward")
        };
        let classes = logits.dim(1)?;
        let upstream: Vec<T> = float::to_vec(grad_res)?;
        let mut gradient = vec![T::zero(); logits.elem_count()];
        let backward = |((row, out), logits): ((usize, &mut [T]), &[T])| {
            self.row_backward(row, logits, rows[row], upstream[row].to_f64(), out);
        };
        float::with_slice(NAME, logits, |values: &[T]| {
            if values.len() < float::PARALLEL_FROM {
                let rows = gradient.chunks_mut(classes).enumerate();
                rows.zip(values.chunks(classes)).for_each(backward);
            } else {
                let rows = gradient.par_chunks_mut(classes).enumerate();
                rows.zip(values.par_chunks(classes)).for_each(backward);
            }
        })?;
        Ok(Some(Tensor::from_vec(
            gradient,
            logits.shape(),
            logits.device(),
        )?))
    }
}

/// The first index whose value equals `wanted`, by groups so that the search is vectorised; 0 if
/// there is none, which takes a row of NaN.
fn first_equal<T: Float>(values: &[T], wanted: T) -> usize {
    const GROUP: usize = 32;
    for (group, chunk) in values.chunks(GROUP).enumerate() {
        if chunk
            .iter()
            .fold(false, |found, &value| found | (value == wanted))
        {
            let within = chunk.iter().position(|&value| value == wanted);
            return group * GROUP + within.unwrap_or(0);
        }
    }
    0
}
