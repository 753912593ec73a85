//! What a classifier is to a trainer: a feature and a head.
use candle_core::{Result, Tensor};

use crate::graph::{Act, Ctx};

/// An image classifier whose feature, the input of its last layer, is an ordinary Candle tensor.
///
/// Losses that look at features, probes and analyses take them from [`Backbone::features`], and
/// the logits of the same pass from [`Backbone::head`]. Whether a pass trains is the context's
/// mode, never baked into the model.
pub trait Backbone {
    /// The feature of every image.
    ///
    /// # Shapes
    /// `images` (batch, channels, height, width); the result is (batch, feature_dim).
    ///
    /// # Errors
    /// Another number of channels, images too small for the architecture.
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor>;

    /// The logits of features.
    ///
    /// # Shapes
    /// `features` (batch, feature_dim); the result is (batch, classes).
    ///
    /// # Errors
    /// Another shape.
    fn head(&self, cx: &Ctx, features: &Tensor) -> Result<Tensor>;

    /// The length of a feature.
    fn feature_dim(&self) -> usize;

    /// The number of classes.
    fn classes(&self) -> usize;

    /// The head's weight, a row for each class.
    ///
    /// # Shapes
    /// The result is (classes, feature_dim).
    fn head_weight(&self) -> &Tensor;

    /// The logits of images: the head of the features, and nothing else.
    ///
    /// # Shapes
    /// `images` (batch, channels, height, width); the result is (batch, classes).
    ///
    /// # Errors
    /// As [`Backbone::features`].
    fn forward(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        self.head(cx, &self.features(cx, images)?)
    }
}
