//! What makes a sequence of tokens out of the patches of an image.

#[cfg(feature = "cuda")]
mod cuda;

use super::{Layer, parameter};
use crate::graph::{Act, Core, Ctx, InHandle, Node, Shape4, Slot, values_of, with_slot};
use crate::kernels::pool::PoolBuf;
use crate::kernels::tokens;
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use std::sync::Arc;

/// A class token before the patches, if there is one, and a learned position added to every token
/// (Dosovitskiy et al. 2020, arXiv 2010.11929).
///
/// Parameters, under timm's names: `cls_token` (1, 1, features) and `pos_embed` (1, tokens, features), the
/// class token among the tokens.
#[derive(Clone, Debug)]
pub struct TokenEmbedding {
    class: Option<Tensor>,
    positions: Tensor,
}

/// What the parameters of a [`TokenEmbedding`] start from.
#[derive(Clone, Copy, Debug)]
pub struct TokenEmbeddingInit {
    /// That of the class token; without it there is no class token.
    pub class: Option<Init>,
    /// That of the positions.
    pub positions: Init,
}

impl TokenEmbedding {
    /// For sequences of `patches` patches.
    ///
    /// # Errors
    /// Sizes of 0, a parameter that is computed from variables, or those of the `VarBuilder`.
    pub fn new(
        patches: usize,
        features: usize,
        init: TokenEmbeddingInit,
        vb: VarBuilder,
    ) -> Result<Self> {
        if patches == 0 || features == 0 {
            bail!(
                "token_embedding: sizes must be at least 1, got patches {patches}, features {features}"
            );
        }
        let layer = "token_embedding";
        let class = match init.class {
            Some(init) => Some(parameter(layer, (1, 1, features), "cls_token", init, &vb)?),
            None => None,
        };
        let shape = (1, patches + class.iter().count(), features);
        Ok(Self {
            class,
            positions: parameter(layer, shape, "pos_embed", init.positions, &vb)?,
        })
    }

    /// From (batch, features, height, width), every pixel a patch, to (batch, features, 1, tokens).
    ///
    /// # Errors
    /// Other numbers of features or patches than the layer's.
    pub fn forward(&self, cx: &Ctx, patches: &Act) -> Result<Act> {
        patches.check_context(cx)?;
        let (_, tokens, features) = self.positions.dims3()?;
        let own = tokens - self.class.iter().count();
        let (_, channels, height, width) = patches.dims4();
        if channels != features || height * width != own {
            bail!(
                "token_embedding: the layer takes {own} patches of {features} features, the input \
                 has {height} x {width} of {channels}"
            );
        }
        with_slot!(
            patches,
            slot => self.forward_slot(patches, slot, tokens),
            cuda slot => cuda::forward(self, patches, slot, tokens)
        )
    }

    fn forward_slot<T: InHandle>(
        &self,
        patches: &Act,
        slot: &Arc<Slot<T>>,
        tokens: usize,
    ) -> Result<Act> {
        let core = &patches.core;
        let class = match &self.class {
            Some(class) => Some(values_of::<T>(class, "token_embedding cls_token")?),
            None => None,
        };
        let positions = values_of::<T>(&self.positions, "token_embedding pos_embed")?;
        let shape = Shape4 {
            height: 1,
            width: tokens,
            ..slot.shape
        };
        let mut out = core.pool.take(shape.elements());
        let features = shape.channels;
        tokens::embed(
            slot.data(),
            class.as_deref(),
            &positions,
            features,
            &mut out,
        );
        let parameters: Vec<&Tensor> = self.class.iter().chain([&self.positions]).collect();
        core.record(shape, out, &[patches], &parameters, || EmbeddingNode {
            patches: slot.clone(),
            layer: self.clone(),
        })
    }
}

impl Layer for TokenEmbedding {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        TokenEmbedding::forward(self, cx, x)
    }
}

struct EmbeddingNode<T: InHandle> {
    patches: Arc<Slot<T>>,
    layer: TokenEmbedding,
}

impl<T: InHandle> Node<T> for EmbeddingNode<T> {
    fn name(&self) -> &'static str {
        "token_embedding"
    }

    fn backward(&self, core: &Core, out: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let TokenEmbedding { class, positions } = &self.layer;
        let (features, length) = (out.shape.channels, positions.elem_count());
        let sums = tokens::sum_batch(&gradient, length);
        if let Some(class) = class.as_ref().filter(|class| class.is_variable()) {
            let part = Tensor::from_vec(sums[..features].to_vec(), class.shape(), &core.device)?;
            core.add_parameter_gradient(class, part)?;
        }
        if positions.is_variable() {
            let part = Tensor::from_vec(sums, positions.shape(), &core.device)?;
            core.add_parameter_gradient(positions, part)?;
        }
        if !self.patches.tracked {
            return Ok(());
        }
        if class.is_none() {
            return self.patches.give_gradient(core, gradient);
        }
        let mut part = core.pool.take(self.patches.shape.elements());
        tokens::without_first(&gradient, length, length - features, &mut part);
        self.patches.give_gradient(core, part)
    }
}
