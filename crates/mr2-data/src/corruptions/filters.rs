//! Filters that several corruptions share.

use super::raster::{Border, Raster};

/// `scipy.ndimage.gaussian_filter` over rows and columns: weights to `truncate` deviations, rounded.
pub(super) fn gaussian(image: &Raster, sigma: f64, truncate: f64, border: Border) -> Raster {
    let radius = (truncate * sigma + 0.5) as isize;
    if radius == 0 {
        return image.clone();
    }
    let weight = |at: isize| (-0.5 / (sigma * sigma) * (at * at) as f64).exp();
    let sum: f64 = (-radius..=radius).map(weight).sum();
    let taps: Vec<(isize, f64)> = (-radius..=radius)
        .map(|at| (at, weight(at) / sum))
        .collect();
    let along = |image: &Raster, taps: &[(isize, isize, f64)]| weighted(image, taps, border);
    let down: Vec<_> = taps.iter().map(|&(at, w)| (at, 0, w)).collect();
    let across: Vec<_> = taps.iter().map(|&(at, w)| (0, at, w)).collect();
    along(&along(image, &down), &across)
}

/// The sum over taps (rows down, columns right, weight).
pub(super) fn weighted(image: &Raster, taps: &[(isize, isize, f64)], border: Border) -> Raster {
    image.map(|row, column, channel| {
        let tap = |&(dy, dx, weight): &(isize, isize, f64)| {
            let row = border.place(row as isize + dy, image.height);
            let column = border.place(column as isize + dx, image.width);
            weight * image.at(row, column, channel)
        };
        taps.iter().map(tap).sum()
    })
}

/// The middle enlarged by `factor` of 1 or more to the same size: `clipped_zoom` of the original,
/// whose `scipy.ndimage.zoom` maps corners to corners.
pub(super) fn clipped_zoom(image: &Raster, factor: f64) -> Raster {
    let rows = ZoomAxis::new(image.height, factor);
    let columns = ZoomAxis::new(image.width, factor);
    image.map(|row, column, channel| {
        let (y, x) = (rows.source(row), columns.source(column));
        image.between(y, x, channel, Border::Nearest)
    })
}

struct ZoomAxis {
    first: usize,
    trim: usize,
    step: f64,
}

impl ZoomAxis {
    fn new(side: usize, factor: f64) -> Self {
        let kept = (side as f64 / factor).ceil() as usize;
        let enlarged = (kept as f64 * factor).round_ties_even() as usize;
        let step = match enlarged {
            0 | 1 => 0.0,
            _ => (kept - 1) as f64 / (enlarged - 1) as f64,
        };
        ZoomAxis {
            first: (side - kept) / 2,
            trim: enlarged.saturating_sub(side) / 2,
            step,
        }
    }

    fn source(&self, at: usize) -> f64 {
        self.first as f64 + (self.trim + at) as f64 * self.step
    }
}

/// Weights that fall as one half of a normal curve along 2 · `radius` steps in the direction of
/// `degrees` (0 is right, 90 is down), each step on the nearest pixel.
pub(super) fn streak(image: &Raster, radius: usize, sigma: f64, degrees: f64) -> Raster {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let weight = |at: usize| (-((at * at) as f64) / (2.0 * sigma * sigma)).exp();
    let steps = 2 * radius + 1;
    let sum: f64 = (0..steps).map(weight).sum();
    let taps: Vec<(isize, isize, f64)> = (0..steps)
        .map(|at| {
            let (down, right) = (at as f64 * sin, at as f64 * cos);
            (
                down.round() as isize,
                right.round() as isize,
                weight(at) / sum,
            )
        })
        .collect();
    weighted(image, &taps, Border::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Raster {
        Raster {
            values: vec![0.0, 1.0, 4.0, 2.0, 7.0, 3.0, 1.0, 0.0, 5.0, 2.0],
            height: 2,
            width: 5,
            channels: 1,
        }
    }

    #[track_caller]
    fn close(found: &Raster, expected: [f64; 10]) {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(found.values.iter().zip(&expected).all(near), "{found:?}");
    }

    #[test]
    fn gaussian_is_scipys_at_both_borders() {
        // scipy.ndimage.gaussian_filter(image, 0.96, mode="reflect", truncate=3)
        close(
            &gaussian(&image(), 0.96, 3.0, Border::Reflect),
            [
                1.101836832815606,
                1.511364915419627,
                2.3885939866865393,
                3.485478867241216,
                4.493816278986485,
                1.672315325112129,
                1.5201387364388417,
                2.05538501738559,
                3.1179904943696535,
                3.653079545544312,
            ],
        );
        // scipy.ndimage.gaussian_filter(image, 0.4, mode="nearest", truncate=4)
        close(
            &gaussian(&image(), 0.4, 4.0, Border::Nearest),
            [
                0.15667958311948837,
                1.079144765354905,
                3.654439430372762,
                2.379429153878374,
                6.609146951420052,
                2.8029362259396313,
                1.0420386379249869,
                0.38596188859992425,
                4.580172952755301,
                2.3100606874536576,
            ],
        );
    }

    #[test]
    fn weighted_sums_are_scipys_with_mirrored_borders() {
        // scipy.ndimage.correlate1d(image, [1, 2, 4], axis=1, mode="mirror")
        let taps = [(0, -1, 1.0), (0, 0, 2.0), (0, 1, 4.0)];
        close(
            &weighted(&image(), &taps, Border::Mirror),
            [5.0, 18.0, 17.0, 36.0, 24.0, 11.0, 5.0, 21.0, 18.0, 29.0],
        );
    }

    #[test]
    fn a_streak_falls_in_its_direction() {
        let mut dot = image();
        dot.values.fill(0.0);
        dot.values[4] = 1.0;
        // Towards the right: pixels left of the dot see it.
        let right = streak(&dot, 1, 1.0, 0.0);
        let sum = 1.0 + (-0.5f64).exp() + (-2.0f64).exp();
        // The edge repeats, so the last pixel sees only the dot.
        let expected = [
            0.0,
            0.0,
            (-2.0f64).exp(),
            (-0.5f64).exp() + (-2.0f64).exp(),
            sum,
        ];
        let near = |(a, b): (&f64, f64)| (a - b / sum).abs() < 1e-12;
        assert!(right.values.iter().zip(expected).all(near), "{right:?}");
    }
}
