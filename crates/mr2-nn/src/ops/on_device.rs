//! The CUDA op behind [`cross_entropy`](super::cross_entropy()): one kernel each way.
use std::sync::OnceLock;

use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::Target;
use super::cross_entropy::not_half;
use super::fused_cross_entropy::NAME;
use crate::kernels::cuda::loss::{self, Rows, Targets};

/// [`cross_entropy`](super::cross_entropy()) of checked arguments on a CUDA device; half precision counts as f32.
pub(super) fn fused(logits: &Tensor, target: Target, row_scale: Option<&Tensor>) -> Result<Tensor> {
    let logits = not_half(logits)?;
    let (batch, classes) = logits.dims2()?;
    let (device, dtype) = (logits.device(), logits.dtype());
    if batch == 0 {
        return Tensor::zeros(0, dtype, device);
    }
    let upload = |labels: &[u32]| Tensor::from_slice(labels, batch, device);
    let constant = |tensor: &Tensor| -> Result<Tensor> {
        let tensor = tensor.detach().to_device(device)?;
        tensor.to_dtype(dtype)?.contiguous()
    };
    let (labels, weights, spread) = match target {
        Target::Hard(labels) => (Some(upload(labels)?), None, 0.0),
        Target::Smoothed { labels, epsilon } => {
            (Some(upload(labels)?), None, epsilon / classes as f64)
        }
        Target::Soft(weights) => (None, Some(constant(weights)?), 0.0),
    };
    logits.contiguous()?.apply_op1(CrossEntropy {
        targets: Targets {
            labels,
            weights,
            scale: row_scale.map(constant).transpose()?,
            spread,
        },
        rows: OnceLock::new(),
    })
}

struct CrossEntropy {
    targets: Targets,
    rows: OnceLock<Rows>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{NAME}: expected logits on a CUDA device")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (losses, rows) = loss::cross_entropy(storage, layout, &self.targets)?;
        // A second forward of one op would compute the same rows, so the first may stay.
        let _ = self.rows.set(rows);
        Ok((losses, Shape::from(layout.dims()[0])))
    }

    fn bwd(&self, logits: &Tensor, _res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        let Some(rows) = self.rows.get() else {
            bail!("{NAME}: backward before forward")
        };
        let upstream = grad_res.contiguous()?;
        let gradient = loss::cross_entropy_gradient(logits, &self.targets, rows, &upstream)?;
        Ok(Some(gradient))
    }
}
