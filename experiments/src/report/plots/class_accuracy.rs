//! Accuracy of each class under one or two methods, hardest first as the first method sees it
//! (arXiv 2602.00205, Figure 1).

use super::axis::Axis;
use super::ink::Ink;
use super::mark::{Key, Marked, error_bar, mark};
use super::scene::{Anchor, Scene, fit, text_width};
use super::{LABEL, MARGIN, SMALL, WIDTH, footing, heading, labelled};

/// Up to this many classes each has a row with its name.
const NAMED_CLASSES: usize = 40;
/// Height of a class's row, and how far two methods stand from its middle.
const ROW: f64 = 24.0;
const ROW_OF_TWO: f64 = 32.0;
const APART: f64 = 6.5;
const TOP: f64 = 80.0;
const TITLE: &str = "Accuracy by class, hardest first";
const BAND_OPACITY: f64 = 0.25;

/// One method.
#[derive(Clone, Debug, PartialEq)]
pub struct AccuracySeries<'a> {
    /// Its name.
    pub name: &'a str,
    /// Accuracy of each class; `None` for absent ones.
    pub accuracy: &'a [Option<Marked>],
}

/// A class with its accuracy under the first and the second method.
type Row = (usize, Marked, Option<Marked>);

/// The plot; classes that the first method has no accuracy for are left out. `spread` says what the
/// error bars or the band are; it is empty where there are none.
pub fn class_accuracy(
    classes: &[String],
    first: &AccuracySeries<'_>,
    second: Option<&AccuracySeries<'_>>,
    spread: &str,
) -> Scene {
    let means: Vec<Option<f64>> = first.accuracy.iter().map(|a| Some((*a)?.value)).collect();
    let order = mr2_metrics::hardest_first(&means).unwrap_or_default();
    let rows: Vec<Row> = order
        .iter()
        .filter_map(|&class| {
            let other = second.and_then(|s| s.accuracy.get(class).copied().flatten());
            Some((class, first.accuracy[class]?, other))
        })
        .collect();
    let lowest = rows
        .iter()
        .flat_map(|&(_, a, b)| [a.ends()[0], b.unwrap_or(a).ends()[0]])
        .fold(1.0, f64::min);
    let axis = Axis::percent(lowest);
    let mut names = vec![first.name];
    names.extend(second.map(|s| s.name));
    if rows.len() <= NAMED_CLASSES {
        named_rows(classes, &rows, &axis, &names, spread)
    } else {
        ranked_curve(&rows, &axis, &names, spread)
    }
}

/// A row for each class, and in it a mark for each method with its error bar.
fn named_rows(
    classes: &[String],
    rows: &[Row],
    axis: &Axis,
    methods: &[&str],
    spread: &str,
) -> Scene {
    let (height, apart) = match methods.len() {
        1 => (ROW, 0.0),
        _ => (ROW_OF_TWO, APART),
    };
    let bottom = TOP + height * rows.len() as f64;
    let mut scene = Scene::new(WIDTH, bottom + 52.0);
    let keys: Vec<(&str, Key)> = (0..).map(Key::Mark).zip(methods).map(swap).collect();
    heading(&mut scene, TITLE, &keys);
    let names: Vec<String> = rows
        .iter()
        .map(|&(k, ..)| fit(&classes[k], LABEL, 240.0))
        .collect();
    let widest = names
        .iter()
        .map(|n| text_width(n, LABEL))
        .fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 14.0, WIDTH - MARGIN - 14.0);
    let x = |accuracy: f64| left + (right - left) * axis.share(accuracy.clamp(0.0, 1.0));
    for tick in axis.ticks() {
        let at = x(tick);
        scene.path(vec![(at, TOP - 4.0), (at, bottom)], Ink::Grid, 1.0);
        let label = format!("{:.0} %", tick * 100.0);
        let under = (at, bottom + 14.0);
        scene.text(under, &label, SMALL, Anchor::Middle, Ink::Muted);
    }
    let note = labelled("error bars", spread);
    footing(&mut scene, right, bottom + 37.0, "accuracy", &note);
    for (row, (&(_, a, b), name)) in rows.iter().zip(&names).enumerate() {
        let y = TOP + height * (row as f64 + 0.5);
        if row > 0 {
            let rule = y - height / 2.0;
            scene.path(vec![(left, rule), (right, rule)], Ink::Grid, 0.5);
        }
        scene.text((left - 12.0, y), name, LABEL, Anchor::End, Ink::Text);
        let marks = [(0, Some(a), y - apart), (1, b, y + apart)];
        for (series, marked, y) in marks {
            let Some(Marked { value, bar }) = marked else {
                continue;
            };
            if let Some(bar) = bar {
                let ends = (x(bar.low), x(bar.high));
                error_bar(&mut scene, ends, y, Ink::Series(series));
            }
            mark(&mut scene, (x(value), y), 4.5, series);
        }
    }
    scene
}

fn swap<'a>((key, name): (Key, &&'a str)) -> (&'a str, Key) {
    (*name, key)
}

/// Too many classes for names: the first method as a curve with a band, the second as marks.
fn ranked_curve(rows: &[Row], axis: &Axis, methods: &[&str], spread: &str) -> Scene {
    let (top, bottom) = (TOP, 440.0);
    let mut scene = Scene::new(WIDTH, bottom + 52.0);
    let mut keys = vec![(methods[0], Key::Line(0))];
    keys.extend(methods.get(1).map(|name| (*name, Key::Mark(1))));
    heading(&mut scene, TITLE, &keys);
    let (left, right) = (MARGIN + 52.0, WIDTH - MARGIN - 8.0);
    let y = |accuracy: f64| bottom - (bottom - top) * axis.share(accuracy.clamp(0.0, 1.0));
    let x = |rank: usize| left + (right - left) * (rank as f64 + 0.5) / rows.len() as f64;
    for tick in axis.ticks() {
        scene.path(vec![(left, y(tick)), (right, y(tick))], Ink::Grid, 1.0);
        let label = format!("{:.0} %", tick * 100.0);
        let beside = (left - 8.0, y(tick));
        scene.text(beside, &label, SMALL, Anchor::End, Ink::Muted);
    }
    for rank in Axis::around([0.0, rows.len() as f64], 5).ticks() {
        let rank = rank as usize;
        if rank >= 1 && rank <= rows.len() {
            let at = (x(rank - 1), bottom + 14.0);
            scene.text(at, &rank.to_string(), SMALL, Anchor::Middle, Ink::Muted);
        }
    }
    let caption = format!("rank of the class by accuracy under {}", methods[0]);
    let has_band = rows.iter().any(|(_, first, _)| first.bar.is_some());
    let note = labelled("band", if has_band { spread } else { "" });
    footing(&mut scene, right, bottom + 37.0, &caption, &note);
    let ranked = || rows.iter().enumerate();
    let mut band: Vec<(f64, f64)> = ranked().map(|(i, r)| (x(i), y(r.1.ends()[0]))).collect();
    band.extend(ranked().rev().map(|(i, r)| (x(i), y(r.1.ends()[1]))));
    if has_band {
        scene.area(band, Ink::Series(0), BAND_OPACITY);
    }
    let radius = if rows.len() > 300 { 1.8 } else { 2.8 };
    for (rank, &(_, _, second)) in rows.iter().enumerate() {
        if let Some(second) = second {
            mark(&mut scene, (x(rank), y(second.value)), radius, 1);
        }
    }
    let curve = ranked().map(|(i, r)| (x(i), y(r.1.value))).collect();
    scene.path(curve, Ink::Series(0), 2.5);
    scene
}
