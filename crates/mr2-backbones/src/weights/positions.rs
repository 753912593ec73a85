//! Position embeddings for another number of patches, each library's way.
//!
//! All are bicubic, with pixels' centres at halves. They differ in whether a coarser grid averages over the
//! finer one (antialias; the kernel's parameter is then -0.5, else -0.75, as in PyTorch), and in what Meta's
//! code adds to the new size. From 37 x 37 to 16 x 16 patches these choices change smooth positions by 14 to
//! 22 %, so the choice belongs to the weights.
use candle_core::{DType, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

/// Whose way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// transformers' `interpolate_pos_encoding` of ViT, ViTMAE, CLIP and DINOv2: no antialias.
    Transformers,
    /// timm's `resample_abs_pos_embed`: antialias.
    Timm,
    /// open_clip's `resize_pos_embed`: as timm.
    OpenClip,
    /// MAE's `interpolate_pos_embed`: as transformers.
    Mae,
    /// Meta's DINOv2: no antialias, and the scale is that of n + 0.1 patches instead of n.
    Meta,
}

impl Interpolation {
    fn antialias(self) -> bool {
        matches!(self, Self::Timm | Self::OpenClip)
    }

    /// Inputs for each output.
    fn scale(self, inputs: usize, outputs: usize) -> f64 {
        let more = match self {
            Self::Meta => 0.1,
            _ => 0.0,
        };
        inputs as f64 / (outputs as f64 + more)
    }
}

/// Positions for a grid of (rows, columns). The class token's, the first, stays; a grid that is the old one
/// changes nothing.
///
/// # Shapes
/// `positions` (1, 1 + side², features), of a square grid; the result is (1, 1 + rows x columns, features).
///
/// # Errors
/// Another shape, a grid without patches.
pub fn interpolate(positions: &Tensor, grid: [usize; 2], how: Interpolation) -> Result<Tensor> {
    let (side, features) = sizes(positions)?;
    let [rows, columns] = grid;
    if rows == 0 || columns == 0 {
        bail!("pos_embed: a grid of {rows} x {columns} patches has none");
    }
    if grid == [side, side] {
        return Ok(positions.clone());
    }
    let values: Vec<f64> = positions.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let (class, patches) = values.split_at(features);
    let wide = resample(patches, [side, side, features], columns, how);
    // Rows are now resampled as the columns of a grid of one row of `columns` x `features` values.
    let whole = resample(&wide, [1, side, columns * features], rows, how);
    let all = [class, &whole].concat();
    let shape = (1, 1 + rows * columns, features);
    Tensor::from_vec(all, shape, positions.device())?.to_dtype(positions.dtype())
}

/// Side of the grid and length of a position.
pub(crate) fn sizes(positions: &Tensor) -> Result<(usize, usize)> {
    let side = |tokens: usize| tokens.saturating_sub(1).isqrt();
    match *positions.dims() {
        [1, tokens, features] if tokens > 1 && side(tokens).pow(2) + 1 == tokens => {
            Ok((side(tokens), features))
        }
        _ => bail!(
            "pos_embed: expected (1, 1 + side², features), a class token and a square grid, got {:?}",
            positions.dims()
        ),
    }
}

/// `values` (rows, inputs, features) with `outputs` instead of `inputs`.
fn resample(
    values: &[f64],
    [rows, inputs, features]: [usize; 3],
    outputs: usize,
    how: Interpolation,
) -> Vec<f64> {
    let taps: Vec<_> = (0..outputs)
        .map(|output| taps(output, inputs, how.scale(inputs, outputs), how.antialias()))
        .collect();
    let mut out = vec![0.0; rows * outputs * features];
    for (row, out) in values
        .chunks_exact(inputs * features)
        .zip(out.chunks_exact_mut(outputs * features))
    {
        for (out, taps) in out.chunks_exact_mut(features).zip(&taps) {
            for &(input, weight) in taps {
                let values = &row[input * features..(input + 1) * features];
                for (out, value) in out.iter_mut().zip(values) {
                    *out += weight * value;
                }
            }
        }
    }
    out
}

/// The inputs that make an output, and their weights.
fn taps(output: usize, inputs: usize, scale: f64, antialias: bool) -> Vec<(usize, f64)> {
    let centre = scale * (output as f64 + 0.5);
    if !antialias {
        // Inputs beyond the edge are the edge's.
        let first = (centre - 0.5).floor();
        let tap = |i: i32| {
            let at = first + f64::from(i);
            let input = at.clamp(0.0, (inputs - 1) as f64) as usize;
            (input, cubic(centre - 0.5 - at, -0.75))
        };
        return (-1..=2).map(tap).collect();
    }
    // Inputs beyond the edge don't count.
    let stretch = scale.max(1.0);
    let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
    let last = ((centre + 2.0 * stretch + 0.5) as usize).min(inputs);
    let tap = |input: usize| {
        let distance = (input as f64 - centre + 0.5) / stretch;
        (input, cubic(distance, -0.5))
    };
    let taps: Vec<_> = (first..last).map(tap).collect();
    let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
    taps.into_iter()
        .map(|(i, weight)| (i, weight / sum))
        .collect()
}

/// Keys' cubic convolution kernel with parameter `a` (Keys 1981, doi 10.1109/TASSP.1981.1163711).
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        a * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}
