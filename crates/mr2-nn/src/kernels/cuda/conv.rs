//! Convolutions on the device, through cuDNN: the algorithm is measured once for each shape, element type and pass, by each
//! thread that convolves.

#[cfg(feature = "cudnn")]
mod choice;
#[cfg(feature = "cudnn")]
mod cudnn;

use crate::kernels::conv::Geometry;
use candle_core::{Result, Tensor};

/// What a convolution computes, and from what. All tensors are channels last, weights (out, kernel, kernel, in).
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "cudnn"), allow(dead_code))] // nothing reads it then
pub(crate) enum Pass<'a> {
    Forward {
        images: &'a Tensor,
        weight: &'a Tensor,
    },
    /// The gradient of the images.
    Images {
        gradient: &'a Tensor,
        weight: &'a Tensor,
    },
    /// The gradient of the weight.
    Weight {
        images: &'a Tensor,
        gradient: &'a Tensor,
    },
}

/// The result of a pass, in the element type of its inputs.
#[cfg(feature = "cudnn")]
pub(crate) fn run(geometry: &Geometry, pass: Pass<'_>) -> Result<Tensor> {
    cudnn::run(geometry, pass)
}

/// An error that says how to get cuDNN.
#[cfg(not(feature = "cudnn"))]
pub(crate) fn run(_: &Geometry, _: Pass<'_>) -> Result<Tensor> {
    candle_core::bail!(
        "convolutions on CUDA need cuDNN: install it (Debian and Ubuntu: cudnn9-cuda-13, PyPI: \
         nvidia-cudnn-cu13) and build with --features cudnn"
    )
}
