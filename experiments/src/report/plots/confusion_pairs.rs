//! The most frequent mistakes as bars: which class is taken for which.

use super::axis::Axis;
use super::ink::Ink;
use super::mark::{Key, Marked, error_bar};
use super::scene::{Anchor, Scene, fit, text_width};
use super::{LABEL, MARGIN, SMALL, WIDTH, footing, heading, labelled};

const TOP: f64 = 80.0;
/// Room at the right for a number beside the longest bar.
const NUMBER: f64 = 64.0;

/// Images of one class taken for another.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionPair {
    /// The true class.
    pub class: String,
    /// The predicted class.
    pub taken_for: String,
    /// Share of the class's images, one for each method of the legend.
    pub shares: Vec<Marked>,
}

/// The plot, one bar for each pair and method; no legend for a single method. `spread`
/// says what the error bars are; it is empty where there are none.
pub fn confusion_pairs(methods: &[&str], pairs: &[ConfusionPair], spread: &str) -> Scene {
    let single = methods.len() == 1;
    let top = if single { TOP - 26.0 } else { TOP };
    let bar = if single { 16.0 } else { 13.0 };
    let row = bar * methods.len() as f64 + 14.0;
    let bottom = top + row * pairs.len() as f64;
    let mut scene = Scene::new(WIDTH, bottom + 52.0);
    let keys: Vec<(&str, Key)> = methods.iter().copied().zip((0..).map(Key::Bar)).collect();
    let keys: &[_] = if single { &[] } else { &keys };
    heading(&mut scene, "Most frequent mistakes", keys);
    let name = |p: &ConfusionPair| {
        let part = |text: &str| fit(text, LABEL, 150.0);
        format!("{} → {}", part(&p.class), part(&p.taken_for))
    };
    let names: Vec<String> = pairs.iter().map(name).collect();
    let widest = names
        .iter()
        .map(|n| text_width(n, LABEL))
        .fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 14.0, WIDTH - MARGIN - NUMBER);
    let largest = pairs
        .iter()
        .flat_map(|p| p.shares.iter().map(|share| share.ends()[1]))
        .fold(0.01, f64::max);
    let axis = Axis::from_zero(100.0 * largest, 4);
    let x = |share: f64| left + (right - left) * axis.share(100.0 * share.max(0.0));
    for tick in axis.ticks() {
        let at = x(tick / 100.0);
        scene.path(vec![(at, top - 4.0), (at, bottom)], Ink::Grid, 1.0);
        let label = format!("{} %", axis.label(tick));
        let under = (at, bottom + 14.0);
        scene.text(under, &label, SMALL, Anchor::Middle, Ink::Muted);
    }
    let caption = "share of the class's images";
    let note = labelled("error bars", spread);
    footing(&mut scene, WIDTH - MARGIN, bottom + 37.0, caption, &note);
    for (index, (pair, name)) in pairs.iter().zip(&names).enumerate() {
        let first = top + row * index as f64 + 5.0;
        let middle = first + (row - 14.0) / 2.0;
        scene.text((left - 12.0, middle), name, LABEL, Anchor::End, Ink::Text);
        for (series, share) in pair.shares.iter().enumerate() {
            let y = first + bar * series as f64;
            let end = (x(share.value), y + bar - 1.5);
            scene.rectangle((left, y), end, Ink::Series(series));
            if let Some(interval) = share.bar {
                let ends = (x(interval.low), x(interval.high));
                error_bar(&mut scene, ends, y + (bar - 1.5) / 2.0, Ink::Text);
            }
            let label = format!("{:.1} %", 100.0 * share.value);
            let at = (x(share.ends()[1]) + 7.0, y + bar / 2.0 - 0.5);
            scene.text(at, &label, 12.0, Anchor::Start, Ink::Muted);
        }
    }
    scene
}
