//! The colours of plots, by what they are for.

use plotters::style::RGBColor;

/// What a shape is for; the colour follows from it.
///
/// Series are Okabe and Ito's palette, the ramp runs from hard (orange) to easy (blue): both can be
/// told apart with any common colour blindness. `report.css` maps the neutral inks and the ramp's
/// middle to lighter ones on dark pages by these very values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ink {
    /// Titles and names.
    Text,
    /// Axis labels.
    Muted,
    /// Grid lines.
    Grid,
    /// The page.
    Paper,
    /// First, second or third method.
    Series(usize),
    /// From 0 (hardest) to 1 (easiest).
    Ramp(f64),
}

/// Steps of [`Ink::Ramp`].
pub const RAMP: [RGBColor; 7] = [
    RGBColor(0xB3, 0x58, 0x06),
    RGBColor(0xE0, 0x82, 0x14),
    RGBColor(0xC9, 0xA2, 0x6A),
    RGBColor(0x8C, 0x8C, 0x8C),
    RGBColor(0x7F, 0xA3, 0xC7),
    RGBColor(0x3F, 0x82, 0xBD),
    RGBColor(0x08, 0x51, 0x9C),
];

impl Ink {
    /// Its colour on a light page.
    pub fn colour(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(0x1A, 0x1C, 0x1F),
            Self::Muted => RGBColor(0x5C, 0x63, 0x6B),
            Self::Grid => RGBColor(0xDD, 0xE1, 0xE5),
            Self::Paper => RGBColor(0xFF, 0xFF, 0xFF),
            Self::Series(0) => RGBColor(0x00, 0x72, 0xB2),
            Self::Series(1) => RGBColor(0xD5, 0x5E, 0x00),
            Self::Series(_) => RGBColor(0x00, 0x9E, 0x73),
            Self::Ramp(share) => {
                let step = (share.clamp(0.0, 1.0) * RAMP.len() as f64) as usize;
                RAMP[step.min(RAMP.len() - 1)]
            }
        }
    }
}
