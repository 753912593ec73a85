//! A network of two convolutions with batch norm and dropout, and a linear or a cosine head.

use std::cell::Cell;

use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{BatchNormConfig, ConvBn, CosineLinear, Dropout, linear};
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;
use mr2_train::candle_core::{Result, Tensor};

use crate::support::{CLASSES, FEATURES};

/// The network; it can be told to give NaN for an image of a step.
pub struct TinyNet {
    first: ConvBn,
    second: ConvBn,
    dropout: Dropout,
    head: Classifier,
    /// Training step (from 0) and row of the batch that become NaN.
    pub poison: Cell<Option<(u64, usize)>>,
    training_steps: Cell<u64>,
}

enum Classifier {
    Linear(candle_nn::Linear),
    Cosine(CosineLinear),
}

impl TinyNet {
    pub fn new(params: &ParamStore, cosines: bool) -> Result<Self> {
        let vb = params.var_builder();
        let norm = BatchNormConfig {
            eps: 1e-5,
            momentum: 0.1,
        };
        let block = |inputs, outputs, stride, name: &str| {
            let (conv, bn) = (vb.pp(name).pp("conv"), vb.pp(name).pp("bn"));
            ConvBn::new(inputs, outputs, 3, stride, 1, norm, conv, bn)
        };
        Ok(Self {
            first: block(1, 4, 1, "first")?,
            second: block(4, FEATURES, 2, "second")?,
            dropout: Dropout::new(0.3)?,
            head: match cosines {
                false => Classifier::Linear(linear(FEATURES, CLASSES, vb.pp("head"))?),
                true => {
                    Classifier::Cosine(CosineLinear::new(FEATURES, CLASSES, 1.0, vb.pp("head"))?)
                }
            },
            poison: Cell::new(None),
            training_steps: Cell::new(0),
        })
    }
}

impl Backbone for TinyNet {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let x = self.first.forward_relu(cx, images)?;
        let x = self.dropout.forward(cx, &x)?;
        let features = self.second.forward_relu(cx, &x)?.mean_hw()?;
        let features = self.dropout.forward_tensor(cx, &features)?;
        if !cx.is_train() {
            return Ok(features);
        }
        let step = self.training_steps.replace(self.training_steps.get() + 1);
        match self.poison.get() {
            Some((at, row)) if at == step => {
                let rows = features.dim(0)?;
                let factors: Vec<f32> = (0..rows)
                    .map(|i| if i == row { f32::NAN } else { 1.0 })
                    .collect();
                features.broadcast_mul(&Tensor::from_vec(factors, (rows, 1), cx.device())?)
            }
            _ => Ok(features),
        }
    }

    fn head(&self, _cx: &Ctx, features: &Tensor) -> Result<Tensor> {
        match &self.head {
            Classifier::Linear(head) => features.apply(head),
            Classifier::Cosine(head) => features.apply(head),
        }
    }

    fn feature_dim(&self) -> usize {
        FEATURES
    }

    fn classes(&self) -> usize {
        CLASSES
    }

    fn head_weight(&self) -> &Tensor {
        match &self.head {
            Classifier::Linear(head) => head.weight(),
            Classifier::Cosine(head) => head.weight(),
        }
    }
}
