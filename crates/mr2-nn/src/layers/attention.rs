//! Scaled dot-product attention.

#[cfg(feature = "cuda")]
mod cuda;

use super::Layer;
use crate::graph::{Act, Core, Ctx, InHandle, Node, Shape4, Slot, with_slot};
use crate::kernels::attention::Heads;
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, bail};
use std::sync::Arc;

/// Attention of every token to the tokens of its sequence, in several heads (Vaswani et al. 2017, arXiv
/// 1706.03762): `softmax(Q K^T / sqrt(features of a head)) V` per head. No parameters.
///
/// The input holds queries, keys and values of each token side by side, each of them head after head, as
/// one [`Linear`](super::Linear) of three times the width gives them (PyTorch's `in_proj_weight`, timm's
/// `qkv`). Nothing is copied into another order; scores are never in memory as a whole, except on CUDA
/// in f32 or with heads of other than 64 features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// The number of heads, which divides the width.
    pub heads: usize,
    /// Whether a token sees only itself and those before it, as in language models.
    pub causal: bool,
}

impl Attention {
    /// From (batch, 3 x width, 1, tokens) to (batch, width, 1, tokens).
    ///
    /// # Errors
    /// Channels that are not three times a multiple of the heads.
    pub fn forward(&self, cx: &Ctx, qkv: &Act) -> Result<Act> {
        qkv.check_context(cx)?;
        let (_, channels, ..) = qkv.dims4();
        if self.heads == 0 || !channels.is_multiple_of(3 * self.heads) {
            bail!(
                "attention: expected queries, keys and values of {} heads, got {channels} channels",
                self.heads
            );
        }
        with_slot!(
            qkv,
            slot => self.forward_slot(qkv, slot),
            cuda slot => cuda::forward(self, qkv, slot)
        )
    }

    fn forward_slot<T: InHandle>(&self, qkv: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
        let shape = Shape4 {
            channels: slot.shape.channels / 3,
            ..slot.shape
        };
        let sizes = Heads {
            tokens: shape.pixels(),
            heads: self.heads,
            features: shape.channels / self.heads,
            causal: self.causal,
        };
        let core = &qkv.core;
        let mut out = core.pool.take(shape.elements());
        let mut log_sums = core.pool.take(shape.batch * sizes.heads * sizes.tokens);
        sizes.forward(slot.data(), &mut out, &mut log_sums, &core.pool);
        core.record(shape, out, &[qkv], &[], || AttentionNode {
            qkv: slot.clone(),
            sizes,
            log_sums,
        })
    }
}

impl Layer for Attention {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        Attention::forward(self, cx, x)
    }
}

struct AttentionNode<T: InHandle> {
    qkv: Arc<Slot<T>>,
    sizes: Heads,
    log_sums: PoolBuf<T>,
}

impl<T: InHandle> Node<T> for AttentionNode<T> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn backward(&self, core: &Core, out: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let qkv = self.qkv.data();
        let mut part = core.pool.take(qkv.len());
        let (sizes, sums) = (self.sizes, &self.log_sums);
        sizes.backward(qkv, out.data(), sums, &gradient, &mut part, &core.pool);
        self.qkv.give_gradient(core, part)
    }
}
