//! CLIP's text tower (Radford et al. 2021, arXiv 2103.00020): a text becomes a vector in the space that images share.
//!
//! A causal transformer over at most 77 tokens; the feature is that of the end-of-text token, normalised and
//! projected. It is made of the blocks of our vision transformers, so candle-transformers, which has a text tower of
//! transformers' names, would bring a second transformer and a long build for nothing.
//!
//! - [`ClipText`]: the tower; [`weights::config_of`]: its sizes from published tensors.
//! - [`Tokenizer`]: texts as numbers, by CLIP's byte-pair encoding.
//! - [`Template`], [`zero_shot_head`]: a classifier made of the names of classes.
//!
//! Names are those of our vision transformers (`blocks.0.attn.qkv`, ..., `norm`, `projection`), with OpenAI's
//! `token_embedding`, `positional_embedding` and `logit_scale`. Weights start as there: normal with deviation 0.02,
//! positions 0.01, the projection 1 / sqrt(features), the scale ln(1 / 0.07).
mod tokenizer;
pub mod weights;
mod zero_shot;

use candle_core::{D, Result, Tensor, bail};
use candle_nn::VarBuilder;
use mr2_nn::graph::Ctx;
use mr2_nn::init::normal;
use mr2_nn::layers::{Activation, LayerNorm};
use serde::{Deserialize, Serialize};

use crate::vit::DEVIATION;
use crate::vit::block::{Block, BlockConfig};

pub use tokenizer::{Tokenizer, TokenizerError};
pub use zero_shot::{Template, TemplateError, own_templates, zero_shot_head, zero_shot_logits};

/// Deviation of the start of positions.
const POSITIONS: f64 = 0.01;

/// Sizes, and the activation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipTextConfig {
    /// Tokens that there are: 49,408 in OpenAI's vocabulary.
    pub vocabulary: usize,
    /// Tokens of the longest text, start and end among them: 77.
    pub context: usize,
    /// Features of a token.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads, which divide `dim`: one for each 64 features in all published towers.
    pub heads: usize,
    /// Hidden features of a block's perceptron.
    pub mlp_dim: usize,
    /// Between the layers of a block's perceptron: the quick GELU in OpenAI's weights, the exact one in most of
    /// open_clip's.
    pub activation: Activation,
    /// Added to the variances of all normalisations: 1e-5.
    pub eps: f64,
    /// Features after the projection, as many as those of images.
    pub projection: usize,
}

impl ClipTextConfig {
    fn check(&self) -> Result<()> {
        let sizes = [
            self.vocabulary,
            self.context,
            self.dim,
            self.depth,
            self.heads,
            self.mlp_dim,
            self.projection,
        ];
        if sizes.contains(&0) {
            bail!("clip text: sizes must be at least 1, got {self:?}")
        }
        if !self.dim.is_multiple_of(self.heads) {
            bail!(
                "clip text: heads {} must divide dim {}",
                self.heads,
                self.dim
            )
        }
        Ok(())
    }

    fn block(&self) -> BlockConfig {
        BlockConfig {
            dim: self.dim,
            heads: self.heads,
            causal: true,
            mlp_dim: self.mlp_dim,
            activation: self.activation,
            eps: self.eps,
            qkv_bias: true,
            layer_scale: None,
        }
    }
}

/// The text tower, with the logarithm of the factor that CLIP's logits have.
#[derive(Debug, Clone)]
pub struct ClipText {
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: candle_nn::Linear,
    logit_scale: Tensor,
    config: ClipTextConfig,
}

impl ClipText {
    /// Builds the tower.
    ///
    /// # Errors
    /// Sizes of 0, heads that don't divide the width, or those of the `VarBuilder`.
    pub fn new(net: &ClipTextConfig, vb: VarBuilder) -> Result<Self> {
        net.check()?;
        let (dim, block) = (net.dim, net.block());
        let blocks = (0..net.depth).map(|number| Block::new(&block, vb.pp("blocks").pp(number)));
        let start = normal((dim as f64).powf(-0.5));
        let projection =
            vb.pp("projection")
                .get_with_hints((net.projection, dim), "weight", start)?;
        let scale = candle_nn::Init::Const((1.0f64 / 0.07).ln());
        Ok(Self {
            tokens: vb.pp("token_embedding").get_with_hints(
                (net.vocabulary, dim),
                "weight",
                normal(DEVIATION),
            )?,
            positions: vb.get_with_hints(
                (net.context, dim),
                "positional_embedding",
                normal(POSITIONS),
            )?,
            blocks: blocks.collect::<Result<_>>()?,
            norm: LayerNorm::new(dim, net.eps, vb.pp("norm"))?,
            projection: candle_nn::Linear::new(projection, None),
            logit_scale: vb.get_with_hints((), "logit_scale", scale)?,
            config: net.clone(),
        })
    }

    /// What it is made of.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// The factor of logits: the exponential of `logit_scale`, 100 in OpenAI's weights.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn logit_factor(&self) -> Result<f64> {
        let scale = self.logit_scale.to_dtype(candle_core::DType::F64)?;
        Ok(scale.to_scalar::<f64>()?.exp())
    }

    /// Features of texts, after the projection, not normalised.
    ///
    /// A text ends with its largest token, which is the end of text in CLIP's vocabulary. What follows it is padding
    /// and changes nothing, since no token sees a later one; so no text is computed beyond the longest one's end.
    ///
    /// # Shapes
    /// Returns (texts, [`ClipTextConfig::projection`]).
    ///
    /// # Errors
    /// No text; a text without tokens or with more than the context takes; a number that is no token's.
    pub fn features(&self, cx: &Ctx, texts: &[Vec<u32>]) -> Result<Tensor> {
        let (ids, ends) = self.padded(texts)?;
        let (count, device) = (texts.len(), cx.device());
        let (longest, dim) = (ids.len() / count.max(1), self.config.dim);
        let ids = Tensor::new(ids, device)?;
        let tokens = self.tokens.index_select(&ids, 0)?;
        let tokens = tokens.reshape((count, longest, dim))?;
        let tokens = tokens.broadcast_add(&self.positions.narrow(0, 0, longest)?)?;
        let mut x = cx.enter_tokens(&tokens)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        let ends = Tensor::new(ends, device)?;
        let ends = x
            .to_tokens()?
            .reshape((count * longest, dim))?
            .index_select(&ends, 0)?;
        let ends = cx.enter_tokens(&ends.unsqueeze(1)?)?;
        let ends = self.norm.forward(cx, &ends)?.token(0)?;
        candle_nn::Module::forward(&self.projection, &ends)
    }

    /// All texts at the length of the longest, one after the other, and where each ends in that.
    fn padded(&self, texts: &[Vec<u32>]) -> Result<(Vec<u32>, Vec<u32>)> {
        let ClipTextConfig {
            vocabulary,
            context,
            ..
        } = self.config;
        let mut lengths = Vec::with_capacity(texts.len());
        for (number, text) in texts.iter().enumerate() {
            let Some(&largest) = text.iter().max() else {
                bail!("clip text: text {number} has no tokens")
            };
            if largest as usize >= vocabulary {
                bail!(
                    "clip text: text {number} has token {largest}, the weights' vocabulary only {vocabulary}: the tokenizer \
                     is of another model"
                )
            }
            let length = 1 + text.iter().take_while(|&&token| token != largest).count();
            if length > context {
                bail!("clip text: text {number} has {length} tokens, the weights take {context}")
            }
            lengths.push(length);
        }
        let Some(&longest) = lengths.iter().max() else {
            bail!("clip text: there is no text")
        };
        let mut ids = Vec::with_capacity(texts.len() * longest);
        let mut ends = Vec::with_capacity(texts.len());
        for (text, length) in texts.iter().zip(lengths) {
            ends.push((ids.len() + length - 1) as u32);
            ids.extend(&text[..length]);
            ids.resize(ids.len() + longest - length, 0);
        }
        Ok((ids, ends))
    }
}

/// Rows of length 1.
fn normalised(rows: &Tensor) -> Result<Tensor> {
    let length = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    // A row of zeros stays one, as in PyTorch's `normalize`.
    rows.broadcast_div(&length.maximum(1e-12)?)
}
