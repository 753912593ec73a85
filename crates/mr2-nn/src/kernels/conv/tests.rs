//! Every way to compute a convolution against products of patches, on every instruction set.

#![allow(clippy::unwrap_used)]

use super::*;

fn geometry(
    (batch, in_channels, out_channels): (usize, usize, usize),
    (height, width): (usize, usize),
    (kernel, stride, padding): (usize, usize, usize),
) -> Geometry {
    let outputs = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    Geometry {
        batch,
        in_channels,
        in_height: height,
        in_width: width,
        out_channels,
        out_height: outputs(height),
        out_width: outputs(width),
        kernel,
        stride,
        padding: [padding; 2],
        dilation: 1,
        groups: 1,
    }
}

/// Odd sizes, one channel, channels that fill no vector, strides that leave a border, padding beyond
/// the kernel's reach.
fn grid() -> Vec<Geometry> {
    let mut grid = Vec::new();
    for channels in [
        (2, 3, 16),
        (3, 16, 16),
        (1, 1, 1),
        (2, 17, 5),
        (2, 5, 17),
        (5, 32, 48),
        (2, 40, 33),
    ] {
        for size in [(5, 8), (8, 7), (9, 17)] {
            for window in [
                (3, 1, 1),
                (3, 2, 1),
                (1, 1, 0),
                (1, 2, 0),
                (7, 2, 3),
                (5, 1, 0),
                (3, 1, 2),
                (3, 3, 0),
                (2, 2, 0),
                (3, 1, 4),
            ] {
                if size.0.min(size.1) + 2 * window.2 >= window.0 {
                    grid.push(geometry(channels, size, window));
                }
            }
        }
    }
    let more: Vec<Geometry> = grid.iter().filter_map(same).collect();
    grid.extend(more);
    // Miri takes a thousand times as long.
    if cfg!(miri) {
        grid.retain(|g| g.weights() * g.out_image() / g.out_channels <= 4_000);
        grid = grid.into_iter().step_by(9).collect();
    }
    grid
}

/// The convolution with TensorFlow's padding, which may differ between the sides and between the axes.
fn same(g: &Geometry) -> Option<Geometry> {
    let axis = |size| same_padding(size, g.kernel, g.stride, g.dilation);
    let ((out_height, rows), (out_width, cols)) = (axis(g.in_height), axis(g.in_width));
    let padded = Geometry {
        out_height,
        out_width,
        padding: [rows, cols],
        ..*g
    };
    (padded.more_behind() != [0, 0]).then_some(padded)
}

fn values(len: usize, seed: usize) -> Vec<f32> {
    let value = |index: usize| ((index * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5;
    (0..len).map(value).collect()
}

fn plain_forward<'a>(images: &'a [f32], weight: &'a [f32], out: &'a mut [f32]) -> Forward<'a, f32> {
    Forward {
        images: Source::Values(images),
        stored: None,
        weight,
        accumulate: false,
        finish: Finish::Nothing,
        out,
    }
}

fn plain_backward<'a>(
    images: &'a [f32],
    out_gradient: &'a [f32],
    weight: &'a [f32],
    weight_gradient: Option<&'a mut [f32]>,
    image_gradient: Option<&'a mut [f32]>,
) -> Backward<'a, f32> {
    Backward {
        images: Source::Values(images),
        out_gradient: Source::Values(out_gradient),
        weight,
        weight_gradient,
        image_gradient: image_gradient.map(|values| ImageGradient {
            values,
            fresh: false,
            behind: None,
        }),
    }
}

fn close(what: &str, g: &Geometry, isa: Isa, got: &[f32], expected: &[f64]) {
    let largest = expected
        .iter()
        .fold(1e-6, |largest: f64, value| largest.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (f64::from(*got) - expected).abs() < 1e-5 * largest,
            "{what} {isa:?} {g:?}: {got}, expected {expected}"
        );
    }
}

#[test]
fn every_instruction_set_gives_what_products_of_patches_give() {
    let pool = Arc::default();
    let wide = |values: &[f32]| {
        values
            .iter()
            .map(|&value| f64::from(value))
            .collect::<Vec<_>>()
    };
    for g in grid() {
        let images = values(g.batch * g.in_image(), 1);
        let weight = values(g.weights(), 2);
        let out_gradient = values(g.batch * g.out_image(), 3);
        let (images64, weight64, gradient64) = (wide(&images), wide(&weight), wide(&out_gradient));
        let mut out64 = vec![0.0; out_gradient.len()];
        patches::forward(&g, &images64, &weight64, &mut out64, false, &pool);
        let mut image64 = vec![1.0; images.len()];
        patches::image_gradient(&g, &weight64, &gradient64, &mut image64, &pool);
        let mut sum64 = vec![0.0; weight.len()];
        patches::weight_gradient(&g, &images64, &gradient64, &mut sum64, &pool);
        for &isa in Isa::available() {
            let mut out = vec![f32::NAN; out_gradient.len()];
            direct::forward(isa, &g, plain_forward(&images, &weight, &mut out), &pool);
            close("forward", &g, isa, &out, &out64);
            for apart in [false, true] {
                let (mut dx, mut dw) = (vec![1.0; images.len()], vec![f32::NAN; weight.len()]);
                let (first, second) = (Some(&mut dw[..]), Some(&mut dx[..]));
                if apart {
                    let work = plain_backward(&images, &out_gradient, &weight, first, None);
                    direct::backward(isa, &g, work, &pool);
                    let work = plain_backward(&images, &out_gradient, &weight, None, second);
                    direct::backward(isa, &g, work, &pool);
                } else {
                    let work = plain_backward(&images, &out_gradient, &weight, first, second);
                    direct::backward(isa, &g, work, &pool);
                }
                close("images", &g, isa, &dx, &image64);
                close("weight", &g, isa, &dw, &sum64);
            }
        }
    }
}

#[test]
fn channels_by_themselves_give_what_products_of_patches_give() {
    let pool = Arc::default();
    for plain in grid() {
        for dilation in [1, 2] {
            let reach = dilation * (plain.kernel - 1) + 1;
            let padded = plain.in_height.min(plain.in_width) + 2 * plain.padding[0];
            if plain.in_channels == 1 || padded < reach {
                continue;
            }
            let outputs = |size: usize| (size + 2 * plain.padding[0] - reach) / plain.stride + 1;
            let mut g = Geometry {
                out_channels: plain.in_channels,
                groups: plain.in_channels,
                dilation,
                ..plain
            };
            if plain.more_behind() == [0, 0] {
                g.out_height = outputs(plain.in_height);
                g.out_width = outputs(plain.in_width);
            } else if let Some(padded) = same(&g) {
                g = padded;
            }
            assert!(depthwise::suits(&g));
            let wide =
                |len, seed| -> Vec<f64> { values(len, seed).into_iter().map(f64::from).collect() };
            let (images, weight) = (wide(g.batch * g.in_image(), 1), wide(g.weights(), 2));
            let gradient = wide(g.batch * g.out_image(), 3);
            let mut results = [true, false].map(|own| {
                let mut out = vec![0.5; gradient.len()];
                let mut dx = vec![0.5; images.len()];
                let mut dw = vec![0.0; weight.len()];
                if own {
                    depthwise::forward(&g, &images, &weight, &mut out, true, |_, _| ());
                    depthwise::image_gradient(&g, &weight, &gradient, &mut dx);
                    depthwise::weight_gradient(&g, &images, &gradient, &mut dw);
                } else {
                    patches::forward(&g, &images, &weight, &mut out, true, &pool);
                    patches::image_gradient(&g, &weight, &gradient, &mut dx, &pool);
                    patches::weight_gradient(&g, &images, &gradient, &mut dw, &pool);
                }
                [out, dx, dw].concat()
            });
            let expected = std::mem::take(&mut results[1]);
            for (got, expected) in results[0].iter().zip(expected) {
                assert!(
                    (got - expected).abs() < 1e-12,
                    "{g:?}: {got}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let pool = Arc::default();
    for g in [
        geometry((19, 16, 32), (9, 9), (3, 2, 1)),
        geometry((3, 32, 272), (7, 7), (3, 1, 1)),
    ] {
        let images = values(g.batch * g.in_image(), 1);
        let weight = values(g.weights(), 2);
        let out_gradient = values(g.batch * g.out_image(), 3);
        let results = [1, 2, 3].map(|threads| {
            let threads = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            threads.install(|| {
                let mut out = vec![0.0; out_gradient.len()];
                forward(&g, plain_forward(&images, &weight, &mut out), &pool);
                let (mut dx, mut dw) = (vec![0.0; images.len()], vec![0.0; weight.len()]);
                let (to_weight, to_images) = (Some(&mut dw[..]), Some(&mut dx[..]));
                let work = plain_backward(&images, &out_gradient, &weight, to_weight, to_images);
                backward(&g, work, &pool);
                (out, dx, dw)
            })
        });
        assert!(
            results[0] == results[1] && results[0] == results[2],
            "{g:?}"
        );
    }
}
