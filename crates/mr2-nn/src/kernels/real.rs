//! The two element types of activations.

use super::exponential;
use super::pool::{Pool, Shelf};
use candle_core::WithDType;
use candle_core::cpu::erf::erf_f64;

/// `f32` or `f64`: what activations, their gradients and the parameters of layers are made of.
pub(crate) trait Real: WithDType {
    /// The shelf of `pool` that holds buffers of this type.
    fn shelf(pool: &Pool) -> &Shelf<Self>;
    /// The values where they are f32, for kernels that only those have.
    fn f32s(values: &[Self]) -> Option<&[f32]>;
    fn f32s_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// f32 as elements of this type.
    fn from_f32s(values: Vec<f32>) -> Vec<Self>;
    /// e^x: f32 without branches, to be vectorised; f64 as the standard library has it.
    fn exponential(self) -> Self;
    /// The normal distribution's cumulative function and density: f32 within 2.5e-7, without branches.
    fn normal(self) -> (Self, Self);
    fn square_root(self) -> Self;
    fn logarithm(self) -> Self;
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
    fn from_f32s(values: Vec<f32>) -> Vec<f32> {
        values
    }
    #[inline(always)]
    fn exponential(self) -> f32 {
        exponential::exponential(self)
    }
    #[inline(always)]
    fn normal(self) -> (f32, f32) {
        exponential::normal(self)
    }
    #[inline(always)]
    fn square_root(self) -> f32 {
        self.sqrt()
    }
    fn logarithm(self) -> f32 {
        self.ln()
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
    fn from_f32s(values: Vec<f32>) -> Vec<f64> {
        values.into_iter().map(f64::from).collect()
    }
    fn exponential(self) -> f64 {
        self.exp()
    }
    fn normal(self) -> (f64, f64) {
        let scale = (2.0 * std::f64::consts::PI).sqrt();
        (
            0.5 * (1.0 + erf_f64(self * std::f64::consts::FRAC_1_SQRT_2)),
            (-0.5 * self * self).exp() / scale,
        )
    }
    fn square_root(self) -> f64 {
        self.sqrt()
    }
    fn logarithm(self) -> f64 {
        self.ln()
    }
}
