//! The exponential function and the normal distribution in f32, without branches: loops over them become
//! vector instructions.

/// Above this e^x leaves f32.
const LARGEST: f32 = 88.722_84;

/// Below this, where e^x nears the end of f32's normal numbers, the result is 0.
const SMALLEST: f32 = -86.6;

/// 1.5 * 2^23: added to a small number, it leaves the nearest integer in the last bits.
const ROUND: f32 = 12_582_912.0;

/// ln(2) in two parts; products of the first with small integers are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// e^x, to about one unit in the last place; NaN stays NaN.
#[inline(always)]
pub(crate) fn exponential(x: f32) -> f32 {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    // e^r for |r| <= ln(2) / 2, with the coefficients of Cephes' expf.
    let p = 1.987_569_1e-4 * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // Times 2^(n - 1), then 2: 2^128 is no f32.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(126 << 23));
    let y = p * scale * 2.0;
    let y = if x < SMALLEST { 0.0 } else { y };
    if x > LARGEST { f32::INFINITY } else { y }
}

/// The normal distribution: its cumulative function, and its density, within 2.5e-7.
///
/// Formula 7.1.26 of Abramowitz and Stegun's handbook (1964).
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (0.327_591_1 * z + 1.0);
    let bell = exponential(-z * z);
    let p = 1.061_405_4 * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let beyond = 0.5 * (p * t) * bell;
    let below = if x < 0.0 { beyond } else { 1.0 - beyond };
    (below, INV_SQRT_2PI * bell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::real::Real;

    #[test]
    fn the_exponential_is_right_to_the_last_place_or_so() {
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let (found, expected) = (f64::from(exponential(x)), f64::from(x).exp());
            if x >= SMALLEST {
                assert!(
                    (found / expected - 1.0).abs() < 1.5e-7,
                    "{x}: {found}, not {expected}"
                );
            } else {
                assert!(found == 0.0, "{x}");
            }
        }
        assert!(exponential(88.7).is_finite());
        assert_eq!(exponential(89.0), f32::INFINITY);
        assert_eq!(exponential(f32::INFINITY), f32::INFINITY);
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
        assert_eq!(exponential(0.0), 1.0);
        assert!(exponential(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_right_within_a_quarter_of_a_millionth() {
        for i in -12_000..12_000 {
            let x = i as f32 * 1e-3;
            let (below, density) = normal(x);
            let (expected, expected_density) = f64::from(x).normal();
            assert!((f64::from(below) - expected).abs() < 2.5e-7, "{x}");
            assert!(
                (f64::from(density) - expected_density).abs() < 2.5e-7,
                "{x}"
            );
        }
        assert!(normal(f32::NAN).0.is_nan());
    }
}
