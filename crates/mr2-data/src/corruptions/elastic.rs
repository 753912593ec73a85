//! An elastic sheet: a random affine map, then small random displacements.

use super::filters::gaussian;
use super::raster::{Border, Raster};
use crate::random::Draws;

/// `strength`, `sigma` and `most` are shares of the shorter side: height and deviation of the
/// displacements, largest move of the affine map's points.
pub(super) fn warp(
    image: &mut Raster,
    (strength, sigma, most): (f64, f64, f64),
    draws: &mut Draws,
) {
    let side = image.height.min(image.width) as f64;
    let mut symmetric = || 2.0 * draws.uniform() - 1.0;
    let centre = [image.width, image.height].map(|side| (side / 2) as f64);
    let reach = (image.height.min(image.width) / 3) as f64;
    let from = [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
        .map(|[a, b]| [centre[0] + a * reach, centre[1] + b * reach]);
    let to = from.map(|point| point.map(|at| at + most * side * symmetric()));
    if let Some(back) = Affine::between(to, from) {
        *image = image.map(|row, column, channel| {
            let [x, y] = back.of([column as f64, row as f64]);
            image.between(y, x, channel, Border::Mirror)
        });
    }
    let mut displacement = || {
        let noise = image.layer(&mut symmetric);
        let mut smooth = gaussian(&noise, sigma * side, 3.0, Border::Reflect);
        let values = smooth.values.iter_mut();
        values.for_each(|value| *value *= strength * side);
        smooth
    };
    let (dx, dy) = (displacement(), displacement());
    *image = image.map(|row, column, channel| {
        let y = row as f64 + dy.at(row, column, 0);
        let x = column as f64 + dx.at(row, column, 0);
        image.between(y, x, channel, Border::Reflect)
    });
}

/// x' = a·x + b·y + c, y' = d·x + e·y + f, as [[a, b, c], [d, e, f]].
struct Affine([[f64; 3]; 2]);

impl Affine {
    /// The map that takes three points to three others; `None` if the first are on a line.
    fn between(from: [[f64; 2]; 3], to: [[f64; 2]; 3]) -> Option<Self> {
        let edge = |points: [[f64; 2]; 3], index: usize, axis: usize| {
            points[index][axis] - points[0][axis]
        };
        let [x1, x2] = [edge(from, 1, 0), edge(from, 2, 0)];
        let [y1, y2] = [edge(from, 1, 1), edge(from, 2, 1)];
        let area = x1 * y2 - x2 * y1;
        let row = |axis: usize| {
            let [t1, t2] = [edge(to, 1, axis), edge(to, 2, axis)];
            let a = (t1 * y2 - t2 * y1) / area;
            let b = (x1 * t2 - x2 * t1) / area;
            [a, b, to[0][axis] - a * from[0][0] - b * from[0][1]]
        };
        (area.abs() > f64::EPSILON).then(|| Affine([row(0), row(1)]))
    }

    fn of(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        self.0.map(|[a, b, c]| a * x + b * y + c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affine_map_takes_its_three_points_to_theirs() {
        let from = [[26.0, 26.0], [26.0, 6.0], [6.0, 6.0]];
        let to = [[27.0, 24.5], [25.0, 7.0], [5.0, 8.0]];
        let map = Affine::between(from, to);
        for (point, image) in from.into_iter().zip(to) {
            let found = map.as_ref().map(|map| map.of(point)).unwrap_or_default();
            assert!(found.iter().zip(image).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        assert!(Affine::between([[0.0; 2]; 3], to).is_none());
    }
}
