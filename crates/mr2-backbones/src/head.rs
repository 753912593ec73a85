//! The last layer: from features to logits.
use candle_core::{Result, Tensor};
use candle_nn::{Init, Linear, Module, VarBuilder};
use mr2_nn::layers::CosineLinear;
use serde::{Deserialize, Serialize};

/// The kinds of heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Head {
    /// `W x + b`.
    Linear,
    /// `scale * cos(w_k, x)`: norms of features and weights don't count.
    Cosine {
        /// The largest logit.
        scale: f64,
    },
}

/// A built head.
#[derive(Debug, Clone)]
pub(crate) enum Classifier {
    Linear(Linear),
    Cosine(CosineLinear),
}

impl Classifier {
    /// `weight` and `bias` are what the linear head starts from; the cosine head has one start.
    pub(crate) fn new(
        head: &Head,
        feature_dim: usize,
        classes: usize,
        [weight, bias]: [Init; 2],
        vb: VarBuilder,
    ) -> Result<Self> {
        Ok(match head {
            Head::Linear => {
                let weight = vb.get_with_hints((classes, feature_dim), "weight", weight)?;
                let bias = vb.get_with_hints(classes, "bias", bias)?;
                Self::Linear(Linear::new(weight, Some(bias)))
            }
            Head::Cosine { scale } => {
                Self::Cosine(CosineLinear::new(feature_dim, classes, *scale, vb)?)
            }
        })
    }

    pub(crate) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear(linear) => linear.forward(features),
            Self::Cosine(cosine) => cosine.forward(features),
        }
    }

    pub(crate) fn weight(&self) -> &Tensor {
        match self {
            Self::Linear(linear) => linear.weight(),
            Self::Cosine(cosine) => cosine.weight(),
        }
    }
}
