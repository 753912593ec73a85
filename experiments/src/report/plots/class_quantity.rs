//! A quantity of each class beside its accuracy: a point for each class (arXiv 2602.00205, Figures 1 and 3).

use super::axis::Axis;
use super::ink::Ink;
use super::mark::mark;
use super::scene::{Anchor, Scene, fit, text_width};
use super::{MARGIN, SMALL, WIDTH, footing, heading};

const TOP: f64 = 78.0;
const BOTTOM: f64 = 440.0;
/// Up to this many classes the points have names.
const NAMED_CLASSES: usize = 25;

/// The plot; `points` are (accuracy, quantity) of the classes that have both, by class.
pub fn class_quantity(
    title: &str,
    quantity: &str,
    classes: &[String],
    points: &[Option<(f64, f64)>],
) -> Scene {
    let mut scene = Scene::new(WIDTH, BOTTOM + 52.0);
    heading(&mut scene, title, &[]);
    let known = || points.iter().flatten();
    let across = Axis::around(known().map(|(accuracy, _)| accuracy * 100.0), 6);
    let up = Axis::around(known().map(|(_, quantity)| *quantity), 5);
    let (left, right) = (MARGIN + 60.0, WIDTH - MARGIN - 60.0);
    let x = |accuracy: f64| left + (right - left) * across.share(accuracy * 100.0);
    let y = |quantity: f64| BOTTOM - (BOTTOM - TOP) * up.share(quantity);
    scene.text(
        (MARGIN, TOP - 18.0),
        quantity,
        SMALL,
        Anchor::Start,
        Ink::Muted,
    );
    for tick in up.ticks() {
        scene.path(vec![(left, y(tick)), (right, y(tick))], Ink::Grid, 1.0);
        scene.text(
            (left - 8.0, y(tick)),
            &up.label(tick),
            SMALL,
            Anchor::End,
            Ink::Muted,
        );
    }
    scene.path(vec![(left, BOTTOM), (right, BOTTOM)], Ink::Muted, 1.0);
    for tick in across.ticks() {
        let at = x(tick / 100.0);
        scene.path(vec![(at, BOTTOM), (at, BOTTOM + 5.0)], Ink::Muted, 1.0);
        scene.text(
            (at, BOTTOM + 16.0),
            &across.label(tick),
            SMALL,
            Anchor::Middle,
            Ink::Muted,
        );
    }
    let named = known().count() <= NAMED_CLASSES;
    for (class, point) in points.iter().enumerate() {
        let Some((accuracy, quantity)) = *point else {
            continue;
        };
        let at = (x(accuracy), y(quantity));
        mark(&mut scene, at, 4.5, 0);
        if let (true, Some(name)) = (named, classes.get(class)) {
            let name = fit(name, SMALL, 140.0);
            let inside = at.0 + 9.0 + text_width(&name, SMALL) < WIDTH - MARGIN;
            let (place, anchor) = match inside {
                true => ((at.0 + 9.0, at.1), Anchor::Start),
                false => ((at.0 - 9.0, at.1), Anchor::End),
            };
            scene.text(place, &name, SMALL, anchor, Ink::Text);
        }
    }
    footing(
        &mut scene,
        right,
        BOTTOM + 37.0,
        "accuracy of the class in %",
        "",
    );
    scene
}
