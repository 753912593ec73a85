//! The colours of plots, by what they are for.

use plotters::style::RGBColor;

/// What a shape is for; the colour follows from it.
///
/// Methods differ in hue and, for greyscale prints, in lightness (31, 51 and 69 of 100); the
/// smallest difference under a simulated lack of red, green or blue cones is 39 (CIE76). The ramp
/// is a part of viridis, whose lightness grows all the way, without the ends that would vanish on
/// a dark or a light page. `report.css` maps the neutral inks, and the darkest of the others, to
/// lighter ones on dark pages by these very values.
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
pub const RAMP: [RGBColor; 12] = [
    RGBColor(0x47, 0x2A, 0x79),
    RGBColor(0x42, 0x3F, 0x84),
    RGBColor(0x3B, 0x51, 0x8A),
    RGBColor(0x34, 0x62, 0x8D),
    RGBColor(0x2D, 0x72, 0x8E),
    RGBColor(0x27, 0x82, 0x8D),
    RGBColor(0x21, 0x91, 0x8C),
    RGBColor(0x22, 0xA0, 0x87),
    RGBColor(0x2C, 0xAF, 0x7E),
    RGBColor(0x42, 0xBD, 0x71),
    RGBColor(0x62, 0xC9, 0x5F),
    RGBColor(0x87, 0xD4, 0x48),
];

impl Ink {
    /// Its colour on a light page.
    pub fn colour(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(0x1A, 0x1C, 0x1F),
            Self::Muted => RGBColor(0x5C, 0x63, 0x6B),
            Self::Grid => RGBColor(0xDD, 0xE1, 0xE5),
            Self::Paper => RGBColor(0xFF, 0xFF, 0xFF),
            Self::Series(0) => RGBColor(0x00, 0x4B, 0x87),
            Self::Series(1) => RGBColor(0xCC, 0x55, 0x00),
            Self::Series(_) => RGBColor(0x5C, 0xB8, 0xA0),
            Self::Ramp(share) => {
                let step = (share.clamp(0.0, 1.0) * RAMP.len() as f64) as usize;
                RAMP[step.min(RAMP.len() - 1)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lightness L* (0 to 100) of sRGB.
    fn lightness(RGBColor(r, g, b): RGBColor) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        116.0 * luminance.cbrt() - 16.0
    }

    #[test]
    fn methods_and_classes_can_be_told_apart_in_greyscale() {
        let series = [0, 1, 2].map(|i| lightness(Ink::Series(i).colour()));
        assert!(series.windows(2).all(|w| w[1] - w[0] > 15.0), "{series:?}");
        let ramp = RAMP.map(lightness);
        assert!(ramp.windows(2).all(|w| w[1] - w[0] > 3.0), "{ramp:?}");
    }

    #[test]
    fn the_style_sheet_knows_the_colours_that_it_changes() {
        let style = include_str!("../../../assets/report.css");
        let inks = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Paper, Ink::Series(0)];
        let ramp = (0..5).map(|step| Ink::Ramp(step as f64 / RAMP.len() as f64));
        for ink in inks.into_iter().chain(ramp) {
            let RGBColor(r, g, b) = ink.colour();
            let rule = format!("[fill=\"#{r:02X}{g:02X}{b:02X}\"]");
            assert!(style.contains(&rule), "report.css has no rule {rule}");
        }
    }
}
