//! The convolution of images, cut into tasks by chunks of images, bands of rows, or output channels.

use super::passes::{FEW_IMAGES, Passes};
use crate::kernels::batch_norm::{Moments, part_moments};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::conv::{Finish, Forward};
use crate::kernels::parallel::per_chunk;
use crate::kernels::pool::Pool;
use crate::kernels::source::Source;
use crate::kernels::vector::Isa;
use rayon::prelude::*;
use std::sync::Arc;

/// `out = images * weight`, or added to `out`; then what `finish` asks for, while the output is in the cache.
pub(in crate::kernels::conv) fn forward(
    isa: Isa,
    g: &Geometry,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<Moments> {
    let passes = Passes::forward(isa, g, work.weight, pool);
    let parts = if passes.is_heavy(g) {
        heavy_weight(g, &passes, work, pool)
    } else if g.batch < FEW_IMAGES {
        few_images(g, &passes, work, pool)
    } else {
        many_images(g, &passes, work, pool)
    };
    let parts: Option<Vec<_>> = parts.into_iter().collect();
    parts.map(|parts| Moments::of_parts(g.out_channels, &parts))
}

/// Some output channels are a task: the weight passes by once, whatever the number of images.
fn heavy_weight(
    g: &Geometry,
    passes: &Passes,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Vec<Option<(f64, Moments)>> {
    let images = work.images.kept_in(g.in_channels, work.stored);
    passes.run_panels(&passes.padded.of(images, pool), work.out, work.accumulate);
    let chunk = per_chunk(g.batch) * g.out_image();
    work.out
        .par_chunks_mut(chunk)
        .enumerate()
        .map(|(index, out)| work.finish.part(index * chunk, g.out_channels, out))
        .collect()
}

/// A band of rows of one image is a task.
fn few_images(
    g: &Geometry,
    passes: &Passes,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Vec<Option<(f64, Moments)>> {
    let images = work.images.kept_in(g.in_channels, work.stored);
    passes
        .bands(g.out_height, g.batch, work.out)
        .into_par_iter()
        .map(|(image, rows, out)| {
            let start = image * passes.out_image + rows.start * passes.out_row;
            let images = images.part(image * g.in_image()..(image + 1) * g.in_image());
            passes.run_band(images, rows, out, work.accumulate, pool);
            work.finish.part(start, g.out_channels, out)
        })
        .collect()
}

/// A chunk of images is a task.
fn many_images(
    g: &Geometry,
    passes: &Passes,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Vec<Option<(f64, Moments)>> {
    let (in_image, out_image) = (g.in_image(), g.out_image());
    let chunk = per_chunk(g.batch);
    let mut stored = work
        .stored
        .map(|stored| stored.chunks_mut(chunk * in_image));
    let tasks: Vec<_> = work
        .out
        .chunks_mut(chunk * out_image)
        .enumerate()
        .map(|(index, out)| (index, out, stored.as_mut().and_then(Iterator::next)))
        .collect();
    let task = |(index, out, mut stored): (usize, &mut [f32], Option<&mut [f32]>)| {
        let first = index * chunk;
        let blocks = out.chunks_mut(passes.together() * out_image);
        for (block, out) in blocks.enumerate() {
            let start = block * passes.together();
            let count = out.len() / out_image;
            let of = |image: usize| image * in_image..(image + count) * in_image;
            let images = work.images.part(of(first + start));
            let images = match &mut stored {
                None => images,
                Some(stored) => {
                    let stored = &mut stored[of(start)];
                    images.write(stored);
                    Source::Values(stored)
                }
            };
            passes.run(&passes.padded.of(images, pool), out, work.accumulate);
            if matches!(work.finish, Finish::Affine { .. }) {
                let start = (first + start) * out_image;
                work.finish.part(start, g.out_channels, out);
            }
        }
        match work.finish {
            Finish::Moments => Some(part_moments(out, g.out_channels)),
            _ => None,
        }
    };
    tasks.into_par_iter().map(task).collect()
}
