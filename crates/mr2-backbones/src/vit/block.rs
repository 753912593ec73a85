//! Attention and a perceptron, each behind its normalisation and around a skip connection: the block of all our
//! transformers, of images and of text.
use candle_core::Result;
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{ZEROS, normal};
use mr2_nn::layers::{Activation, Attention, LayerNorm, LayerScale, Linear};

use super::DEVIATION;

/// What a block is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockConfig {
    pub dim: usize,
    pub heads: usize,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
    pub mlp_dim: usize,
    pub activation: Activation,
    pub eps: f64,
    pub qkv_bias: bool,
    pub layer_scale: Option<f64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    attention: Attention,
    proj: Branch,
    norm2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Branch,
}

impl Block {
    pub(crate) fn new(net: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let BlockConfig {
            dim,
            heads,
            causal,
            mlp_dim,
            qkv_bias,
            eps,
            ..
        } = *net;
        let (attn, mlp) = (vb.pp("attn"), vb.pp("mlp"));
        Ok(Self {
            norm1: LayerNorm::new(dim, eps, vb.pp("norm1"))?,
            qkv: linear(dim, 3 * dim, qkv_bias, attn.pp("qkv"))?,
            attention: Attention { heads, causal },
            proj: Branch::new(net, dim, attn.pp("proj"), vb.pp("ls1"))?,
            norm2: LayerNorm::new(dim, eps, vb.pp("norm2"))?,
            fc1: linear(dim, mlp_dim, true, mlp.pp("fc1"))?,
            activation: net.activation,
            fc2: Branch::new(net, mlp_dim, mlp.pp("fc2"), vb.pp("ls2"))?,
        })
    }

    pub(crate) fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let qkv = self.qkv.forward(cx, &self.norm1.forward(cx, x)?)?;
        let x = self
            .proj
            .forward_add(cx, &self.attention.forward(cx, &qkv)?, x)?;
        drop(qkv);
        let hidden = self.norm2.forward(cx, &x)?;
        let hidden = self.fc1.forward_gelu(cx, &hidden, self.activation)?;
        self.fc2.forward_add(cx, &hidden, &x)
    }
}

fn linear(inputs: usize, outputs: usize, bias: bool, vb: VarBuilder) -> Result<Linear> {
    Linear::with_init(
        inputs,
        outputs,
        normal(DEVIATION),
        bias.then_some(ZEROS),
        vb,
    )
}

/// The end of a residual branch.
#[derive(Debug, Clone)]
struct Branch {
    linear: Linear,
    scale: Option<LayerScale>,
}

impl Branch {
    fn new(net: &BlockConfig, inputs: usize, vb: VarBuilder, scale: VarBuilder) -> Result<Self> {
        Ok(Self {
            linear: linear(inputs, net.dim, true, vb)?,
            scale: match net.layer_scale {
                Some(start) => Some(LayerScale::new(net.dim, start, scale)?),
                None => None,
            },
        })
    }

    fn forward_add(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        match &self.scale {
            None => self.linear.forward_add(cx, x, skip),
            Some(scale) => scale.forward_add(cx, &self.linear.forward(cx, x)?, skip),
        }
    }
}
