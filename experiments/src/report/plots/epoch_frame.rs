//! The frame of a plot over training: epochs below, values on the left.

use super::SMALL;
use super::axis::Axis;
use super::ink::Ink;
use super::scene::{Anchor, Scene};

/// Where the frame begins, from the top of the picture.
pub const TOP: f64 = 84.0;
/// Where it ends.
pub const BOTTOM: f64 = 440.0;

/// From epochs and values to places in the picture.
pub struct Frame {
    /// The values.
    pub axis: Axis,
    /// The first epoch.
    pub first: f64,
    /// The last epoch.
    pub last: f64,
    /// Where the first epoch lies.
    pub left: f64,
    /// Where the last one lies.
    pub right: f64,
}

impl Frame {
    /// The place of a value.
    pub fn at(&self, epoch: u64, value: f64) -> (f64, f64) {
        let span = (self.last - self.first).max(1.0);
        let x = self.left + (self.right - self.left) * (epoch as f64 - self.first) / span;
        (x, BOTTOM - (BOTTOM - TOP) * self.axis.share(value))
    }

    /// Grid lines and labels for that many epochs.
    pub fn grid(&self, scene: &mut Scene, epochs: usize) {
        for tick in self.axis.ticks() {
            let y = self.at(0, tick).1;
            scene.path(vec![(self.left, y), (self.right, y)], Ink::Grid, 1.0);
            let at = (self.left - 8.0, y);
            scene.text(at, &self.axis.label(tick), SMALL, Anchor::End, Ink::Muted);
        }
        let steps = epochs.saturating_sub(1).clamp(1, 8);
        for tick in Axis::around([self.first, self.last], steps).ticks() {
            if tick.fract() == 0.0 && tick >= self.first && tick <= self.last {
                let x = self.at(tick as u64, 0.0).0;
                scene.path(vec![(x, BOTTOM), (x, BOTTOM + 5.0)], Ink::Muted, 1.0);
                let at = (x, BOTTOM + 16.0);
                scene.text(at, &tick.to_string(), SMALL, Anchor::Middle, Ink::Muted);
            }
        }
        let at = (self.right, BOTTOM + 36.0);
        scene.text(at, "epoch", SMALL, Anchor::End, Ink::Muted);
    }
}
