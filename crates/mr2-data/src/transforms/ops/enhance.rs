//! Blends of an image with a degenerate version of itself, as in Pillow's `ImageEnhance`: `factor` 0
//! is the degenerate one, 1 the image, and beyond it is extrapolated.

use crate::transforms::Canvas;

/// With black.
pub(super) fn brightness(canvas: &mut Canvas, factor: f32) {
    blend(canvas, factor, |_, to| to.fill(0));
}

/// With its grey version.
pub(super) fn color(canvas: &mut Canvas, factor: f32) {
    if canvas.channels == 3 {
        blend(canvas, factor, |from, to| {
            let pixels = from.pixels().chunks_exact(3).zip(to.chunks_exact_mut(3));
            pixels.for_each(|(pixel, grey)| grey.fill(luma(pixel)));
        });
    }
}

/// With the mean of its grey version, rounded.
pub(super) fn contrast(canvas: &mut Canvas, factor: f32) {
    blend(canvas, factor, |from, to| {
        let pixels = from.pixels().chunks_exact(from.channels);
        let count = pixels.len() as f64;
        let sum: u64 = pixels.map(|pixel| u64::from(luma(pixel))).sum();
        to.fill((sum as f64 / count + 0.5) as u8);
    });
}

/// With a smoothed version.
pub(super) fn sharpness(canvas: &mut Canvas, factor: f32) {
    blend(canvas, factor, smooth);
}

/// Pillow's conversion of RGB to grey (ITU-R 601-2 in 16-bit fixed point).
pub(crate) fn luma(pixel: &[u8]) -> u8 {
    match *pixel {
        [r, g, b] => {
            let [r, g, b] = [r, g, b].map(u32::from);
            ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
        }
        _ => pixel[0],
    }
}

/// `libImaging/Blend.c`: f32, cut to a byte.
fn blend(canvas: &mut Canvas, factor: f32, degenerate: impl FnOnce(&Canvas, &mut [u8])) {
    if factor == 1.0 {
        return;
    }
    let (height, width) = (canvas.height, canvas.width);
    canvas.repaint(height, width, |from, to| {
        degenerate(from, to);
        if factor == 0.0 {
            return;
        }
        for (target, &byte) in to.iter_mut().zip(from.pixels()) {
            let base = f32::from(*target);
            // `as` cuts below 0 and above 255 too, which only extrapolation reaches.
            *target = (base + factor * (f32::from(byte) - base)) as u8;
        }
    });
}

/// `ImageFilter.SMOOTH`: a 3 x 3 mean whose centre counts five times; the border stays as it is.
fn smooth(from: &Canvas, to: &mut [u8]) {
    let (height, width, channels) = (from.height, from.width, from.channels);
    to.copy_from_slice(from.pixels());
    if height < 3 || width < 3 {
        return;
    }
    let (outer, centre) = (1.0 / 13.0f32, 5.0 / 13.0f32);
    let row_len = width * channels;
    for row in 1..height - 1 {
        let line = |row: usize| &from.pixels()[row * row_len..(row + 1) * row_len];
        let (above, here, below) = (line(row - 1), line(row), line(row + 1));
        let inner = row * row_len + channels..(row + 1) * row_len - channels;
        for (at, target) in (channels..).zip(&mut to[inner]) {
            let three = |line: &[u8], middle: f32| {
                let value = |at: usize| f32::from(line[at]);
                value(at - channels) * outer + value(at) * middle + value(at + channels) * outer
            };
            let sum = 0.5 + three(below, outer) + three(here, centre) + three(above, outer);
            *target = sum as u8;
        }
    }
}
