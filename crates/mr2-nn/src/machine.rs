//! What the machine can do at most, and a layer on its own: for benchmarks.
//!
//! A layer's time means something beside the time that its multiply-adds take in registers, or its bytes from and to memory.
//! Both are measured here with the vectors that the kernels use, on all threads of rayon's current pool.
//!
//! ```
//! use candle_core::{DType, Device};
//! use mr2_nn::graph::{Ctx, Mode};
//! use mr2_nn::machine::{Upstream, activation};
//! use mr2_nn::layers::MaxPool2d;
//! let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
//! let images = activation(&cx, [2, 3, 8, 8], true)?;
//! let pool = MaxPool2d { kernel: 2, stride: 2, padding: 0 };
//! let upstream = Upstream::ones(&cx, [2, 3, 4, 4])?;
//! let pooled = pool.forward(&cx, &images)?; // to be timed
//! upstream.backward(&pooled)?; // to be timed: the layer's backward and nothing else
//! # Ok::<(), candle_core::Error>(())
//! ```

mod ceilings;
mod probe;

pub use ceilings::{copy_bandwidth, fma_peak, read_bandwidth};
pub use probe::{Upstream, activation};
