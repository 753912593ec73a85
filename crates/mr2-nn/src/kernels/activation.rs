//! Gaussian error linear units, forward and backward.

use super::parallel::ELEMENTS;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The activation between two fully connected layers (Hendrycks and Gimpel 2016, arXiv 1606.08415).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * F(x)` with the normal distribution's cumulative function: PyTorch's `gelu`, ViT's choice.
    Gelu,
    /// Its approximation by a hyperbolic tangent: PyTorch's `gelu(approximate="tanh")`.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, the choice of OpenAI's CLIP.
    QuickGelu,
}

/// sqrt(2 / pi) and the factor of the cube in the approximation by a hyperbolic tangent.
const TANH: [f64; 2] = [0.797_884_560_802_865_4, 0.044_715];

const QUICK: f64 = 1.702;

/// The sigmoid and its derivative, without the difference of numbers that are nearly the same.
#[inline(always)]
fn sigmoid<T: Real>(x: T) -> (T, T) {
    let negative = x < T::zero();
    let small = (if negative { x } else { T::zero() - x }).exponential();
    let large = T::one() / (T::one() + small);
    let value = if negative { small * large } else { large };
    (value, small * large * large)
}

/// What [`Activation::GeluTanh`] is the product of `x` with the sigmoid of, and its derivative.
#[inline(always)]
fn cubic<T: Real>(x: T) -> (T, T) {
    let (a, b) = (T::from_f64(2.0 * TANH[0]), T::from_f64(TANH[1]));
    let square = x * x;
    (
        a * x * (T::one() + b * square),
        a * (T::one() + T::from_f64(3.0) * b * square),
    )
}

/// A function and its derivative.
trait Unit {
    fn value<T: Real>(x: T) -> T;
    fn slope<T: Real>(x: T) -> T;
}

struct Gelu;
struct GeluTanh;
struct QuickGelu;

impl Unit for Gelu {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x * x.normal().0
    }
    #[inline(always)]
    fn slope<T: Real>(x: T) -> T {
        let (below, density) = x.normal();
        below + x * density
    }
}

impl Unit for GeluTanh {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x * sigmoid(cubic(x).0).0
    }
    #[inline(always)]
    fn slope<T: Real>(x: T) -> T {
        let (inner, slope) = cubic(x);
        let (value, change) = sigmoid(inner);
        value + x * change * slope
    }
}

impl Unit for QuickGelu {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x * sigmoid(T::from_f64(QUICK) * x).0
    }
    #[inline(always)]
    fn slope<T: Real>(x: T) -> T {
        let (value, change) = sigmoid(T::from_f64(QUICK) * x);
        value + T::from_f64(QUICK) * x * change
    }
}

/// Runs a function of a [`Unit`] for the activation at hand.
macro_rules! with_unit {
    ($activation:expr, $function:ident($($argument:expr),*)) => {
        match $activation {
            Activation::Gelu => $function::<Gelu, _>($($argument),*),
            Activation::GeluTanh => $function::<GeluTanh, _>($($argument),*),
            Activation::QuickGelu => $function::<QuickGelu, _>($($argument),*),
        }
    };
}

#[inline(always)]
fn map<U: Unit, T: Real>(x: &[T], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = U::value(x);
    }
}

#[inline(always)]
fn map_in_place<U: Unit, T: Real>(values: &mut [T]) {
    for value in values {
        *value = U::value(*value);
    }
}

#[inline(always)]
fn scale_by_slope<U: Unit, T: Real>(x: &[T], gradient: &mut [T]) {
    for (gradient, &x) in gradient.iter_mut().zip(x) {
        *gradient *= U::slope(x);
    }
}

impl Activation {
    /// `out = f(x)`; to be inlined into a vectorised loop.
    #[inline(always)]
    pub(crate) fn apply<T: Real>(self, x: &[T], out: &mut [T]) {
        with_unit!(self, map(x, out));
    }

    /// As [`Activation::apply`], where the values are.
    #[inline(always)]
    pub(crate) fn apply_in_place<T: Real>(self, values: &mut [T]) {
        with_unit!(self, map_in_place(values));
    }

    /// `gradient *= f'(x)`; to be inlined into a vectorised loop.
    #[inline(always)]
    pub(crate) fn scale_gradient<T: Real>(self, x: &[T], gradient: &mut [T]) {
        with_unit!(self, scale_by_slope(x, gradient));
    }

    /// `out = f(x)` on all threads.
    pub(crate) fn forward<T: Real>(self, x: &[T], out: &mut [T]) {
        out.par_chunks_mut(ELEMENTS)
            .zip(x.par_chunks(ELEMENTS))
            .for_each(|(out, x)| {
                vectorise(
                    #[inline(always)]
                    || self.apply(x, out),
                );
            });
    }

    /// `gradient *= f'(x)` on all threads.
    pub(crate) fn backward<T: Real>(self, x: &[T], gradient: &mut [T]) {
        gradient
            .par_chunks_mut(ELEMENTS)
            .zip(x.par_chunks(ELEMENTS))
            .for_each(|(gradient, x)| {
                vectorise(
                    #[inline(always)]
                    || self.scale_gradient(x, gradient),
                );
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_is_f64_within_a_millionth_and_nan_stays_nan() {
        let x: Vec<f32> = (-20_000..20_000).map(|i| i as f32 * 5e-4).collect();
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for activation in [
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::QuickGelu,
        ] {
            let (mut out, mut expected) = (vec![0f32; x.len()], vec![0f64; x.len()]);
            activation.forward(&x, &mut out);
            activation.forward(&wide, &mut expected);
            let (mut slope, mut expected_slope) = (vec![1f32; x.len()], vec![1f64; x.len()]);
            activation.backward(&x, &mut slope);
            activation.backward(&wide, &mut expected_slope);
            for i in 0..x.len() {
                let allowed = |expected: f64| 1e-6 * expected.abs().max(1.0);
                let error = (f64::from(out[i]) - expected[i]).abs();
                assert!(
                    error < allowed(expected[i]),
                    "{activation:?} of {}: {error}",
                    x[i]
                );
                let error = (f64::from(slope[i]) - expected_slope[i]).abs();
                assert!(
                    error < allowed(expected_slope[i]),
                    "{activation:?}' of {}: {error}",
                    x[i]
                );
            }
            let mut out = [0f32; 3];
            activation.forward(&[f32::NAN, 0.0, 100.0], &mut out);
            assert!(
                out[0].is_nan() && out[1] == 0.0 && out[2] == 100.0,
                "{out:?}"
            );
            let mut slope = [1f32; 3];
            activation.backward(&[f32::NAN, 1.0, 2.0], &mut slope);
            assert!(slope[0].is_nan() && slope[1].is_finite(), "{slope:?}");
        }
    }
}
