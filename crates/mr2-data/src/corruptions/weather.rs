//! Snow, frost and fog.

use super::filters::{clipped_zoom, streak};
use super::raster::Raster;
use super::severity::Snow;
use crate::random::Draws;

/// Whitens the image and adds flakes in streaks, twice: as they are and turned by 180 degrees.
pub(super) fn snow(image: &mut Raster, snow: &Snow, draws: &mut Draws) {
    let flakes = image.layer(|| snow.mean + snow.deviation * draws.normal());
    let mut flakes = clipped_zoom(&flakes, snow.zoom);
    for value in &mut flakes.values {
        let kept = if *value < snow.least { 0.0 } else { *value };
        *value = (kept.clamp(0.0, 1.0) * 255.0).floor() / 255.0;
    }
    let (radius, sigma) = snow.streak;
    let degrees = 45.0 + 90.0 * draws.uniform(); // within 45 degrees of straight down
    let flakes = streak(&flakes, radius, sigma, degrees);
    let pixels = image.values.chunks_exact_mut(image.channels);
    let layers = flakes.values.iter().zip(flakes.values.iter().rev());
    for (pixel, (flake, turned)) in pixels.zip(layers) {
        let grey = match *pixel {
            [r, g, b] => 0.299 * r + 0.587 * g + 0.114 * b,
            _ => pixel[0],
        };
        for value in pixel {
            let white = value.max(grey * 1.5 + 0.5);
            *value = snow.keep * *value + (1.0 - snow.keep) * white + flake + turned;
        }
    }
}

/// Colours of the frost's ridges: slightly blue.
const FROST_TINT: [f64; 3] = [0.86, 0.94, 1.0];

/// Adds bright ridges: where a plasma fractal is near the middle of its range.
pub(super) fn frost(image: &mut Raster, (keep, weight): (f64, f64), draws: &mut Draws) {
    let plasma = plasma(image, 2.0, draws);
    let pixels = image.values.chunks_exact_mut(image.channels);
    for (pixel, height) in pixels.zip(plasma) {
        let ridge = 1.0 - (2.0 * height - 1.0).abs();
        for (value, tint) in pixel.iter_mut().zip(FROST_TINT) {
            *value = keep * *value + weight * tint * (0.3 + 0.7 * ridge);
        }
    }
}

/// Adds a plasma fractal, then scales the brightest value back to what it was.
pub(super) fn fog(image: &mut Raster, (weight, decay): (f64, f64), draws: &mut Draws) {
    let brightest = image.values.iter().copied().fold(0.0, f64::max);
    let plasma = plasma(image, decay, draws);
    let pixels = image.values.chunks_exact_mut(image.channels);
    for (pixel, height) in pixels.zip(plasma) {
        for value in pixel {
            *value = (*value + weight * height) * brightest / (brightest + weight);
        }
    }
}

/// The upper left part of a plasma fractal, for each pixel of the image.
fn plasma(image: &Raster, decay: f64, draws: &mut Draws) -> Vec<f64> {
    let side = image.height.max(image.width).next_power_of_two().max(2);
    let map = plasma_fractal(side, decay, || draws.uniform());
    let rows = map.chunks_exact(side).take(image.height);
    rows.flat_map(|row| row[..image.width].iter().copied())
        .collect()
}

/// Heights in 0..=1 on a square whose side is a power of two, by diamonds and squares that wrap around
/// (`plasma_fractal` of the original). Details get smaller by `decay` with each halving.
fn plasma_fractal(side: usize, decay: f64, mut uniform: impl FnMut() -> f64) -> Vec<f64> {
    let mut map = vec![0.0; side * side];
    let (mut step, mut wibble) = (side, 100.0);
    while step >= 2 {
        let (half, count) = (step / 2, side / step);
        let place = |row: usize, column: usize| (row % side) * side + column % side;
        let mut fill = |map: &mut [f64], [dy, dx]: [usize; 2], around: [[usize; 2]; 4]| {
            for row in (0..count).map(|row| row * step) {
                for column in (0..count).map(|column| column * step) {
                    let corner = |[y, x]: [usize; 2]| map[place(row + y, column + x)];
                    let mean = around.into_iter().map(corner).sum::<f64>() / 4.0;
                    let moved = wibble * (wibble * (2.0 * uniform() - 1.0));
                    map[place(row + dy, column + dx)] = mean + moved;
                }
            }
        };
        // Centres of squares from their corners, then the middles of their upper and left edges.
        fill(
            &mut map,
            [half, half],
            [[0, 0], [step, 0], [0, step], [step, step]],
        );
        let before = side - half;
        fill(
            &mut map,
            [0, half],
            [[half, half], [before, half], [0, 0], [0, step]],
        );
        fill(
            &mut map,
            [half, 0],
            [[half, half], [half, before], [0, 0], [step, 0]],
        );
        step /= 2;
        wibble /= decay;
    }
    let least = map.iter().copied().fold(f64::INFINITY, f64::min);
    let most = map.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    map.iter_mut()
        .for_each(|height| *height = (*height - least) / (most - least));
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plasma_fractal_is_the_originals() {
        // plasma_fractal(mapsize=4, wibbledecay=2) of make_cifar_c.py with these numbers for
        // np.random.uniform's.
        let mut numbers = (0..16).map(|i| f64::from(i * 7 % 16) / 16.0);
        let map = plasma_fractal(4, 2.0, || numbers.next().unwrap_or_default());
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(map.iter().zip(&PLASMA).all(close), "{map:?}");
    }

    const PLASMA: [f64; 16] = [
        0.8, 0.3125, 0.3, 0.575, 0.84375, 0.45, 0.24375, 0.625, 1.0, 0.6375, 0.0, 0.5, 0.76875,
        0.4, 0.16875, 0.575,
    ];
}
