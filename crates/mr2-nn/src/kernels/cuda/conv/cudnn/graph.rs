//! A pass of a convolution as a graph of one operation, in cuDNN's words.

use super::Key;
use super::descriptor::{Descriptor, Kind, Name, Result, Value};
use candle_core::DType;
use candle_core::cuda_backend::cudarc::cudnn::sys;

/// The numbers by which a variant pack names the tensors of a graph: images, weight, output.
pub(super) const IMAGES: i64 = 1;
pub(super) const WEIGHT: i64 = 2;
pub(super) const OUT: i64 = 3;

/// A graph with what it was made of, which outlives it.
pub(super) struct Graph {
    pub(super) graph: Descriptor,
    _parts: [Descriptor; 5],
}

pub(super) fn graph(handle: sys::cudnnHandle_t, key: &Key) -> Result<Graph> {
    let g = &key.geometry;
    let int = |n: usize| n as i64;
    let tensor = |id, sizes: [usize; 4]| tensor(key, id, sizes.map(int));
    let images = tensor(IMAGES, [g.batch, g.in_channels, g.in_height, g.in_width])?;
    let out = tensor(OUT, [g.batch, g.out_channels, g.out_height, g.out_width])?;
    let per_group = g.in_channels / g.groups;
    let weight = tensor(WEIGHT, [g.out_channels, per_group, g.kernel, g.kernel])?;
    let conv = convolution(key)?;
    let (kind, names) = match key.pass {
        0 => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            ],
        ),
        1 => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            ],
        ),
        _ => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            ],
        ),
    };
    let [alpha, beta, of, x, w, y] = names;
    let operation = Descriptor::new(
        kind,
        &[
            (alpha, Value::Float(1.0)),
            (beta, Value::Float(0.0)),
            (of, Value::Descriptor(&conv)),
            (x, Value::Descriptor(&images)),
            (w, Value::Descriptor(&weight)),
            (y, Value::Descriptor(&out)),
        ],
    )?;
    let graph = Descriptor::new(
        Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
        &[
            (
                Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE,
                Value::Handle(handle),
            ),
            (
                Name::CUDNN_ATTR_OPERATIONGRAPH_OPS,
                Value::Descriptor(&operation),
            ),
        ],
    )?;
    Ok(Graph {
        graph,
        _parts: [images, weight, out, conv, operation],
    })
}

/// A tensor of (first, channels, height, width), channels last in memory.
fn tensor(key: &Key, id: i64, sizes: [i64; 4]) -> Result<Descriptor> {
    let [_, channels, height, width] = sizes;
    let strides = [height * width * channels, 1, width * channels, channels];
    let dtype = match key.dtype {
        DType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        DType::F16 => sys::cudnnDataType_t::CUDNN_DATA_HALF,
        _ => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    };
    Descriptor::new(
        Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR,
        &[
            (Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, Value::Ints(&[id])),
            (Name::CUDNN_ATTR_TENSOR_DATA_TYPE, Value::DataType(dtype)),
            (
                Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT,
                Value::Ints(&[key.alignment]),
            ),
            (Name::CUDNN_ATTR_TENSOR_DIMENSIONS, Value::Ints(&sizes)),
            (Name::CUDNN_ATTR_TENSOR_STRIDES, Value::Ints(&strides)),
        ],
    )
}

/// How the kernel moves; sums are f32.
fn convolution(key: &Key) -> Result<Descriptor> {
    let g = &key.geometry;
    let both = |n: usize| [n as i64; 2];
    let padding = g.padding.map(|n| n as i64);
    Descriptor::new(
        Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR,
        &[
            (
                Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
                Value::DataType(sys::cudnnDataType_t::CUDNN_DATA_FLOAT),
            ),
            (
                Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
                Value::ConvolutionMode(sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION),
            ),
            (Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, Value::Ints(&[2])),
            (
                Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS,
                Value::Ints(&padding),
            ),
            (
                Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS,
                Value::Ints(&padding),
            ),
            (
                Name::CUDNN_ATTR_CONVOLUTION_DILATIONS,
                Value::Ints(&both(g.dilation)),
            ),
            (
                Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                Value::Ints(&both(g.stride)),
            ),
        ],
    )
}
