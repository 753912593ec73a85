//! Scaled dot-product attention on the device, on queries, keys and values that lie side by side in each token:
//! (batch, token, [queries, keys, values] x head x feature). Nothing is copied into another order: the products of a
//! head of all images, or of all heads of an image, are one call.

use super::product::{Matrix, Sizes, multiply};
use super::softmax::{Row, softmax, softmax_gradient};
use super::{device_of, empty};
use crate::kernels::attention::Heads;
use candle_core::{Result, Tensor};

/// Scores of a row begin at a multiple of this many elements.
const ROW: usize = 8;

/// Matrices of all heads, in a tensor of rows of `row_step` elements.
#[derive(Clone, Copy)]
struct Place<'a> {
    tensor: &'a Tensor,
    row_step: usize,
    /// Elements from one head of an image to the next, and to the next image's same head.
    steps: [usize; 2],
    first: usize,
    transposed: bool,
}

impl Place<'_> {
    fn transpose(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }
}

/// Sizes of an attention, for a batch.
#[derive(Clone, Copy)]
pub(crate) struct Attention {
    pub(crate) sizes: Heads,
    pub(crate) batch: usize,
}

impl Attention {
    fn scale(&self) -> f32 {
        1.0 / (self.sizes.features as f32).sqrt()
    }

    fn row(&self) -> Row {
        Row {
            columns: self.sizes.tokens,
            causal: self.sizes.causal,
        }
    }

    /// Queries (0), keys (1) or values (2), or their gradients.
    fn part<'a>(&self, qkv: &'a Tensor, part: usize) -> Place<'a> {
        let width = self.sizes.heads * self.sizes.features;
        Place {
            tensor: qkv,
            row_step: 3 * width,
            steps: [self.sizes.features, self.sizes.tokens * 3 * width],
            first: part * width,
            transposed: false,
        }
    }

    /// The output or its gradient.
    fn out<'a>(&self, out: &'a Tensor) -> Place<'a> {
        let width = self.sizes.heads * self.sizes.features;
        Place {
            tensor: out,
            row_step: width,
            steps: [self.sizes.features, self.sizes.tokens * width],
            first: 0,
            transposed: false,
        }
    }

    /// Scores or probabilities, (batch, heads, tokens, tokens and what fills the row).
    fn empty_scores(&self, beside: &Tensor) -> Result<Tensor> {
        let Heads { tokens, heads, .. } = self.sizes;
        let shape = (self.batch, heads, tokens, tokens.next_multiple_of(ROW));
        empty(&device_of(beside)?, beside.dtype(), shape)
    }

    fn scores<'a>(&self, scores: &'a Tensor) -> Place<'a> {
        let Heads { tokens, heads, .. } = self.sizes;
        let row_step = tokens.next_multiple_of(ROW);
        Place {
            tensor: scores,
            row_step,
            steps: [tokens * row_step, heads * tokens * row_step],
            first: 0,
            transposed: false,
        }
    }

    /// `out = scale * a b` for each head of each image; [rows, inner, columns].
    fn multiply(
        &self,
        a: Place<'_>,
        b: Place<'_>,
        out: Place<'_>,
        [rows, inner, columns]: [usize; 3],
        scale: f32,
    ) -> Result<()> {
        // A call has the larger of the two numbers as its batch.
        let heads_at_once = self.sizes.heads > self.batch;
        let (calls, batch) = match heads_at_once {
            true => (self.batch, self.sizes.heads),
            false => (self.sizes.heads, self.batch),
        };
        let sizes = Sizes {
            batch,
            rows,
            inner,
            columns,
        };
        for call in 0..calls {
            let [a, b, out] = [a, b, out].map(|place| {
                let [head, image] = place.steps;
                let (step, batch_step) = match heads_at_once {
                    true => (image, head),
                    false => (head, image),
                };
                Matrix {
                    tensor: place.tensor,
                    first: place.first + call * step,
                    row_step: place.row_step,
                    batch_step,
                    transposed: place.transposed,
                }
            });
            multiply(a, b, out, sizes, scale)?;
        }
        Ok(())
    }

    /// The output, (batch, 1, tokens, width), and the probabilities, which the backward pass needs.
    pub(crate) fn forward(&self, qkv: &Tensor) -> Result<(Tensor, Tensor)> {
        let Heads {
            tokens,
            heads,
            features,
            ..
        } = self.sizes;
        let [queries, keys, values] = [0, 1, 2].map(|part| self.part(qkv, part));
        let probabilities = self.empty_scores(qkv)?;
        let scores = self.scores(&probabilities);
        let inner = [tokens, features, tokens];
        self.multiply(queries, keys.transpose(), scores, inner, self.scale())?;
        softmax(&probabilities, self.row())?;
        let shape = (self.batch, 1, tokens, heads * features);
        let out = empty(&device_of(qkv)?, qkv.dtype(), shape)?;
        let outer = [tokens, tokens, features];
        self.multiply(scores, values, self.out(&out), outer, 1.0)?;
        Ok((out, probabilities))
    }

    /// The gradient of queries, keys and values.
    pub(crate) fn backward(
        &self,
        qkv: &Tensor,
        probabilities: &Tensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let Heads {
            tokens, features, ..
        } = self.sizes;
        let (inner, outer) = ([tokens, features, tokens], [tokens, tokens, features]);
        let [queries, keys, values] = [0, 1, 2].map(|part| self.part(qkv, part));
        let to_qkv = empty(&device_of(qkv)?, qkv.dtype(), qkv.shape())?;
        let [to_queries, to_keys, to_values] = [0, 1, 2].map(|part| self.part(&to_qkv, part));
        let (gradient, mixed) = (self.out(gradient), self.scores(probabilities));
        self.multiply(mixed.transpose(), gradient, to_values, outer, 1.0)?;
        let slopes = self.empty_scores(qkv)?;
        let to_scores = self.scores(&slopes);
        self.multiply(gradient, values.transpose(), to_scores, inner, 1.0)?;
        softmax_gradient(probabilities, &slopes, self.row())?;
        let scale = self.scale();
        self.multiply(to_scores, keys, to_queries, outer, scale)?;
        self.multiply(to_scores.transpose(), queries, to_keys, outer, scale)?;
        Ok(to_qkv)
    }
}
