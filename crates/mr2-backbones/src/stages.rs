//! What the residual families share: convolutions without bias, and stages of blocks.
use candle_core::{Result, bail};
use candle_nn::{Init, VarBuilder};
use mr2_nn::layers::{BatchNormConfig, Conv2d, Conv2dConfig};

/// PyTorch's constants.
pub(crate) const BATCH_NORM: BatchNormConfig = BatchNormConfig {
    eps: 1e-5,
    momentum: 0.1,
};

/// A convolution without bias that keeps the image size at stride 1.
pub(crate) fn conv(
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    init: Init,
    vb: VarBuilder,
) -> Result<Conv2d> {
    let config = Conv2dConfig {
        stride,
        padding: kernel / 2,
        dilation: 1,
        groups: 1,
        bias: false,
    };
    Conv2d::with_init(in_channels, out_channels, kernel, config, init, vb)
}

/// The blocks of a net of `6 n + extra` layers with three stages of `n` blocks each.
pub(crate) fn blocks_per_stage(depth: usize, extra: usize) -> Result<usize> {
    if depth <= extra || !(depth - extra).is_multiple_of(6) {
        bail!("depth must be 6 n + {extra} with n at least 1, got {depth}")
    }
    Ok((depth - extra) / 6)
}

/// What a block needs to know of its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) stride: usize,
}

/// Builds the blocks of all stages, `widths` channels wide; from the second on, a stage begins with
/// stride 2. `path` names a block by its stage, counted from 1, and its number, counted from 0.
pub(crate) fn stages<'a, B, const N: usize>(
    stem: usize,
    widths: [usize; N],
    blocks: [usize; N],
    vb: &VarBuilder<'a>,
    path: impl Fn(usize, usize) -> String,
    new: impl Fn(Place, VarBuilder<'a>) -> Result<B>,
) -> Result<Vec<B>> {
    let mut built = Vec::with_capacity(blocks.iter().sum());
    let mut in_channels = stem;
    for (stage, (out_channels, blocks)) in widths.into_iter().zip(blocks).enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let place = Place {
                in_channels,
                out_channels,
                stride,
            };
            built.push(new(place, vb.pp(path(stage + 1, block)))?);
            in_channels = out_channels;
        }
    }
    Ok(built)
}
