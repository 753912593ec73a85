//! A convolution in cuDNN's words.

use super::Key;
use candle_core::DType;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use std::ffi::c_int;

/// Images, weight, output, and how the kernel moves.
pub(super) type Descriptors = (
    sys::cudnnTensorDescriptor_t,
    sys::cudnnFilterDescriptor_t,
    sys::cudnnTensorDescriptor_t,
    sys::cudnnConvolutionDescriptor_t,
);

pub(super) fn describe(key: &Key) -> std::result::Result<Descriptors, CudnnError> {
    let g = &key.geometry;
    let int = |n: usize| n as c_int;
    let dtype = match key.dtype {
        DType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        DType::F16 => sys::cudnnDataType_t::CUDNN_DATA_HALF,
        _ => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    };
    let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
    let images = result::create_tensor_descriptor()?;
    let out = result::create_tensor_descriptor()?;
    let weight = result::create_filter_descriptor()?;
    let conv = result::create_convolution_descriptor()?;
    // SAFETY: all four were just made, and the sizes are those of a checked layer.
    unsafe {
        let sizes = [g.batch, g.in_channels, g.in_height, g.in_width].map(int);
        result::set_tensor4d_descriptor(images, format, dtype, sizes)?;
        let sizes = [g.batch, g.out_channels, g.out_height, g.out_width].map(int);
        result::set_tensor4d_descriptor(out, format, dtype, sizes)?;
        let sizes = [g.out_channels, g.in_channels / g.groups, g.kernel, g.kernel].map(int);
        result::set_filter4d_descriptor(weight, dtype, format, sizes)?;
        let (pad, stride, dilation) = (g.padding.map(int), int(g.stride), int(g.dilation));
        result::set_convolution2d_descriptor(
            conv,
            pad[0],
            pad[1],
            stride,
            stride,
            dilation,
            dilation,
            sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
            sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
        )?;
        result::set_convolution_group_count(conv, int(g.groups))?;
        let math = match (key.exact, key.dtype) {
            (true, _) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            (_, DType::F32) => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            _ => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        result::set_convolution_math_type(conv, math)?;
    }
    Ok((images, weight, out, conv))
}
