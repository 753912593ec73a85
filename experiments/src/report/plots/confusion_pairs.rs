//! The most frequent mistakes as bars: which class is taken for which.

use super::axis::Axis;
use super::ink::Ink;
use super::scene::{Anchor, Scene, fit, text_width};
use super::{LABEL, MARGIN, SMALL, WIDTH, heading};

const TOP: f64 = 84.0;

/// Images of one class taken for another.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionPair {
    /// The true class.
    pub class: String,
    /// The predicted class.
    pub taken_for: String,
    /// Share of the class's images, one for each method of the legend.
    pub shares: Vec<f64>,
}

/// The plot, one bar for each pair and method.
pub fn confusion_pairs(methods: &[&str], pairs: &[ConfusionPair]) -> Scene {
    let bar = if methods.len() > 1 { 12.0 } else { 16.0 };
    let row = bar * methods.len() as f64 + 14.0;
    let bottom = TOP + row * pairs.len() as f64;
    let mut scene = Scene::new(WIDTH, bottom + 50.0);
    let legend: Vec<(&str, Ink)> = methods
        .iter()
        .enumerate()
        .map(|(i, &name)| (name, Ink::Series(i)))
        .collect();
    heading(&mut scene, "Most frequent mistakes", &legend);
    let name = |p: &ConfusionPair| {
        let part = |text: &str| fit(text, LABEL, 150.0);
        format!("{} → {}", part(&p.class), part(&p.taken_for))
    };
    let names: Vec<String> = pairs.iter().map(name).collect();
    let widest = names
        .iter()
        .map(|n| text_width(n, LABEL))
        .fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 14.0, WIDTH - MARGIN - 64.0);
    let largest = pairs
        .iter()
        .flat_map(|p| p.shares.iter().copied())
        .fold(0.0, f64::max);
    let axis = Axis::around([0.0, 100.0 * largest.max(0.01)], 4);
    let x = |share: f64| left + (right - left) * axis.share(100.0 * share);
    for tick in axis.ticks() {
        let at = x(tick / 100.0);
        scene.path(vec![(at, TOP - 6.0), (at, bottom)], Ink::Grid, 1.0);
        let label = format!("{} %", axis.label(tick));
        scene.text(
            (at, bottom + 14.0),
            &label,
            SMALL,
            Anchor::Middle,
            Ink::Muted,
        );
    }
    scene.text(
        (right, bottom + 36.0),
        "of the class's images",
        SMALL,
        Anchor::End,
        Ink::Muted,
    );
    for (index, (pair, name)) in pairs.iter().zip(&names).enumerate() {
        let top = TOP + row * index as f64;
        let middle = top + (row - 8.0) / 2.0;
        scene.text((left - 12.0, middle), name, LABEL, Anchor::End, Ink::Text);
        for (series, &share) in pair.shares.iter().enumerate() {
            let y = top + 3.0 + bar * series as f64;
            scene.rectangle((left, y), (x(share), y + bar - 1.0), Ink::Series(series));
            let label = format!("{:.1} %", 100.0 * share);
            let at = (x(share) + 6.0, y + bar / 2.0);
            scene.text(at, &label, 12.0, Anchor::Start, Ink::Muted);
        }
    }
    scene
}
