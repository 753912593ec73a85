//! What lies around the first frame of a GIF that doesn't fill its screen: for Pillow the frame's
//! transparent colour, or else the first of its palette.

use image::{DynamicImage, Rgba};
use std::ops::Range;

/// The place of the first frame and the colour around it.
struct Surround {
    columns: Range<u32>,
    rows: Range<u32>,
    colour: [u8; 3],
}

/// Paints what the first frame leaves free.
pub(super) fn paint_surround(encoded: &[u8], decoded: &mut DynamicImage) {
    let (Some(surround), Some(pixels)) = (surround(encoded), decoded.as_mut_rgba8()) else {
        return;
    };
    let [r, g, b] = surround.colour;
    for (column, row, pixel) in pixels.enumerate_pixels_mut() {
        if !surround.columns.contains(&column) || !surround.rows.contains(&row) {
            *pixel = Rgba([r, g, b, 255]);
        }
    }
}

/// `None` for a file that is damaged, which the decoder has refused.
fn surround(encoded: &[u8]) -> Option<Surround> {
    let (screen, mut rest) = encoded.split_at_checked(13)?;
    let mut palette = take_palette(screen[10], &mut rest)?;
    let mut transparent = None;
    loop {
        match rest.first()? {
            0x21 => {
                if let [0x21, 0xF9, 4, flags, _, _, index, ..] = rest {
                    transparent = (flags & 1 == 1).then_some(*index);
                }
                rest = rest.get(2..)?;
                loop {
                    let length = usize::from(*rest.first()?);
                    rest = rest.get(1 + length..)?;
                    if length == 0 {
                        break;
                    }
                }
            }
            0x2C => {
                let (frame, after) = rest.split_at_checked(10)?;
                rest = after;
                let word = |at| u32::from(u16::from_le_bytes([frame[at], frame[at + 1]]));
                let local = take_palette(frame[9], &mut rest)?;
                if !local.is_empty() {
                    palette = local;
                }
                let at = 3 * usize::from(transparent.unwrap_or(0));
                let colour = palette.get(at..)?.first_chunk()?;
                return Some(Surround {
                    columns: word(1)..word(1) + word(5),
                    rows: word(3)..word(3) + word(7),
                    colour: *colour,
                });
            }
            _ => return None,
        }
    }
}

/// Takes the palette that `flags` announce, empty for none.
fn take_palette<'a>(flags: u8, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let colours = match flags & 0x80 {
        0 => 0,
        _ => 2usize << (flags & 7),
    };
    let (palette, after) = rest.split_at_checked(3 * colours)?;
    *rest = after;
    Some(palette)
}
