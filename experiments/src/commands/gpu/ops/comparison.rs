//! Errors of one side against the other, and what they may be.

use std::fmt;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};

use super::case::{Case, GRADIENT, Parts, Uses};
use crate::device::Precision;

/// Whatever the depth: zeros in place of a result are an error of 1, and must fail.
const MOST: f64 = 0.5;

/// What is left of a gradient that is 0 but for f64's rounding, over the largest.
const ROUNDING: f64 = 1e-10;

/// The error of one result.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) part: String,
    /// ‖a − b‖ / ‖b‖.
    pub(super) error: f64,
    tolerance: f64,
}

impl Checked {
    /// Written so that NaN fails.
    pub(super) fn passed(&self) -> bool {
        self.error <= self.tolerance
    }

    /// The error as a share of what it may be; NaN counts as infinite.
    pub(super) fn share(&self) -> f64 {
        match self.error.is_nan() {
            true => f64::INFINITY,
            false => self.error / self.tolerance,
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            error,
            tolerance,
        } = self;
        write!(f, "{part}: {error:.1e}, at most {tolerance:.0e}")
    }
}

/// The errors of all results.
///
/// # Errors
/// Results that the other side hasn't, or has in another shape.
pub(super) fn compare(
    case: &Case,
    precision: Precision,
    found: &Parts,
    expected: &Parts,
) -> Result<Vec<Checked>> {
    if found.len() != expected.len() {
        bail!("{} results, the CPU has {}", found.len(), expected.len());
    }
    let mut largest: f64 = 0.0;
    for (_, gradient) in expected
        .iter()
        .filter(|(part, _)| part.starts_with(GRADIENT))
    {
        largest = largest.max(norm(&numbers(gradient)?));
    }
    let pairs = found.iter().zip(expected);
    let pairs = pairs.filter(|((part, _), _)| is_compared(case, precision, part));
    let checked = pairs.map(|((part, a), (name, b))| {
        if part != name || a.dims() != b.dims() {
            bail!("{part} {:?}, the CPU has {name} {:?}", a.dims(), b.dims());
        }
        let is_gradient = part.starts_with(GRADIENT);
        let scale = match is_gradient {
            true => largest,
            false => 0.0,
        };
        Ok(Checked {
            part: part.clone(),
            error: relative_error(a, b, scale)?,
            tolerance: tolerance(case, precision, is_gradient),
        })
    });
    checked.collect()
}

/// All but the gradients of rectified whole networks in bf16, and in f16 where they are sensitive. Signs of rectifiers near 0
/// flip there: 0.64 was seen of a wide ResNet in bf16 whose f32 gives 5e-6. Gradients are judged by the layers' own rows and by
/// the networks' rows in f32.
fn is_compared(case: &Case, precision: Precision, part: &str) -> bool {
    let is_rectified_network = case.kinked && case.depth > 1.0;
    let flips = match precision {
        Precision::F32 | Precision::Tf32 => false,
        Precision::F16 => case.sensitive,
        Precision::Bf16 => true,
    };
    !(is_rectified_network && flips && part.starts_with(GRADIENT))
}

/// Of one rounding of the type, times their number. TF32 must not reach what isn't a layer.
fn tolerance(case: &Case, precision: Precision, is_gradient: bool) -> f64 {
    let (one, kink) = match (precision, case.uses) {
        (Precision::F32, _) | (Precision::Tf32, Uses::Tensors) => (1e-5, 1e-5),
        (Precision::Tf32, Uses::Layers) => (2e-3, 3e-2),
        (Precision::F16, _) => (5e-3, 5e-2),
        (Precision::Bf16, _) => (2e-2, 1e-1),
    };
    let of_depth = |one: f64| case.depth * one;
    let allowed = match (case.kinked && is_gradient, case.sensitive, precision) {
        (false, ..) => of_depth(one),
        // Values may differ by as much, so as large a share of signs may flip, and gradients differ by its root.
        (true, true, Precision::F32) => of_depth(one).sqrt(),
        (true, ..) => of_depth(kink),
    };
    allowed.min(MOST)
}

/// ‖a − b‖ / ‖b‖. Where b is nothing but f64's rounding beside `scale`, the norm of the largest gradient, as that of a bias
/// in front of a batch norm is, the error is a share of the scale.
fn relative_error(a: &Tensor, b: &Tensor, scale: f64) -> Result<f64> {
    let (a, b) = (numbers(a)?, numbers(b)?);
    let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    let of = match norm(&b) {
        own if own > ROUNDING * scale => own,
        _ if scale > 0.0 => scale,
        _ => 1.0,
    };
    Ok(norm(&difference) / of)
}

fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    let here = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(here.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_in_place_of_a_result_fail_in_every_precision() {
        let deep = Case::tensors("deep", |_| Ok(Vec::new())).kinked().deep(1e6);
        let layers = Case {
            uses: Uses::Layers,
            ..deep
        };
        for precision in Precision::ALL {
            assert!(tolerance(&layers, precision, true) < 1.0);
        }
    }

    #[test]
    fn of_a_rectified_network_in_bf16_the_output_is_compared_and_gradients_are_not() {
        let part = |name: &str| {
            let tensor = Tensor::new(&[1.0f64], &Device::Cpu).expect("a tensor");
            (name.to_string(), tensor)
        };
        let parts = vec![part("output"), part("gradient of x"), part("running_mean")];
        let names = |case: &Case, precision| -> Vec<String> {
            let checked = compare(case, precision, &parts, &parts).expect("the same shapes");
            checked.into_iter().map(|checked| checked.part).collect()
        };
        let layer = Case::tensors("layer", |_| Ok(Vec::new())).kinked();
        assert_eq!(names(&layer, Precision::Bf16).len(), 3);
        let network = layer.deep(10.0);
        assert_eq!(names(&network, Precision::Bf16), ["output", "running_mean"]);
        assert_eq!(names(&network, Precision::F32).len(), 3);
        assert_eq!(names(&network, Precision::F16).len(), 3);
        let sensitive = network.sensitive();
        assert_eq!(names(&sensitive, Precision::F16).len(), 2);
        assert_eq!(names(&sensitive, Precision::Tf32).len(), 3);
        let smooth = Case {
            kinked: false,
            ..sensitive
        };
        assert_eq!(names(&smooth, Precision::Bf16).len(), 3);
    }

    #[test]
    fn gradients_of_a_sensitive_network_may_differ_by_a_few_signs_and_its_output_may_not() {
        let network = Case::tensors("network", |_| Ok(Vec::new()))
            .kinked()
            .deep(49.0);
        let is = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-12;
        let f32 = |case: &Case, is_gradient| tolerance(case, Precision::F32, is_gradient);
        assert!(is(f32(&network, true), 4.9e-4) && is(f32(&network, false), 4.9e-4));
        let sensitive = network.sensitive();
        assert!(is(f32(&sensitive, true), 4.9e-4f64.sqrt()));
        assert!(is(f32(&sensitive, false), 4.9e-4));
    }

    #[test]
    fn errors_are_relative_and_nan_fails() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu);
        let error = |a: &[f64], b: &[f64], scale| relative_error(&tensor(a)?, &tensor(b)?, scale);
        assert_eq!(error(&[3.0, 4.5], &[3.0, 4.0], 1e6).ok(), Some(0.1));
        assert_eq!(error(&[0.5], &[0.0], 0.0).ok(), Some(0.5));
        // Nothing but rounding beside the others: an error is a share of theirs.
        assert_eq!(error(&[0.5], &[0.0], 10.0).ok(), Some(0.05));
        let checked = |error| Checked {
            part: String::new(),
            error,
            tolerance: 0.1,
        };
        assert!(checked(0.1).passed() && !checked(0.2).passed());
        assert!(!checked(f64::NAN).passed() && checked(f64::NAN).share() > 1.0);
    }
}
