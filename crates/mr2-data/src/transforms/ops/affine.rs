//! Shears, translations and rotations: torchvision's inverse matrices, sampled as Pillow samples
//! nearest neighbours (`libImaging/Geometry.c`).

use crate::transforms::Canvas;

/// Output to input: x = a·x' + b·y' + c, y = d·x' + e·y' + f, as [a, b, c, d, e, f].
type Matrix = [f64; 6];

/// By the tangents, about the first pixel's corner.
pub(super) fn shear(canvas: &mut Canvas, tangents: [f64; 2], fill: u8) {
    // Through degrees and back, as torchvision goes.
    let angles = tangents.map(|tangent| tangent.atan().to_degrees().to_radians());
    transform(canvas, inverse(angles, [0.0; 2], [0.0; 2]), fill);
}

/// By whole pixels, right and down.
pub(super) fn translate(canvas: &mut Canvas, offset: [f64; 2], fill: u8) {
    let centre = [canvas.width as f64 * 0.5, canvas.height as f64 * 0.5];
    transform(canvas, inverse([0.0; 2], centre, offset), fill);
}

/// `_get_inverse_affine_matrix` of torchvision's transforms/functional.py without rotation and scale.
fn inverse([sx, sy]: [f64; 2], [cx, cy]: [f64; 2], [tx, ty]: [f64; 2]) -> Matrix {
    let a = (-sy).cos() / sy.cos();
    let b = -(-sy).cos() * sx.tan() / sy.cos();
    let c = (-sy).sin() / sy.cos();
    let d = -(-sy).sin() * sx.tan() / sy.cos() + 1.0;
    let x = d * (-cx - tx) + -b * (-cy - ty) + cx;
    let y = -c * (-cx - tx) + a * (-cy - ty) + cy;
    [d, -b, x, -c, a, y]
}

/// `PIL.Image.Image.rotate` about the centre, counter-clockwise.
pub(super) fn rotate(canvas: &mut Canvas, degrees: f64, fill: u8) {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 {
        return;
    }
    let angle = -degrees.to_radians();
    let (cos, sin) = (decimals_15(angle.cos()), decimals_15(angle.sin()));
    let (cx, cy) = (canvas.width as f64 / 2.0, canvas.height as f64 / 2.0);
    let x = cos * -cx + sin * -cy + cx;
    let y = -sin * -cx + cos * -cy + cy;
    transform(canvas, [cos, sin, x, -sin, cos, y], fill);
}

/// Python's `round(value, 15)`, so that right angles are exact.
fn decimals_15(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// Each output pixel takes the input pixel that its centre lies in, or `fill`.
fn transform(canvas: &mut Canvas, matrix: Matrix, fill: u8) {
    let (height, width) = (canvas.height, canvas.width);
    canvas.repaint(height, width, |from, to| {
        to.fill(fill);
        if matrix[1] == 0.0 && matrix[3] == 0.0 {
            along_axes(from, &matrix, to);
        } else {
            fixed_point(from, &matrix, to);
        }
    });
}

/// Pillow's coordinate: everything below zero is outside, also what would round to 0.
fn coordinate(value: f64, side: usize) -> Option<usize> {
    let place = if value < 0.0 {
        return None;
    } else {
        value as usize
    };
    (place < side).then_some(place)
}

fn along_axes(from: &Canvas, matrix: &Matrix, to: &mut [u8]) {
    let channels = from.channels;
    // Summed up, as Pillow does.
    let places = |step: f64, start: f64, side: usize| -> Vec<Option<usize>> {
        let mut at = start + step * 0.5;
        let next = |_| {
            let place = coordinate(at, side);
            at += step;
            place
        };
        (0..side).map(next).collect()
    };
    let columns = places(matrix[0], matrix[2], from.width);
    let rows = places(matrix[4], matrix[5], from.height);
    for (row, target) in rows.iter().zip(to.chunks_exact_mut(from.width * channels)) {
        let Some(row) = row else { continue };
        for (column, pixel) in columns.iter().zip(target.chunks_exact_mut(channels)) {
            if let Some(column) = column {
                pixel.copy_from_slice(from.pixel(*row, *column));
            }
        }
    }
}

/// Coordinates with 16 bits after the point.
fn fixed_point(from: &Canvas, matrix: &Matrix, to: &mut [u8]) {
    let [a, b, c, d, e, f] = *matrix;
    let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
    let (across, down) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
    let mut start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    for target in to.chunks_exact_mut(from.width * from.channels) {
        let [mut x, mut y] = start;
        for pixel in target.chunks_exact_mut(from.channels) {
            let inside =
                |at: i64, side: usize| usize::try_from(at >> 16).ok().filter(|&place| place < side);
            if let (Some(column), Some(row)) = (inside(x, from.width), inside(y, from.height)) {
                pixel.copy_from_slice(from.pixel(row, column));
            }
            (x, y) = (x + across[0], y + across[1]);
        }
        start = [start[0] + down[0], start[1] + down[1]];
    }
}
