//! The CUDA op behind the soft hinge: two kernels each way.
use std::sync::OnceLock;

use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use super::listed::Listed;
use super::{NAME, PairList};
use crate::kernels::cuda::loss::pairs::{
    DevicePairs, Softmax, distance_gradient, distance_log1p_sum_exp,
};

/// [`super::weighted_distance_log1p_sum_exp`] of checked arguments with at least one pair, f32 or f64 on a CUDA
/// device. Nothing waits for the device: the threshold stays there.
pub(super) fn fused(
    features: &Tensor,
    list: &PairList,
    threshold: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let device = features.device();
    let threshold = threshold.detach().to_device(device)?;
    let pairs = Listed::new(list, features.dim(0)?).into_lists();
    features.contiguous()?.apply_op1(DistanceLog1pSumExp {
        pairs: DevicePairs::new(pairs, device)?,
        threshold: threshold.to_dtype(DType::F64)?,
        scale,
        softmax: OnceLock::new(),
    })
}

struct DistanceLog1pSumExp {
    pairs: DevicePairs,
    threshold: Tensor,
    scale: f64,
    softmax: OnceLock<Softmax>,
}

impl CustomOp1 for DistanceLog1pSumExp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{NAME}: expected features on a CUDA device")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (pairs, threshold) = (&self.pairs, &self.threshold);
        let (soft, softmax) =
            distance_log1p_sum_exp(storage, layout, pairs, threshold, self.scale)?;
        // A second forward of one op would compute the same, so the first may stay.
        let _ = self.softmax.set(softmax);
        Ok((soft, Shape::from(layout.dims()[0])))
    }

    fn bwd(&self, features: &Tensor, _res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        let Some(softmax) = self.softmax.get() else {
            bail!("{NAME}: backward before forward")
        };
        let (pairs, upstream) = (&self.pairs, grad_res.contiguous()?);
        let gradient = distance_gradient(features, pairs, softmax, &upstream, self.scale)?;
        Ok(Some(gradient))
    }
}
