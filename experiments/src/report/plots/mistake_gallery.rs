//! Photographs that a classifier takes for another class, a row for each of the worst classes.

use image::RgbImage;

use super::ink::Ink;
use super::scene::{Anchor, Scene, fit};
use super::{LABEL, MARGIN, SMALL, WIDTH, heading};

/// Side of a photograph.
const SIDE: f64 = 112.0;
/// Room below it for the name of the class that it is taken for.
const NAME: f64 = 22.0;
const GAP: f64 = 14.0;
const TOP: f64 = 54.0;
/// Room for the row's class.
const LEFT: f64 = 150.0;

/// Photographs of a row at most.
pub const PHOTOS: usize = 5;

/// A class and some of its mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct MistakeRow {
    /// The class.
    pub class: String,
    /// What is written under its name.
    pub note: String,
    /// The class that each photograph is taken for, and the photograph; at most [`PHOTOS`] are shown.
    pub taken_for: Vec<(String, RgbImage)>,
}

/// The picture.
pub fn mistake_gallery(rows: &[MistakeRow]) -> Scene {
    let row = SIDE + NAME + GAP;
    let mut scene = Scene::new(WIDTH, TOP + row * rows.len() as f64);
    heading(&mut scene, "What the worst classes are taken for", &[]);
    for (number, shown) in rows.iter().enumerate() {
        let top = TOP + row * number as f64;
        let middle = top + SIDE / 2.0;
        let name = fit(&shown.class, LABEL, LEFT - GAP);
        scene.text(
            (MARGIN, middle - 10.0),
            &name,
            LABEL,
            Anchor::Start,
            Ink::Text,
        );
        let note = fit(&shown.note, SMALL, LEFT - GAP);
        scene.text(
            (MARGIN, middle + 10.0),
            &note,
            SMALL,
            Anchor::Start,
            Ink::Muted,
        );
        for (place, (taken_for, photo)) in shown.taken_for.iter().take(PHOTOS).enumerate() {
            let left = MARGIN + LEFT + (SIDE + GAP) * place as f64;
            let (square, (x, y)) = fitted(photo);
            scene.photo((left + x, top + y), square, photo.clone());
            let name = fit(&format!("→ {taken_for}"), SMALL, SIDE);
            let under = (left + SIDE / 2.0, top + SIDE + NAME / 2.0);
            scene.text(under, &name, SMALL, Anchor::Middle, Ink::Text);
        }
    }
    scene
}

/// The size in which a photograph fits into the square, and how far it is from the square's corner.
fn fitted(photo: &RgbImage) -> ((f64, f64), (f64, f64)) {
    let (width, height) = (f64::from(photo.width()), f64::from(photo.height()));
    let scale = SIDE / width.max(height);
    let size = (width * scale, height * scale);
    (size, ((SIDE - size.0) / 2.0, (SIDE - size.1) / 2.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows() -> Vec<MistakeRow> {
        let wide = RgbImage::from_fn(8, 4, |x, _| image::Rgb([(x * 30) as u8, 0, 90]));
        vec![MistakeRow {
            class: "tabby <cat>".into(),
            note: "40.0 % of 10 images".into(),
            taken_for: vec![("tiger".into(), wide.clone()), ("lynx".into(), wide)],
        }]
    }

    #[test]
    fn photographs_are_inside_both_files() {
        let scene = mistake_gallery(&rows());
        let svg = scene.svg().unwrap();
        assert_eq!(svg.matches("href=\"data:image/png;base64,").count(), 2);
        assert!(svg.trim_end().ends_with("</svg>") && svg.contains("→ tiger"));
        let png = image::load_from_memory(&scene.png().unwrap())
            .unwrap()
            .to_rgb8();
        // The middle of the first photograph, two pixels to a unit of layout.
        let at = [MARGIN + LEFT + SIDE / 2.0, TOP + SIDE / 2.0].map(|at| (2.0 * at) as u32);
        let [red, green, blue] = png.get_pixel(at[0], at[1]).0;
        assert!(
            (90..=120).contains(&red) && green == 0 && blue == 90,
            "{red} {green} {blue}"
        );
    }

    #[test]
    fn a_photograph_keeps_its_proportions() {
        let (size, from) = fitted(&RgbImage::new(8, 4));
        assert_eq!((size, from), ((SIDE, SIDE / 2.0), (0.0, SIDE / 4.0)));
    }
}
