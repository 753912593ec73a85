//! Per-class feature statistics on Candle: means, spreads and their moving averages.
//!
//! For each class `k` and its features `φ`, with the class mean `μ_k` and a norm `p >= 1`:
//!
//! - `m_k = ‖μ_k‖_p²`, how far the class lies from the origin (or from the global mean);
//! - `v_k = mean ‖φ − μ_k‖_p²`, how far its samples lie from it;
//!
//! as in arXiv 2602.00205. [`Pairs`] sorts the labels of a batch once, on the host.
//! [`ClassStats`] takes the features of each batch and keeps moving averages of both, by one of
//! three [`Estimator`]s that differ in what they make of a class with one sample in a batch.
//! [`ClassStats::snapshot`] gives what losses and logs read; [`exact`] the same of a fixed set.
//! There is no loop over classes on an accelerator nor over those that a batch lacks on the CPU, and no
//! gradient passes.
//!
//! Of a fixed set, [`class_spread`] says how wide each class is, in features or pixels, and
//! [`neural_collapse`] how far features and head have collapsed onto the class means.
//!
//! ```
//! use mr2_stats::candle_core::{DType, Device, Tensor};
//! use mr2_stats::{Centre, ClassStats, Estimator, Pairs, StatsConfig};
//!
//! let config = StatsConfig {
//!     norm: 2.0,
//!     decay: 0.9,
//!     estimator: Estimator::Pooled,
//!     centre: Centre::None,
//! };
//! let mut stats = ClassStats::new(config, 3, 2, DType::F32, &Device::Cpu)?;
//!
//! let features = Tensor::new(&[[1f32, 0.], [3., 0.], [0., 5.]], &Device::Cpu)?;
//! stats.observe(&features, &Pairs::new(&[0, 0, 2], 3)?)?;
//!
//! let snapshot = stats.snapshot()?;
//! assert_eq!(snapshot.second_moment.to_vec1::<f32>()?, [5., 0., 25.]); // mean ‖φ‖²
//! assert_eq!(snapshot.v.to_vec1::<f32>()?, [2., 0., 0.]); // unbiased: over n − 1
//! assert_eq!(snapshot.seen.to_vec1::<u8>()?, [1, 0, 1]);
//! assert_eq!(snapshot.has_spread.to_vec1::<u8>()?, [1, 0, 0]); // one sample has no spread
//! # Ok::<(), mr2_stats::candle_core::Error>(())
//! ```
//!
//! State is kept in f64 on the device (f32 on Metal, which has no f64), whatever the features'
//! dtype: a moving average with a decay of 0.999 stalls 3e-5 short of its limit in f32.

mod averages;
mod class_spread;
mod class_stats;
mod estimator;
mod exact;
mod moments;
mod moments_cpu;
mod neural_collapse;
mod norm;
mod persist;
mod segment;
mod segment_sum;
mod snapshot;
mod state;
mod update;

pub use candle_core;
pub use class_spread::{ClassSpread, class_spread};
pub use class_stats::ClassStats;
pub use estimator::{Centre, Estimator, StatsConfig};
pub use exact::exact;
pub use neural_collapse::{NeuralCollapse, neural_collapse};
pub use segment::{NO_SEGMENT, Pairs};
pub use segment_sum::wide_dtype;
pub use snapshot::Snapshot;
