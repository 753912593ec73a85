//! Accuracy over a setting, with the reference's beside it (arXiv 2602.00205, Figures 5 and 6).

use super::axis::Axis;
use super::ink::Ink;
use super::mark::{Key, Marked, mark};
use super::scene::{Anchor, Scene};
use super::{MARGIN, SMALL, WIDTH, footing, heading, labelled};

const TOP: f64 = 88.0;
const BOTTOM: f64 = 440.0;
const CAP: f64 = 4.0;

/// One measure over the sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepSeries {
    /// Its name.
    pub name: String,
    /// Setting and accuracy, ascending by setting.
    pub points: Vec<(f64, Marked)>,
    /// The reference's accuracy, a line across.
    pub reference: Option<f64>,
}

/// The plot; `setting` names the axis below, `spread` says what the error bars are.
pub fn sweep(title: &str, series: &[SweepSeries], setting: &str, spread: &str) -> Scene {
    let mut scene = Scene::new(WIDTH, BOTTOM + 52.0);
    let keys: Vec<(&str, Key)> = series
        .iter()
        .map(|s| s.name.as_str())
        .zip((0..).map(Key::Mark))
        .collect();
    heading(&mut scene, title, &keys);
    let values = series.iter().flat_map(|one| {
        let points = one.points.iter().flat_map(|(_, marked)| marked.ends());
        points.chain(one.reference)
    });
    let axis = Axis::around(values.map(|value| value * 100.0), 5);
    let places = || {
        series
            .iter()
            .flat_map(|one| one.points.iter().map(|(at, _)| *at))
    };
    let below = Axis::around(places(), 6);
    let (left, right) = (MARGIN + 52.0, WIDTH - MARGIN - 14.0);
    let x = |at: f64| left + (right - left) * below.share(at);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * axis.share(value * 100.0);
    scene.text(
        (MARGIN, TOP - 14.0),
        "accuracy in %",
        SMALL,
        Anchor::Start,
        Ink::Muted,
    );
    for tick in axis.ticks() {
        let at = y(tick / 100.0);
        scene.path(vec![(left, at), (right, at)], Ink::Grid, 1.0);
        scene.text(
            (left - 8.0, at),
            &axis.label(tick),
            SMALL,
            Anchor::End,
            Ink::Muted,
        );
    }
    scene.path(vec![(left, BOTTOM), (right, BOTTOM)], Ink::Muted, 1.0);
    for tick in below.ticks() {
        let at = x(tick);
        scene.path(vec![(at, BOTTOM), (at, BOTTOM + 5.0)], Ink::Muted, 1.0);
        scene.text(
            (at, BOTTOM + 16.0),
            &below.label(tick),
            SMALL,
            Anchor::Middle,
            Ink::Muted,
        );
    }
    for (number, one) in series.iter().enumerate() {
        let ink = Ink::Series(number);
        if let Some(reference) = one.reference {
            dashed(&mut scene, left, right, y(reference), ink);
        }
        let line = one
            .points
            .iter()
            .map(|(at, marked)| (x(*at), y(marked.value)));
        scene.path(line.collect(), ink, 1.5);
        for (at, marked) in &one.points {
            if let Some(bar) = marked.bar {
                let (at, low, high) = (x(*at), y(bar.low), y(bar.high));
                scene.path(vec![(at, low), (at, high)], ink, 1.5);
                for end in [low, high] {
                    scene.path(vec![(at - CAP, end), (at + CAP, end)], ink, 1.5);
                }
            }
            mark(&mut scene, (x(*at), y(marked.value)), 4.5, number);
        }
    }
    let note = labelled("error bars", spread);
    footing(&mut scene, right, BOTTOM + 37.0, setting, &note);
    scene
}

fn dashed(scene: &mut Scene, left: f64, right: f64, y: f64, ink: Ink) {
    const DASH: f64 = 9.0;
    let mut from = left;
    while from < right {
        let to = (from + DASH).min(right);
        scene.path(vec![(from, y), (to, y)], ink, 1.0);
        from += 2.0 * DASH;
    }
}
