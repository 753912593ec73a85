//! The report's plots: each turns numbers into a [`Scene`], which is painted as SVG and PNG.

pub mod axis;
pub mod class_accuracy;
pub mod class_curves;
pub mod class_quantity;
pub mod confusion_pairs;
pub mod epoch_frame;
pub mod ink;
pub mod mark;
pub mod mistake_gallery;
pub mod scene;
pub mod sweep;

pub use class_accuracy::{AccuracySeries, class_accuracy};
pub use class_curves::{ClassCurves, class_curves};
pub use class_quantity::class_quantity;
pub use confusion_pairs::{ConfusionPair, confusion_pairs};
pub use mark::Marked;
pub use mistake_gallery::{MistakeRow, mistake_gallery};
pub use scene::Scene;
pub use sweep::{SweepSeries, sweep};

use ink::Ink;
use mark::Key;
use scene::{Anchor, text_width};

/// Width of every plot in units of layout; the height follows from the content.
pub(crate) const WIDTH: f64 = 860.0;
const TITLE: f64 = 19.0;
const LABEL: f64 = 14.0;
const SMALL: f64 = 13.0;
const MARGIN: f64 = 18.0;

/// Title and, under it, the sign and the name of each series.
fn heading(scene: &mut Scene, title: &str, series: &[(&str, Key)]) {
    let room = WIDTH - 2.0 * MARGIN;
    let title = scene::fit(title, TITLE, room);
    scene.text((MARGIN, 24.0), &title, TITLE, Anchor::Start, Ink::Text);
    let room = room / series.len().max(1) as f64 - 50.0;
    let mut x = MARGIN;
    for (name, key) in series {
        let name = scene::fit(name, LABEL, room);
        x += key.draw(scene, (x, 50.0)) + 7.0;
        scene.text((x, 50.0), &name, LABEL, Anchor::Start, Ink::Text);
        x += text_width(&name, LABEL) + 28.0;
    }
}

/// What the axis below shows, at its right end, and how to read the marks, at the left.
fn footing(scene: &mut Scene, right: f64, y: f64, axis: &str, note: &str) {
    let axis = scene::fit(axis, SMALL, 400.0);
    scene.text((right, y), &axis, SMALL, Anchor::End, Ink::Muted);
    let room = right - text_width(&axis, SMALL) - MARGIN - 20.0;
    let note = scene::fit(note, SMALL, room);
    scene.text((MARGIN, y), &note, SMALL, Anchor::Start, Ink::Muted);
}

/// `label: text`, or nothing where there is no text.
fn labelled(label: &str, text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("{label}: {text}"),
    }
}
