//! A convolution with the batch normalisation that follows it.

use super::{BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, Layer};
use crate::graph::{Act, Ctx, with_slot};
use crate::kernels::batch_norm::Rectifier;
use candle_core::{Result, bail};
use candle_nn::VarBuilder;

/// The unit that convolutional nets are made of: convolution without bias, batch normalisation,
/// and what follows, as one call.
#[derive(Clone, Debug)]
pub struct ConvBn {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl ConvBn {
    /// Parameters come from two builders, since most architectures name convolution and batch
    /// normalisation side by side (`conv1`, `bn1`). The weight has PyTorch's default
    /// initialisation; for another, see [`ConvBn::from_parts`].
    ///
    /// # Errors
    /// As [`Conv2d::new`] and [`BatchNorm2d::new`].
    #[allow(clippy::too_many_arguments)] // As PyTorch's constructors, which a reader knows.
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        norm: BatchNormConfig,
        conv_vb: VarBuilder,
        bn_vb: VarBuilder,
    ) -> Result<Self> {
        let config = Conv2dConfig {
            stride,
            padding,
            dilation: 1,
            groups: 1,
            bias: false,
        };
        let conv = Conv2d::new(in_channels, out_channels, kernel, config, conv_vb)?;
        Ok(Self {
            conv,
            bn: BatchNorm2d::new(out_channels, norm, bn_vb)?,
        })
    }

    /// Joins a convolution and a batch normalisation that are built already.
    ///
    /// # Errors
    /// Numbers of channels that differ.
    pub fn from_parts(conv: Conv2d, bn: BatchNorm2d) -> Result<Self> {
        let outputs = conv.weight().dim(0)?;
        if outputs != bn.channels() {
            bail!(
                "conv_bn: the convolution gives {outputs} channels, the normalisation takes {}",
                bn.channels()
            );
        }
        Ok(Self { conv, bn })
    }

    /// Convolution, batch normalisation.
    ///
    /// # Errors
    /// As [`Conv2d::forward`] and [`BatchNorm2d::forward`].
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, Rectifier::None)
    }

    /// Convolution, batch normalisation, `max(., 0)`.
    ///
    /// # Errors
    /// As [`ConvBn::forward`].
    pub fn forward_relu(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, Rectifier::Relu)
    }

    /// Convolution, batch normalisation, `min(max(., 0), 6)`.
    ///
    /// # Errors
    /// As [`ConvBn::forward`].
    pub fn forward_relu6(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, Rectifier::Relu6)
    }

    /// Convolution, batch normalisation, `+ skip`.
    ///
    /// # Errors
    /// As [`ConvBn::forward`]; a `skip` of another shape than the convolution's output.
    pub fn forward_add(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        self.run(cx, x, Some(skip), Rectifier::None)
    }

    /// Convolution, batch normalisation, `+ skip`, `max(., 0)`.
    ///
    /// # Errors
    /// As [`ConvBn::forward`]; a `skip` of another shape than the convolution's output.
    pub fn forward_add_relu(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        self.run(cx, x, Some(skip), Rectifier::Relu)
    }

    /// In evaluation the convolution itself does what batch norm would do, on the CPU.
    fn run(&self, cx: &Ctx, x: &Act, skip: Option<&Act>, rectifier: Rectifier) -> Result<Act> {
        if cx.is_train() {
            return self.bn.run(cx, &self.conv.forward(cx, x)?, skip, rectifier);
        }
        x.check_context(cx)?;
        if let Some(skip) = skip {
            skip.check_context(cx)?;
        }
        with_slot!(
            x,
            slot => {
                let affine = self.bn.running_affine(rectifier)?;
                self.conv.forward_affine(x, slot, &affine, skip)
            },
            cuda _slot => self.bn.run(cx, &self.conv.forward(cx, x)?, skip, rectifier)
        )
    }
}

impl Layer for ConvBn {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        ConvBn::forward(self, cx, x)
    }
}
