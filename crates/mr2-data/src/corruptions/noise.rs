//! Noise on each byte.

use super::raster::Raster;
use crate::random::Draws;

/// Normal, with a standard deviation.
pub(super) fn gaussian(image: &mut Raster, deviation: f64, draws: &mut Draws) {
    for value in &mut image.values {
        *value += deviation * draws.normal();
    }
}

/// A Poisson number of photons, of which full brightness has `photons`.
pub(super) fn shot(image: &mut Raster, photons: f64, draws: &mut Draws) {
    for value in &mut image.values {
        *value = poisson(*value * photons, draws) / photons;
    }
}

/// A share of the bytes becomes 0 or 255, equally often.
pub(super) fn impulse(image: &mut Raster, share: f64, draws: &mut Draws) {
    for value in &mut image.values {
        let (hit, white) = (draws.uniform() < share, draws.uniform() < 0.5);
        if hit {
            *value = f64::from(u8::from(white));
        }
    }
}

/// A Poisson number: products of uniforms for small means, else transformed rejection (Hörmann,
/// Insurance: Mathematics and Economics 12, 1993, algorithm PTRS).
fn poisson(mean: f64, draws: &mut Draws) -> f64 {
    if mean < 10.0 {
        let (limit, mut product, mut count) = ((-mean).exp(), draws.uniform(), 0.0);
        while product > limit {
            product *= draws.uniform();
            count += 1.0;
        }
        return count;
    }
    let b = 0.931 + 2.53 * mean.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let easy = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let (u, v) = (draws.uniform() - 0.5, draws.uniform());
        let us = 0.5 - u.abs();
        let count = ((2.0 * a / us + b) * u + mean + 0.43).floor();
        if us >= 0.07 && v <= easy {
            return count;
        }
        if count < 0.0 || (us < 0.013 && v > us) {
            continue;
        }
        let left = (v * inverse_alpha / (a / (us * us) + b)).ln();
        if left <= count * mean.ln() - mean - ln_factorial(count) {
            return count;
        }
    }
}

/// Stirling's series, exact to 1e-9 from 10 on; products below.
fn ln_factorial(n: f64) -> f64 {
    if n < 10.0 {
        return (2..=n as u32).map(f64::from).product::<f64>().ln();
    }
    let tail = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + tail
}
