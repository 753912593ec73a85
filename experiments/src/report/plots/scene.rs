//! A picture as a list of shapes, painted once as SVG and once as PNG with the same layout.
//!
//! Letters are measured, and in PNG drawn, with the font that the program carries, so that no
//! system font is needed and the layout is the same on every machine.

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::imageops::{FilterType, overlay, resize};
use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ink::Ink;

/// Steps per unit of layout that shapes are placed on, since plotters knows whole numbers only.
const STEPS: f64 = 4.0;
/// Pixels of a PNG per unit of layout: sharp on dense screens.
const PIXELS: f64 = 2.0;
/// How far plotters places text above the middle of its letters, as a share of the size.
const SVG_TEXT_DROP: f64 = 0.06;
const PNG_TEXT_DROP: f64 = 0.2;
const FAMILY: &str = "sans-serif";
static FONT: &[u8] = include_bytes!("../../../assets/DejaVuSans-subset.ttf");

/// Which end of a text stands at its position; vertically it is always centred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// One thing to paint, in units of layout from the top left corner.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Path {
        points: Vec<(f64, f64)>,
        ink: Ink,
        width: f64,
    },
    Area {
        points: Vec<(f64, f64)>,
        ink: Ink,
        opacity: f64,
    },
    Disc {
        at: (f64, f64),
        radius: f64,
        ink: Ink,
    },
    Text {
        at: (f64, f64),
        text: String,
        size: f64,
        anchor: Anchor,
        ink: Ink,
    },
}

/// A photograph on a picture: its top left corner, its size, its pixels.
#[derive(Clone, Debug, PartialEq)]
struct Photo {
    at: (f64, f64),
    size: (f64, f64),
    pixels: RgbImage,
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    width: f64,
    height: f64,
    shapes: Vec<Shape>,
    photos: Vec<Photo>,
}

impl Scene {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
            photos: Vec::new(),
        }
    }

    /// A line through points.
    pub fn path(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64) {
        self.shapes.push(Shape::Path { points, ink, width });
    }

    /// A filled polygon.
    pub fn area(&mut self, points: Vec<(f64, f64)>, ink: Ink, opacity: f64) {
        self.shapes.push(Shape::Area {
            points,
            ink,
            opacity,
        });
    }

    /// A filled rectangle between two corners.
    pub fn rectangle(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink) {
        let corners = vec![from, (to.0, from.1), to, (from.0, to.1)];
        self.area(corners, ink, 1.0);
    }

    /// A disc.
    pub fn disc(&mut self, at: (f64, f64), radius: f64, ink: Ink) {
        self.shapes.push(Shape::Disc { at, radius, ink });
    }

    /// A line of text.
    pub fn text(&mut self, at: (f64, f64), text: &str, size: f64, anchor: Anchor, ink: Ink) {
        let text = crate::report::escape::terminal(text);
        self.shapes.push(Shape::Text {
            at,
            text,
            size,
            anchor,
            ink,
        });
    }

    /// A photograph, above everything else, as large as `size` and not in its own proportions.
    pub fn photo(&mut self, at: (f64, f64), size: (f64, f64), pixels: RgbImage) {
        self.photos.push(Photo { at, size, pixels });
    }

    /// The picture as an SVG document.
    ///
    /// # Errors
    /// When the font that the program carries can't be used.
    pub fn svg(&self) -> Result<String> {
        load_font()?;
        let (width, height) = self.steps();
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
            self.paint(&root, SVG_TEXT_DROP)?;
        }
        // Shown at the size of the layout; the view box keeps the finer steps.
        let fine = format!("width=\"{width}\" height=\"{height}\"");
        let shown = format!("width=\"{:.0}\" height=\"{:.0}\"", self.width, self.height);
        let text = text.replacen(&fine, &shown, 1);
        let photos: Vec<String> = self.photos.iter().map(Photo::svg).collect::<Result<_>>()?;
        match text.rfind("</svg>") {
            Some(end) => Ok(format!(
                "{}{}{}",
                &text[..end],
                photos.concat(),
                &text[end..]
            )),
            None => Ok(text),
        }
    }

    /// The picture as a PNG file, drawn finer than it is saved, for smooth lines.
    ///
    /// # Errors
    /// When the font can't be used or the picture can't be encoded.
    pub fn png(&self) -> Result<Vec<u8>> {
        load_font()?;
        let (width, height) = self.steps();
        let mut pixels = vec![0; width as usize * height as usize * 3];
        {
            let root = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
            self.paint(&root, PNG_TEXT_DROP)?;
        }
        let fine = image::RgbImage::from_raw(width, height, pixels)
            .ok_or_else(|| anyhow!("a plot of {width} × {height} pixels has no such buffer"))?;
        let shrunk = |side: u32| (f64::from(side) * PIXELS / STEPS) as u32;
        let mut image = image::imageops::thumbnail(&fine, shrunk(width), shrunk(height));
        for photo in &self.photos {
            let [width, height] = [photo.size.0, photo.size.1].map(|side| (side * PIXELS) as u32);
            let small = resize(&photo.pixels, width, height, FilterType::Triangle);
            let [x, y] = [photo.at.0, photo.at.1].map(|at| (at * PIXELS) as i64);
            overlay(&mut image, &small, x, y);
        }
        encoded(&image)
    }

    fn steps(&self) -> (u32, u32) {
        (
            (self.width * STEPS).ceil() as u32,
            (self.height * STEPS).ceil() as u32,
        )
    }

    fn paint<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>, text_drop: f64) -> Result<()> {
        let wrong = |e: DrawingAreaErrorKind<B::ErrorType>| anyhow!("cannot draw a plot: {e}");
        root.fill(&Ink::Paper.colour()).map_err(wrong)?;
        for shape in &self.shapes {
            paint_shape(root, shape, text_drop).map_err(wrong)?;
        }
        root.present().map_err(wrong)
    }
}

impl Photo {
    /// An element of an SVG document, the pixels inside it.
    fn svg(&self) -> Result<String> {
        let [x, y] = [self.at.0, self.at.1].map(|at| at * STEPS);
        let [width, height] = [self.size.0, self.size.1].map(|side| side * STEPS);
        let data = STANDARD.encode(encoded(&self.pixels)?);
        Ok(format!(
            "<image x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
             preserveAspectRatio=\"none\" href=\"data:image/png;base64,{data}\"/>\n"
        ))
    }
}

/// As a PNG file.
fn encoded(image: &RgbImage) -> Result<Vec<u8>> {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}

fn paint_shape<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    shape: &Shape,
    text_drop: f64,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let step = |(x, y): (f64, f64)| ((x * STEPS).round() as i32, (y * STEPS).round() as i32);
    let steps = |points: &[(f64, f64)]| points.iter().map(|&p| step(p)).collect::<Vec<_>>();
    match shape {
        Shape::Path { points, ink, width } => {
            let stroke = (width * STEPS).round().max(1.0) as u32;
            root.draw(&PathElement::new(
                steps(points),
                ink.colour().stroke_width(stroke),
            ))
        }
        Shape::Area {
            points,
            ink,
            opacity,
        } => root.draw(&Polygon::new(
            steps(points),
            ink.colour().mix(*opacity).filled(),
        )),
        Shape::Disc { at, radius, ink } => root.draw(&Circle::new(
            step(*at),
            radius * STEPS,
            ink.colour().filled(),
        )),
        Shape::Text {
            at,
            text,
            size,
            anchor,
            ink,
        } => {
            let h_pos = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let style = (FAMILY, size * STEPS)
                .into_font()
                .color(&ink.colour())
                .pos(Pos::new(h_pos, VPos::Center));
            root.draw(&Text::new(
                text.as_str(),
                step((at.0, at.1 + size * text_drop)),
                style,
            ))
        }
    }
}

/// Width of a text in units of layout.
pub fn text_width(text: &str, size: f64) -> f64 {
    let text = crate::report::escape::terminal(text);
    let measured = load_font().ok().and_then(|()| {
        let box_ = (FAMILY, size * STEPS).into_font().box_size(&text).ok()?;
        Some(f64::from(box_.0) / STEPS)
    });
    measured.unwrap_or(text.chars().count() as f64 * size * 0.6)
}

/// The text, cut with … where it is wider than `width`.
pub fn fit(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_string();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while !kept.is_empty() {
        kept.pop();
        let cut = format!("{}…", kept.iter().collect::<String>().trim_end());
        if text_width(&cut, size) <= width {
            return cut;
        }
    }
    "…".into()
}

fn load_font() -> Result<()> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let loaded = *LOADED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, FONT).is_ok());
    if loaded {
        Ok(())
    } else {
        Err(anyhow!("the font that mr2 carries can't be read"))
    }
}
