//! Loops over plain slices: everything that computes on activations, and the only `unsafe` code.
//!
//! Activations are stored NHWC: channels innermost. Work is cut into chunks whose number depends on
//! the shapes alone, and partial sums of the chunks are added in order, so that results have the
//! same bits on any number of threads.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod batch_norm_gradient;
pub(crate) mod channel_lanes;
mod columns;
pub(crate) mod conv;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod exponential;
pub(crate) mod heads;
pub(crate) mod layer_norm;
pub(crate) mod layer_scale;
pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod machine;
pub(crate) mod matmul;
pub(crate) mod parallel;
pub(crate) mod pool;
pub(crate) mod pooling;
pub(crate) mod product;
pub(crate) mod real;
mod right;
pub(crate) mod simd;
mod softmax;
pub(crate) mod source;
pub(crate) mod tokens;
#[cfg(target_arch = "x86_64")]
mod transpose;
pub(crate) mod vector;
