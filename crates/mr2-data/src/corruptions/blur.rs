//! Blurs.

use super::filters::{clipped_zoom, gaussian, streak, weighted};
use super::raster::{Border, Raster};
use crate::random::Draws;

/// skimage.filters.gaussian cuts its weights here.
const TRUNCATE: f64 = 4.0;

/// A disk whose edge is smoothed by a 3 x 3 blur, as `cv2.filter2D` applies it.
pub(super) fn defocus(image: &mut Raster, (radius, alias): (f64, f64)) {
    let reach = radius as isize;
    let inside = |y: isize, x: isize| ((x * x + y * y) as f64) <= radius * radius;
    let area = (-reach..=reach)
        .flat_map(|y| (-reach..=reach).map(move |x| (y, x)))
        .filter(|&(y, x)| inside(y, x))
        .count() as f64;
    let side = (-0.5 / (alias * alias)).exp();
    let edge = [side, 1.0, side].map(|weight| weight / (1.0 + 2.0 * side));
    let mut taps = Vec::new();
    for y in -reach - 1..=reach + 1 {
        for x in -reach - 1..=reach + 1 {
            let mut weight = 0.0;
            for (dy, down) in (-1..=1).zip(edge) {
                for (dx, across) in (-1..=1).zip(edge) {
                    if inside(y + dy, x + dx) {
                        weight += down * across / area;
                    }
                }
            }
            taps.push((y, x, weight));
        }
    }
    *image = weighted(image, &taps, Border::Mirror);
}

/// Between two blurs, pixels from the lower right on take the colour of a neighbour up and left of
/// them or their own. (The original means to exchange the two, but its NumPy views make a copy.)
pub(super) fn glass(
    image: &mut Raster,
    (sigma, most, rounds): (f64, usize, usize),
    draws: &mut Draws,
) {
    let mut blurred = gaussian(image, sigma, TRUNCATE, Border::Nearest);
    for value in &mut blurred.values {
        *value = (*value * 255.0).floor() / 255.0;
    }
    let channels = blurred.channels;
    // 32 - most, ..., most + 1 for CIFAR's sides; beyond the last pixel there is nothing to move.
    let places = |side: usize| (most + 1..=side.saturating_sub(most)).rev();
    for _ in 0..rounds {
        for row in places(blurred.height) {
            for column in places(blurred.width) {
                let mut back = || draws.below(2 * most) as isize - most as isize;
                let (dx, dy) = (back(), back());
                let other = |at: usize, by: isize| at.saturating_add_signed(by);
                let from = other(row, dy) * blurred.width + other(column, dx);
                let to = row * blurred.width + column;
                blurred
                    .values
                    .copy_within(from * channels..(from + 1) * channels, to * channels);
            }
        }
    }
    *image = gaussian(&blurred, sigma, TRUNCATE, Border::Nearest);
}

/// A streak within 45 degrees of the horizontal.
pub(super) fn motion(image: &mut Raster, (radius, sigma): (usize, f64), draws: &mut Draws) {
    let degrees = -45.0 + 90.0 * draws.uniform();
    *image = streak(image, radius, sigma, degrees);
}

/// What `np.arange(1, .., 0.01)` adds: a little over 0.01, which decides how 32.5 pixels are rounded.
const ZOOM_STEP: f64 = 1.01 - 1.0;

/// The mean of the image, and again the image and its enlargements.
pub(super) fn zoom(image: &mut Raster, enlargements: usize) {
    let mut sum = image.clone();
    for index in 0..enlargements {
        let larger = clipped_zoom(image, 1.0 + index as f64 * ZOOM_STEP);
        for (sum, value) in sum.values.iter_mut().zip(larger.values) {
            *sum += value;
        }
    }
    let count = (enlargements + 1) as f64;
    sum.values.iter_mut().for_each(|value| *value /= count);
    *image = sum;
}
