//! Marks of a plot: shapes that tell methods apart where colours don't, and error bars.

use mr2_metrics::{Interval, mean_sd};

use super::ink::Ink;
use super::scene::Scene;

/// A number and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marked {
    /// The number.
    pub value: f64,
    /// The ends of its error bar.
    pub bar: Option<Interval>,
}

impl Marked {
    /// Mean over seeds, with one standard deviation to each side where there are several; `None`
    /// without a value.
    pub fn over_seeds(values: &[f64]) -> Option<Self> {
        let found = mean_sd(values).ok()?;
        Some(Self {
            value: found.mean,
            bar: found.sd.map(|sd| Interval {
                low: found.mean - sd,
                high: found.mean + sd,
            }),
        })
    }

    /// The lowest and the highest point of what is drawn.
    pub fn ends(&self) -> [f64; 2] {
        self.bar
            .map_or([self.value; 2], |Interval { low, high }| [low, high])
    }
}

/// How a legend shows a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key {
    /// The mark of a method.
    Mark(usize),
    /// The line of a method.
    Line(usize),
    /// The bar of a method.
    Bar(usize),
}

impl Key {
    /// Draws it from `at` to the right, and returns its width.
    pub(super) fn draw(self, scene: &mut Scene, at: (f64, f64)) -> f64 {
        let (x, y) = at;
        match self {
            Self::Mark(series) => {
                mark(scene, (x + 6.0, y), 5.0, series);
                12.0
            }
            Self::Line(series) => {
                scene.path(vec![(x, y), (x + 22.0, y)], Ink::Series(series), 2.5);
                22.0
            }
            Self::Bar(series) => {
                scene.rectangle((x, y - 6.0), (x + 16.0, y + 6.0), Ink::Series(series));
                16.0
            }
        }
    }
}

/// A disc for the first method, a diamond for the second, a triangle for others; about the same
/// area for all.
pub(super) fn mark(scene: &mut Scene, at: (f64, f64), radius: f64, series: usize) {
    let ink = Ink::Series(series);
    let corner = |x: f64, y: f64| (at.0 + x * radius, at.1 + y * radius);
    match series {
        0 => scene.disc(at, radius, ink),
        1 => scene.area(
            vec![
                corner(0.0, -1.3),
                corner(1.3, 0.0),
                corner(0.0, 1.3),
                corner(-1.3, 0.0),
            ],
            ink,
            1.0,
        ),
        _ => scene.area(
            vec![corner(0.0, -1.2), corner(1.3, 1.0), corner(-1.3, 1.0)],
            ink,
            1.0,
        ),
    }
}

/// A horizontal error bar with caps.
pub(super) fn error_bar(scene: &mut Scene, (from, to): (f64, f64), y: f64, ink: Ink) {
    const CAP: f64 = 3.5;
    scene.path(vec![(from, y), (to, y)], ink, 1.5);
    for x in [from, to] {
        scene.path(vec![(x, y - CAP), (x, y + CAP)], ink, 1.5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_bar_is_one_standard_deviation_to_each_side_and_needs_two_seeds() {
        let two = Marked::over_seeds(&[0.5, 0.7]).expect("there are values");
        let bar = two.bar.expect("two seeds have a spread");
        // The standard deviation of 0.5 and 0.7 with divisor n − 1 is 0.1·√2.
        let sd = 0.1 * 2f64.sqrt();
        assert!((two.value - 0.6).abs() < 1e-12);
        assert!((bar.low - (0.6 - sd)).abs() < 1e-12 && (bar.high - (0.6 + sd)).abs() < 1e-12);
        assert_eq!(Marked::over_seeds(&[0.5]).and_then(|m| m.bar), None);
        assert_eq!(Marked::over_seeds(&[]), None);
    }
}
