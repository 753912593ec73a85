//! A head whose logits are scaled cosines.

use crate::init::pytorch_default;
use candle_core::{D, Result, Tensor, bail};
use candle_nn::{Module, VarBuilder};

/// Norms below this count as this, as in PyTorch's `normalize`.
const SMALLEST_NORM: f64 = 1e-12;

/// Logits `scale * cos(weight_k, x)`: a linear head without bias on features and weights of unit
/// length.
///
/// Parameter: `weight` (classes, features).
#[derive(Clone, Debug)]
pub struct CosineLinear {
    weight: Tensor,
    scale: f64,
}

impl CosineLinear {
    /// A head with PyTorch's default initialisation of a linear layer's weight.
    ///
    /// # Errors
    /// A dimension of 0, a scale that is not finite and positive, or those of the `VarBuilder`.
    pub fn new(features: usize, classes: usize, scale: f64, vb: VarBuilder) -> Result<Self> {
        if features == 0 || classes == 0 {
            bail!(
                "cosine_linear: dimensions must be at least 1, got features {features}, classes \
                 {classes}"
            );
        }
        if !(scale.is_finite() && scale > 0.0) {
            bail!("cosine_linear: scale must be finite and positive, got {scale}");
        }
        let init = pytorch_default(features);
        let weight = vb.get_with_hints((classes, features), "weight", init)?;
        Ok(Self { weight, scale })
    }

    /// The weight before normalisation.
    ///
    /// # Shapes
    /// (classes, features).
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// What the cosines are multiplied by.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The logits.
    ///
    /// # Shapes
    /// `x`: (batch, features); returns (batch, classes).
    ///
    /// # Errors
    /// Another shape or element type.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, features) = self.weight.dims2()?;
        if x.rank() != 2 || x.dim(1)? != features {
            bail!(
                "cosine_linear: expected (batch, {features}), got {:?}",
                x.dims()
            );
        }
        let cosines = normalised(x)?.matmul(&normalised(&self.weight)?.t()?)?;
        cosines * self.scale
    }
}

/// Rows divided by their norms.
fn normalised(rows: &Tensor) -> Result<Tensor> {
    // The bound is applied to the square, so that a row of zeros has no NaN in its gradient but
    // that of a division by the bound, as in PyTorch.
    let norm = rows
        .sqr()?
        .sum_keepdim(D::Minus1)?
        .maximum(SMALLEST_NORM * SMALLEST_NORM)?
        .sqrt()?;
    rows.broadcast_div(&norm)
}

impl Module for CosineLinear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        CosineLinear::forward(self, x)
    }
}
