//! The frame of a plot over training: epochs below, values on the left.

use super::axis::Axis;
use super::ink::Ink;
use super::scene::{Anchor, Scene};
use super::{SMALL, footing};

/// Where the frame begins, from the top of the picture.
pub const TOP: f64 = 88.0;
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

    /// Grid lines and labels for that many epochs; `values` says what the axis on the left is,
    /// `note` what the bands are.
    pub fn grid(&self, scene: &mut Scene, epochs: usize, values: &str, note: &str) {
        let above = (super::MARGIN, TOP - 14.0);
        scene.text(above, values, SMALL, Anchor::Start, Ink::Muted);
        for tick in self.axis.ticks() {
            let y = self.at(0, tick).1;
            scene.path(vec![(self.left, y), (self.right, y)], Ink::Grid, 1.0);
            let at = (self.left - 8.0, y);
            scene.text(at, &self.axis.label(tick), SMALL, Anchor::End, Ink::Muted);
        }
        let floor = vec![(self.left, BOTTOM), (self.right, BOTTOM)];
        scene.path(floor, Ink::Muted, 1.0);
        let steps = epochs.saturating_sub(1).clamp(1, 8);
        for tick in Axis::around([self.first, self.last], steps).ticks() {
            if tick.fract() == 0.0 && tick >= self.first && tick <= self.last {
                let x = self.at(tick as u64, 0.0).0;
                scene.path(vec![(x, BOTTOM), (x, BOTTOM + 5.0)], Ink::Muted, 1.0);
                let at = (x, BOTTOM + 16.0);
                scene.text(at, &tick.to_string(), SMALL, Anchor::Middle, Ink::Muted);
            }
        }
        footing(scene, self.right, BOTTOM + 37.0, "epoch", note);
    }
}
