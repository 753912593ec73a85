//! Accuracy of each class under one or two methods, hardest first as the first method sees it
//! (arXiv 2602.00205, Figure 1).

use super::axis::Axis;
use super::ink::Ink;
use super::scene::{Anchor, Scene, fit, text_width};
use super::{LABEL, MARGIN, SMALL, WIDTH, heading};

/// Up to this many classes each has a row with its name.
const NAMED_CLASSES: usize = 40;
const ROW: f64 = 24.0;
const TOP: f64 = 84.0;

/// One method.
#[derive(Clone, Debug, PartialEq)]
pub struct AccuracySeries<'a> {
    /// Its name.
    pub name: &'a str,
    /// Accuracy of each class; `None` for absent ones.
    pub accuracy: &'a [Option<f64>],
}

/// The plot; classes that the first method has no accuracy for are left out.
pub fn class_accuracy(
    classes: &[String],
    first: &AccuracySeries<'_>,
    second: Option<&AccuracySeries<'_>>,
) -> Scene {
    let order = mr2_metrics::hardest_first(first.accuracy).unwrap_or_default();
    let pairs: Vec<(usize, f64, Option<f64>)> = order
        .iter()
        .filter_map(|&class| {
            let other = second.and_then(|s| s.accuracy.get(class).copied().flatten());
            Some((class, first.accuracy[class]?, other))
        })
        .collect();
    let lowest = pairs
        .iter()
        .flat_map(|&(_, a, b)| [a, b.unwrap_or(a)])
        .fold(1.0, f64::min);
    let axis = Axis::percent(lowest);
    let mut legend = vec![(first.name, Ink::Series(0))];
    legend.extend(second.map(|s| (s.name, Ink::Series(1))));
    if pairs.len() <= NAMED_CLASSES {
        named_rows(classes, &pairs, &axis, &legend)
    } else {
        ranked_curve(&pairs, &axis, &legend)
    }
}

/// A row for each class: a dot for each method, joined by a line.
fn named_rows(
    classes: &[String],
    pairs: &[(usize, f64, Option<f64>)],
    axis: &Axis,
    legend: &[(&str, Ink)],
) -> Scene {
    let bottom = TOP + ROW * pairs.len() as f64;
    let mut scene = Scene::new(WIDTH, bottom + 50.0);
    heading(&mut scene, "Accuracy by class, hardest first", legend);
    let names: Vec<String> = pairs
        .iter()
        .map(|&(k, ..)| fit(&classes[k], LABEL, 240.0))
        .collect();
    let widest = names
        .iter()
        .map(|n| text_width(n, LABEL))
        .fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 14.0, WIDTH - MARGIN - 14.0);
    let x = |accuracy: f64| left + (right - left) * axis.share(accuracy);
    for tick in axis.ticks() {
        scene.path(
            vec![(x(tick), TOP - 6.0), (x(tick), bottom)],
            Ink::Grid,
            1.0,
        );
        let label = format!("{:.0} %", tick * 100.0);
        scene.text(
            (x(tick), bottom + 14.0),
            &label,
            SMALL,
            Anchor::Middle,
            Ink::Muted,
        );
    }
    scene.text(
        (right, bottom + 36.0),
        "accuracy",
        SMALL,
        Anchor::End,
        Ink::Muted,
    );
    for (row, (&(_, a, b), name)) in pairs.iter().zip(&names).enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        scene.text((left - 12.0, y), name, LABEL, Anchor::End, Ink::Text);
        if let Some(b) = b {
            let ink = if b >= a {
                Ink::Series(1)
            } else {
                Ink::Series(0)
            };
            scene.path(vec![(x(a), y), (x(b), y)], ink, 1.5);
            scene.disc((x(b), y), 5.0, Ink::Series(1), true);
        }
        // A ring where both are equal, so that the other dot shows inside it.
        let covered = b.is_some_and(|b| (x(a) - x(b)).abs() < 2.0);
        if covered {
            scene.disc((x(a), y), 7.5, Ink::Series(0), false);
            scene.disc((x(a), y), 4.5, Ink::Series(1), true);
        } else {
            scene.disc((x(a), y), 5.0, Ink::Series(0), true);
        }
    }
    scene
}

/// Too many classes for names: the first method as a curve, the second as dots.
fn ranked_curve(pairs: &[(usize, f64, Option<f64>)], axis: &Axis, legend: &[(&str, Ink)]) -> Scene {
    let (top, bottom) = (TOP, 440.0);
    let mut scene = Scene::new(WIDTH, bottom + 50.0);
    heading(&mut scene, "Accuracy by class, hardest first", legend);
    let (left, right) = (MARGIN + 52.0, WIDTH - MARGIN - 8.0);
    let y = |accuracy: f64| bottom - (bottom - top) * axis.share(accuracy);
    let x = |rank: usize| left + (right - left) * (rank as f64 + 0.5) / pairs.len() as f64;
    for tick in axis.ticks() {
        scene.path(vec![(left, y(tick)), (right, y(tick))], Ink::Grid, 1.0);
        let label = format!("{:.0} %", tick * 100.0);
        scene.text(
            (left - 8.0, y(tick)),
            &label,
            SMALL,
            Anchor::End,
            Ink::Muted,
        );
    }
    for rank in Axis::around([0.0, pairs.len() as f64], 5).ticks() {
        let rank = rank as usize;
        if rank >= 1 && rank <= pairs.len() {
            let at = (x(rank - 1), bottom + 14.0);
            scene.text(at, &rank.to_string(), SMALL, Anchor::Middle, Ink::Muted);
        }
    }
    let caption = format!("classes by accuracy under {}", legend[0].0);
    scene.text(
        (right, bottom + 36.0),
        &fit(&caption, SMALL, 600.0),
        SMALL,
        Anchor::End,
        Ink::Muted,
    );
    let radius = if pairs.len() > 300 { 1.8 } else { 3.0 };
    for (rank, &(_, _, b)) in pairs.iter().enumerate() {
        if let Some(b) = b {
            scene.disc((x(rank), y(b)), radius, Ink::Series(1), true);
        }
    }
    let curve = pairs
        .iter()
        .enumerate()
        .map(|(rank, &(_, a, _))| (x(rank), y(a)))
        .collect();
    scene.path(curve, Ink::Series(0), 2.5);
    scene
}
