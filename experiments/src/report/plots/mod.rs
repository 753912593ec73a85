//! The report's plots: each turns numbers into a [`Scene`], which is painted as SVG and PNG.

pub mod axis;
pub mod class_accuracy;
pub mod class_curves;
pub mod confusion_pairs;
pub mod epoch_frame;
pub mod ink;
pub mod scene;

pub use class_accuracy::{AccuracySeries, class_accuracy};
pub use class_curves::{ClassCurves, class_curves};
pub use confusion_pairs::{ConfusionPair, confusion_pairs};
pub use scene::Scene;

use ink::Ink;
use scene::{Anchor, text_width};

/// Width of every plot in units of layout; the height follows from the content.
pub(crate) const WIDTH: f64 = 860.0;
const TITLE: f64 = 19.0;
const LABEL: f64 = 14.0;
const SMALL: f64 = 13.0;

/// Title and, under it, one disc and name for each series.
fn heading(scene: &mut Scene, title: &str, series: &[(&str, Ink)]) {
    scene.text((MARGIN, 24.0), title, TITLE, Anchor::Start, Ink::Text);
    let mut x = MARGIN + 6.0;
    for (name, ink) in series {
        let name = scene::fit(name, LABEL, 380.0);
        scene.disc((x, 50.0), 5.0, *ink, true);
        scene.text((x + 12.0, 50.0), &name, LABEL, Anchor::Start, Ink::Text);
        x += 12.0 + text_width(&name, LABEL) + 28.0;
    }
}

const MARGIN: f64 = 18.0;
