//! A quantity of each class over training: γ, or the spread v.

use mr2_metrics::Interval;

use super::axis::Axis;
use super::epoch_frame::{BOTTOM, Frame, TOP};
use super::ink::{Ink, RAMP};
use super::mark::Marked;
use super::scene::{Anchor, Scene, fit, text_width};
use super::{LABEL, MARGIN, SMALL, WIDTH, heading};

/// Up to this many classes each curve carries its name.
const NAMED_CURVES: usize = 12;
/// Up to this many classes each has a curve; beyond, bands show where the classes lie.
const SINGLE_CURVES: usize = 100;
/// How many of the hardest and of the easiest classes stand out before the bands.
const EXTREMES: usize = 3;
const BAND_OPACITY: f64 = 0.7;
const CORE_OPACITY: f64 = 0.25;
/// Of the band that a class has over seeds; bands of several classes lie on each other.
const SEED_OPACITY: f64 = 0.12;

/// What the plot shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassCurves<'a> {
    /// Heading, such as "Margin γ over training".
    pub title: &'a str,
    /// What the axis on the left is.
    pub quantity: &'a str,
    /// Over how many seeds the values are means.
    pub seeds: usize,
    /// Names of the classes.
    pub classes: &'a [String],
    /// The epochs, ascending.
    pub epochs: &'a [u64],
    /// For each epoch one value for each class; `None` where there is none yet. Bars become bands
    /// where the classes are few enough to have names.
    pub values: &'a [Vec<Option<Marked>>],
    /// Accuracy of each class, by which the curves are coloured.
    pub accuracy: &'a [Option<f64>],
}

/// The plot.
pub fn class_curves(plot: &ClassCurves<'_>) -> Scene {
    let mut scene = Scene::new(WIDTH, BOTTOM + 50.0);
    let named = plot.classes.len() <= NAMED_CURVES;
    let names: Vec<String> = plot.classes.iter().map(|n| fit(n, SMALL, 150.0)).collect();
    let widest = names
        .iter()
        .map(|n| text_width(n, SMALL))
        .fold(0.0, f64::max);
    let drawn = |marked: &Marked| match named {
        true => marked.ends(),
        false => [marked.value; 2],
    };
    let axis = Axis::around(plot.values.iter().flatten().flatten().flat_map(drawn), 4);
    let labels = axis
        .ticks()
        .iter()
        .map(|&t| text_width(&axis.label(t), SMALL))
        .fold(0.0, f64::max);
    let frame = Frame {
        axis,
        first: plot.epochs.first().copied().unwrap_or(1) as f64,
        last: plot.epochs.last().copied().unwrap_or(1) as f64,
        left: MARGIN + labels + 10.0,
        right: if named {
            WIDTH - MARGIN - widest - 30.0
        } else {
            WIDTH - MARGIN - 8.0
        },
    };
    heading(&mut scene, plot.title, &[]);
    let note = match plot.seeds {
        1 => "one seed".to_string(),
        n if named => format!("means over {n} seeds, bands ± 1 standard deviation"),
        n => format!("means over {n} seeds"),
    };
    frame.grid(&mut scene, plot.epochs.len(), plot.quantity, &note);
    let order = mr2_metrics::hardest_first(plot.accuracy).unwrap_or_default();
    legend(&mut scene, plot.classes.len() > SINGLE_CURVES);
    if plot.classes.len() > SINGLE_CURVES {
        bands(&mut scene, plot, &frame);
        let hardest = order.iter().take(EXTREMES).map(|&k| (k, Ink::Ramp(0.0)));
        let easiest = order
            .iter()
            .rev()
            .take(EXTREMES)
            .map(|&k| (k, Ink::Ramp(1.0)));
        for (class, ink) in easiest.chain(hardest) {
            curve(&mut scene, plot, &frame, class, ink);
        }
        return scene;
    }
    let inks = inks(plot.classes.len(), &order);
    // Hardest last, so that they lie on top.
    let mut by_ease: Vec<usize> = (0..plot.classes.len())
        .filter(|k| !order.contains(k))
        .collect();
    by_ease.extend(order.iter().rev());
    if named {
        for &class in &by_ease {
            seed_band(&mut scene, plot, &frame, class, inks[class]);
        }
    }
    for &class in &by_ease {
        curve(&mut scene, plot, &frame, class, inks[class]);
    }
    if named {
        end_names(&mut scene, plot, &frame, &names, &inks);
    }
    scene
}

/// A class's place on the ramp, by the rank of its accuracy; grey without one.
fn inks(classes: usize, order: &[usize]) -> Vec<Ink> {
    let mut inks = vec![Ink::Muted; classes];
    for (rank, &class) in order.iter().enumerate() {
        inks[class] = Ink::Ramp((rank as f64 + 0.5) / order.len() as f64);
    }
    inks
}

fn legend(scene: &mut Scene, bands: bool) {
    let mut x = MARGIN;
    let say = |scene: &mut Scene, x: f64, text: &str| {
        scene.text((x, 52.0), text, LABEL, Anchor::Start, Ink::Muted);
        x + text_width(text, LABEL)
    };
    let swatch = |scene: &mut Scene, x: f64, ink: Ink, opacity: f64| {
        scene.area(
            vec![(x, 46.0), (x + 22.0, 46.0), (x + 22.0, 58.0), (x, 58.0)],
            ink,
            opacity,
        );
        x + 24.0
    };
    if bands {
        for (text, ink, opacity) in [
            ("hardest three", Ink::Ramp(0.0), 1.0),
            ("easiest three", Ink::Ramp(1.0), 1.0),
            ("all classes", Ink::Grid, BAND_OPACITY),
            ("middle 80 %", Ink::Muted, CORE_OPACITY + 0.15),
        ] {
            x = swatch(scene, x, ink, opacity) + 6.0;
            x = say(scene, x, text) + 24.0;
        }
        scene.path(vec![(x, 52.0), (x + 22.0, 52.0)], Ink::Text, 2.0);
        say(scene, x + 30.0, "median");
        return;
    }
    x = say(scene, x, "hardest") + 10.0;
    for step in 0..RAMP.len() {
        x = swatch(
            scene,
            x,
            Ink::Ramp((step as f64 + 0.5) / RAMP.len() as f64),
            1.0,
        );
    }
    say(scene, x + 8.0, "easiest class");
}

/// The class's curve, broken where it has no value.
fn curve(scene: &mut Scene, plot: &ClassCurves<'_>, frame: &Frame, class: usize, ink: Ink) {
    let width = if plot.classes.len() <= NAMED_CURVES {
        2.5
    } else {
        1.5
    };
    let mut piece = Vec::new();
    for (&epoch, values) in plot.epochs.iter().zip(plot.values) {
        match value_of(values, class) {
            Some(value) => piece.push(frame.at(epoch, value)),
            None => stroke(scene, std::mem::take(&mut piece), ink, width),
        }
    }
    stroke(scene, piece, ink, width);
}

fn value_of(values: &[Option<Marked>], class: usize) -> Option<f64> {
    let value = values.get(class).copied().flatten()?.value;
    value.is_finite().then_some(value)
}

/// From bar end to bar end of the class, over the epochs that have a bar.
fn seed_band(scene: &mut Scene, plot: &ClassCurves<'_>, frame: &Frame, class: usize, ink: Ink) {
    let bars: Vec<(u64, Interval)> = plot
        .epochs
        .iter()
        .zip(plot.values)
        .filter_map(|(&epoch, values)| Some((epoch, values.get(class).copied().flatten()?.bar?)))
        .collect();
    let low = bars.iter().map(|(epoch, bar)| frame.at(*epoch, bar.low));
    let high = bars.iter().map(|(epoch, bar)| frame.at(*epoch, bar.high));
    let outline: Vec<_> = low.chain(high.rev()).collect();
    if bars.len() > 1 {
        scene.area(outline, ink, SEED_OPACITY);
    }
}

fn stroke(scene: &mut Scene, points: Vec<(f64, f64)>, ink: Ink, width: f64) {
    match points.as_slice() {
        [] => {}
        [only] => scene.disc(*only, width + 0.5, ink),
        _ => scene.path(points, ink, width),
    }
}

/// All classes, the middle 80 % of them, and their median.
fn bands(scene: &mut Scene, plot: &ClassCurves<'_>, frame: &Frame) {
    let sorted: Vec<(u64, Vec<f64>)> = plot
        .epochs
        .iter()
        .zip(plot.values)
        .map(|(&epoch, values)| {
            let mut known: Vec<f64> = (0..values.len())
                .filter_map(|class| value_of(values, class))
                .collect();
            known.sort_unstable_by(f64::total_cmp);
            (epoch, known)
        })
        .filter(|(_, known)| !known.is_empty())
        .collect();
    let at = |share: f64| -> Vec<(f64, f64)> {
        let value = |known: &[f64]| known[((known.len() - 1) as f64 * share).round() as usize];
        sorted
            .iter()
            .map(|(epoch, known)| frame.at(*epoch, value(known)))
            .collect()
    };
    for (low, high, ink, opacity) in [
        (0.0, 1.0, Ink::Grid, BAND_OPACITY),
        (0.1, 0.9, Ink::Muted, CORE_OPACITY),
    ] {
        let mut outline = at(low);
        outline.extend(at(high).into_iter().rev());
        scene.area(outline, ink, opacity);
    }
    scene.path(at(0.5), Ink::Text, 2.0);
}

/// Names at the right ends, moved apart where they would overlap.
fn end_names(
    scene: &mut Scene,
    plot: &ClassCurves<'_>,
    frame: &Frame,
    names: &[String],
    inks: &[Ink],
) {
    const APART: f64 = 15.0;
    let Some((&epoch, values)) = plot.epochs.last().zip(plot.values.last()) else {
        return;
    };
    let end_of = |k: usize| Some(frame.at(epoch, value_of(values, k)?));
    let mut ends: Vec<(f64, usize)> = (0..names.len())
        .filter_map(|k| Some((end_of(k)?.1, k)))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut y = TOP - APART;
    for end in &mut ends {
        y = end.0.max(y + APART);
        end.0 = y;
    }
    // What was pushed below the axis moves up again, the others make room.
    let mut floor = BOTTOM + 6.0;
    for end in ends.iter_mut().rev() {
        end.0 = end.0.min(floor);
        floor = end.0 - APART;
    }
    for (y, class) in ends {
        let ink = inks[class];
        if let Some(end) = end_of(class) {
            scene.path(vec![end, (frame.right + 20.0, y)], ink, 0.75);
        }
        scene.disc((frame.right + 22.0, y), 3.0, ink);
        scene.text(
            (frame.right + 29.0, y),
            &names[class],
            SMALL,
            Anchor::Start,
            Ink::Text,
        );
    }
}
