//! The two element types of activations.

use super::pool::{Pool, Shelf};
use candle_core::WithDType;

/// `f32` or `f64`: what activations, their gradients and the parameters of layers are made of.
pub(crate) trait Real: WithDType {
    /// The shelf of `pool` that holds buffers of this type.
    fn shelf(pool: &Pool) -> &Shelf<Self>;
    /// The values where they are f32, for kernels that only those have.
    fn f32s(values: &[Self]) -> Option<&[f32]>;
    fn f32s_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

impl Real for f32 {
    fn shelf(pool: &Pool) -> &Shelf<f32> {
        &pool.f32
    }
    fn f32s(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }
    fn f32s_mut(values: &mut [f32]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Real for f64 {
    fn shelf(pool: &Pool) -> &Shelf<f64> {
        &pool.f64
    }
    fn f32s(_: &[f64]) -> Option<&[f32]> {
        None
    }
    fn f32s_mut(_: &mut [f64]) -> Option<&mut [f32]> {
        None
    }
}
