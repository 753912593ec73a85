//! Operations that look each byte up in a table of its channel, as in Pillow's `ImageOps`.

use crate::transforms::Canvas;

type Table = [u8; 256];

/// Keeps the highest bits, 1 to 8.
pub(super) fn posterize(canvas: &mut Canvas, bits: u32) {
    let mask = !((1u32 << (8 - bits)) - 1) as u8;
    map(canvas, |byte| byte & mask);
}

/// Inverts bytes from the threshold on.
pub(super) fn solarize(canvas: &mut Canvas, threshold: f64) {
    map(canvas, |byte| match f64::from(byte) < threshold {
        true => byte,
        false => 255 - byte,
    });
}

/// Inverts all bytes.
pub(super) fn invert(canvas: &mut Canvas) {
    map(canvas, |byte| 255 - byte);
}

/// Stretches each channel to 0..=255.
pub(super) fn auto_contrast(canvas: &mut Canvas) {
    by_channel(canvas, |counts| {
        let darkest = counts.iter().position(|&count| count > 0)?;
        let lightest = counts.iter().rposition(|&count| count > 0)?;
        if lightest <= darkest {
            return None;
        }
        let scale = 255.0 / (lightest - darkest) as f64;
        let offset = -(darkest as f64) * scale;
        Some(std::array::from_fn(|byte| {
            (byte as f64 * scale + offset) as u8
        }))
    });
}

/// Flattens each channel's histogram.
pub(super) fn equalize(canvas: &mut Canvas) {
    by_channel(canvas, |counts| {
        let last = *counts.iter().rfind(|&&count| count > 0)?;
        let step = (counts.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        Some(counts.map(|count| {
            let byte = (sum / step).min(255) as u8;
            sum += count;
            byte
        }))
    });
}

fn map(canvas: &mut Canvas, value: impl Fn(u8) -> u8) {
    for row in canvas.rows_mut() {
        row.iter_mut().for_each(|byte| *byte = value(*byte));
    }
}

/// Applies the table made of each channel's histogram; without a table the channel stays.
fn by_channel(canvas: &mut Canvas, table: impl Fn([usize; 256]) -> Option<Table>) {
    let channels = canvas.channels;
    for channel in 0..channels {
        let mut counts = [0; 256];
        for &byte in canvas.pixels()[channel..].iter().step_by(channels) {
            counts[usize::from(byte)] += 1;
        }
        let Some(table) = table(counts) else { continue };
        for row in canvas.rows_mut() {
            for byte in row[channel..].iter_mut().step_by(channels) {
                *byte = table[usize::from(*byte)];
            }
        }
    }
}
