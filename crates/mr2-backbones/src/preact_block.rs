//! The residual block with normalisation before convolution (He et al. 2016, arXiv 1603.05027).
use candle_core::Result;
use candle_nn::{Init, VarBuilder};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{BatchNorm2d, Conv2d, Dropout};

use crate::stages::{BATCH_NORM, Place, conv};

/// `x + conv2(dropout(relu(bn2(conv1(relu(bn1(x)))))))`. Where the width changes, a 1 x 1
/// convolution of `relu(bn1(x))` takes the place of `x`.
#[derive(Debug, Clone)]
pub(crate) struct PreActBlock {
    bn1: BatchNorm2d,
    conv1: Conv2d,
    bn2: BatchNorm2d,
    dropout: Dropout,
    conv2: Conv2d,
    projection: Option<Conv2d>,
}

impl PreActBlock {
    /// The name of the projection, and what convolutions start from, are where the implementations
    /// that we follow differ.
    pub(crate) fn new(
        place: Place,
        dropout: f64,
        projection_name: &str,
        init: Init,
        vb: VarBuilder,
    ) -> Result<Self> {
        let Place {
            in_channels,
            out_channels,
            stride,
        } = place;
        let projection = match in_channels == out_channels && stride == 1 {
            true => None,
            false => Some(conv(
                in_channels,
                out_channels,
                1,
                stride,
                init,
                vb.pp(projection_name),
            )?),
        };
        Ok(Self {
            bn1: BatchNorm2d::new(in_channels, BATCH_NORM, vb.pp("bn1"))?,
            conv1: conv(in_channels, out_channels, 3, stride, init, vb.pp("conv1"))?,
            bn2: BatchNorm2d::new(out_channels, BATCH_NORM, vb.pp("bn2"))?,
            dropout: Dropout::new(dropout)?,
            conv2: conv(out_channels, out_channels, 3, 1, init, vb.pp("conv2"))?,
            projection,
        })
    }

    pub(crate) fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let active = self.bn1.forward_relu(cx, x)?;
        let y = self
            .bn2
            .forward_relu(cx, &self.conv1.forward(cx, &active)?)?;
        let y = self.conv2.forward(cx, &self.dropout.forward(cx, &y)?)?;
        match &self.projection {
            Some(projection) => y.add(&projection.forward(cx, &active)?),
            None => y.add(x),
        }
    }
}
