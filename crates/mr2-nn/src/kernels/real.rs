//! The two element types of activations.

use super::pool::{Pool, Shelf};
use candle_core::WithDType;

/// `f32` or `f64`: what activations, their gradients and the parameters of layers are made of.
pub(crate) trait Real: WithDType {
    /// The shelf of `pool` that holds buffers of this type.
    fn shelf(pool: &Pool) -> &Shelf<Self>;
}

impl Real for f32 {
    fn shelf(pool: &Pool) -> &Shelf<f32> {
        &pool.f32
    }
}

impl Real for f64 {
    fn shelf(pool: &Pool) -> &Shelf<f64> {
        &pool.f64
    }
}
