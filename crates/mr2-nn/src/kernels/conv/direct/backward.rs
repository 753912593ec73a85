//! Both gradients of a convolution, parallel over images.
//!
//! Where the images are many, one pass over them makes both: what it loads of the output's gradient serves
//! twice while it is in the cache. Where the weight is large, its gradient is split over output channels
//! instead.

use super::passes::{FEW_IMAGES, Passes};
use super::weight::{Gradients, Plan};
use crate::kernels::batch_norm_gradient::{GradientSums, gradient_sums};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::conv::{Backward, Behind, ImageGradient};
use crate::kernels::parallel::per_chunk;
use crate::kernels::pool::Pool;
use crate::kernels::source::Source;
use crate::kernels::vector::Isa;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// The gradients that `work` asks for; and the sums of the batch norm behind, if it asks for those.
pub(in crate::kernels::conv) fn backward(
    isa: Isa,
    g: &Geometry,
    work: Backward<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<GradientSums> {
    let Backward {
        images,
        out_gradient,
        weight,
        weight_gradient,
        image_gradient,
    } = work;
    match (weight_gradient, image_gradient) {
        (None, None) => None,
        (Some(weight_gradient), None) => {
            Plan::new(isa, g).run(images, out_gradient, weight_gradient, pool);
            None
        }
        (None, Some(image_gradient)) => {
            let passes = Passes::backward(isa, g, weight, pool);
            to_images(g, &passes, out_gradient, image_gradient, pool)
        }
        (Some(weight_gradient), Some(image_gradient)) => {
            let plan = Plan::new(isa, g);
            let passes = Passes::backward(isa, g, weight, pool);
            if plan.is_whole() && passes.padded.holds_image() && !passes.is_heavy(g) {
                let mut sums = plan.sums(pool);
                let both = Both {
                    g,
                    plan: &plan,
                    passes: &passes,
                    images,
                    out_gradient,
                };
                let behind = both.run(&mut sums, image_gradient, pool);
                plan.finish(&mut sums, weight_gradient);
                return behind;
            }
            let (mut x, mut dz) = (None, None);
            let images = Source::Values(images.in_memory(g.in_channels, &mut x, pool));
            let gradient = out_gradient.in_memory(g.out_channels, &mut dz, pool);
            let gradient = Source::Values(gradient);
            plan.run(images, gradient, weight_gradient, pool);
            to_images(g, &passes, gradient, image_gradient, pool)
        }
    }
}

/// The gradient of the images alone.
fn to_images(
    g: &Geometry,
    passes: &Passes,
    out_gradient: Source<'_, f32>,
    image_gradient: ImageGradient<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<GradientSums> {
    if passes.is_heavy(g) {
        return heavy_weight(passes, out_gradient, image_gradient, pool);
    }
    if g.batch < FEW_IMAGES {
        return to_few_images(g, passes, out_gradient, image_gradient, pool);
    }
    let (in_image, out_image, chunk) = (g.in_image(), g.out_image(), per_chunk(g.batch));
    let parts: Vec<_> = image_gradient
        .parts(chunk * in_image)
        .into_par_iter()
        .enumerate()
        .map(|(index, mut part)| {
            let mut sums = part.behind.as_ref().map(Behind::sums);
            for image in (0..part.values.len() / in_image).step_by(passes.together()) {
                let last = (image + passes.together()).min(part.values.len() / in_image);
                let first = index * chunk + image;
                let of = first * out_image..(first + last - image) * out_image;
                let padded = passes.padded.of(out_gradient.part(of), pool);
                let range = image * in_image..last * in_image;
                add(passes, &padded, &mut part, range, sums.as_mut());
            }
            sums
        })
        .collect();
    collect(g, parts)
}

/// As [`to_images`], with some input channels as tasks.
fn heavy_weight(
    passes: &Passes,
    out_gradient: Source<'_, f32>,
    image_gradient: ImageGradient<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<GradientSums> {
    let ImageGradient {
        values,
        fresh,
        behind,
    } = image_gradient;
    let accumulate = passes.prepare(fresh, values);
    passes.run_panels(&passes.padded.of(out_gradient, pool), values, accumulate);
    behind.map(|behind| gradient_sums(behind.x, behind.mean, behind.mask, values))
}

/// As [`to_images`], with bands of rows as tasks.
fn to_few_images(
    g: &Geometry,
    passes: &Passes,
    out_gradient: Source<'_, f32>,
    image_gradient: ImageGradient<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<GradientSums> {
    let ImageGradient {
        values,
        fresh,
        behind,
    } = image_gradient;
    let parts: Vec<_> = passes
        .bands(g.in_height, g.batch, values)
        .into_par_iter()
        .map(|(image, rows, values)| {
            let start = image * g.in_image() + rows.start * passes.out_row;
            let accumulate = passes.prepare(fresh, values);
            let gradient = out_gradient.part(image * g.out_image()..(image + 1) * g.out_image());
            passes.run_band(gradient, rows, values, accumulate, pool);
            behind.map(|behind| {
                let mut sums = behind.sums();
                behind
                    .part(start..start + values.len())
                    .add_to(values, &mut sums);
                sums
            })
        })
        .collect();
    collect(g, parts)
}

/// Adds the gradient of some images, and what the batch norm behind sums of it.
fn add(
    passes: &Passes,
    padded: &[f32],
    part: &mut ImageGradient<'_, f32>,
    range: Range<usize>,
    sums: Option<&mut GradientSums>,
) {
    let values = &mut part.values[range.clone()];
    let accumulate = passes.prepare(part.fresh, values);
    passes.run(padded, values, accumulate);
    if let (Some(behind), Some(sums)) = (part.behind, sums) {
        behind.part(range).add_to(values, sums);
    }
}

fn collect(g: &Geometry, parts: Vec<Option<GradientSums>>) -> Option<GradientSums> {
    let parts: Option<Vec<_>> = parts.into_iter().collect();
    parts.map(|parts| GradientSums::of_parts(g.in_channels, &parts))
}

struct Both<'a> {
    g: &'a Geometry,
    plan: &'a Plan,
    passes: &'a Passes,
    images: Source<'a, f32>,
    out_gradient: Source<'a, f32>,
}

impl Both<'_> {
    fn run(
        &self,
        sums: &mut [f32],
        image_gradient: ImageGradient<'_, f32>,
        pool: &Arc<Pool>,
    ) -> Option<GradientSums> {
        let (g, plan) = (self.g, self.plan);
        let (in_image, out_image) = (g.in_image(), g.out_image());
        let parts: Vec<_> = sums
            .par_chunks_exact_mut(plan.chunk_sums())
            .zip(image_gradient.parts(plan.chunk * in_image).into_par_iter())
            .enumerate()
            .map(|(index, (weight_sums, mut part))| {
                let mut sums = part.behind.as_ref().map(Behind::sums);
                let images = part.values.len() / in_image;
                for image in (0..images).step_by(plan.together()) {
                    let last = (image + plan.together()).min(images);
                    let first = index * plan.chunk + image;
                    let of = |size: usize| first * size..(first + last - image) * size;
                    let dz = self.out_gradient.part(of(out_image));
                    let dz = self.passes.padded.of(dz, pool);
                    let x = plan.padded.of(self.images.part(of(in_image)), pool);
                    let gradients = self.inside(&dz);
                    plan.add(&x, last - image, gradients, plan.all(), weight_sums, pool);
                    let range = image * in_image..last * in_image;
                    add(self.passes, &dz, &mut part, range, sums.as_mut());
                }
                sums
            })
            .collect();
        collect(g, parts)
    }

    /// The output's gradient inside of its padded copy.
    fn inside<'a>(&self, dz: &'a [f32]) -> Gradients<'a> {
        let (padded, channels) = (&self.passes.padded, self.g.out_channels);
        let row = padded.width * channels;
        Gradients {
            values: &dz[padded.before[0] * row + padded.before[1] * channels..],
            steps: [padded.step(), row, channels],
        }
    }
}
