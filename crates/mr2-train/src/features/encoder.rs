//! A frozen network in evaluation mode: batches in, features out.

use candle_core::DType;
use half::f16;
use mr2_data::{Batch, Loader};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;

use super::encoder_hash;
use super::meta::FeatureType;
use super::shard::Features;
use crate::compute::{context, enter};
use crate::error::{Error, Result};
use crate::evaluate::{check_covers, host_f32};
use crate::stop::StopFlag;

pub(super) struct Encoder<'a> {
    network: &'a dyn Backbone,
    loader: &'a Loader,
    context: Ctx,
    dtype: FeatureType,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(
        network: &'a dyn Backbone,
        loader: &'a Loader,
        dtype: FeatureType,
        activations: DType,
    ) -> Result<Self> {
        Ok(Self {
            network,
            loader,
            context: context(network, activations, Mode::Eval)?,
            dtype,
        })
    }

    /// The features of a batch, row after row, all of them finite as they are stored.
    pub(super) fn features(&self, batch: &Batch) -> Result<Vec<f32>> {
        let images = enter(&self.context, batch)?;
        let features = self.network.features(&self.context, &images)?;
        let (rows, dim) = (batch.labels.len(), self.network.feature_dim());
        if features.dims() != [rows, dim] {
            return Err(Error::refused(format!(
                "features are {:?}, expected [{rows}, {dim}], (batch, feature_dim)",
                features.dims()
            )));
        }
        let values = host_f32(&features)?;
        let stored: fn(f32) -> f32 = match self.dtype {
            FeatureType::F32 => |value| value,
            FeatureType::F16 => |value| f16::from_f32(value).to_f32(),
        };
        match values.iter().position(|&value| !stored(value).is_finite()) {
            None => Ok(values),
            Some(at) => {
                let image = self
                    .loader
                    .set()
                    .image_name(batch.indices[at / dim] as usize);
                Err(Error::refused(format!(
                    "{image}: its feature has {}, which can't be stored{}",
                    values[at],
                    if values[at].is_finite() {
                        " in f16: store f32"
                    } else {
                        ""
                    }
                )))
            }
        }
    }
}

/// The features of every image of `loader` in evaluation mode, with layers that compute in `activations`, kept nowhere; with a
/// random transform its epoch `view` makes them. `None` where a stop was asked for. `progress` takes how many images are done.
///
/// # Errors
/// An image that can't be read; a feature that isn't finite; an encoder that changed on the way.
pub fn compute(
    network: &dyn Backbone,
    params: &ParamStore,
    loader: &Loader,
    activations: DType,
    view: u64,
    progress: &mut dyn FnMut(u64),
    stop: &StopFlag,
) -> Result<Option<Features>> {
    check_covers(loader)?;
    let before = encoder_hash(params)?;
    let encoder = Encoder::new(network, loader, FeatureType::F32, activations)?;
    let mut all = Features::none(network.feature_dim());
    all.values.reserve_exact(loader.set().len() * all.dim);
    for batch in loader.epoch(view, 0) {
        if stop.is_set() {
            return Ok(None);
        }
        let batch = batch?;
        all.values.extend(encoder.features(&batch)?);
        all.labels.extend(&batch.labels);
        all.indices.extend(&batch.indices);
        progress(all.labels.len() as u64);
    }
    let after = encoder_hash(params)?;
    if after != before {
        return Err(Error::refused(format!(
            "the encoder changed while it computed features (hash {before} before, {after} after), so it is not frozen"
        )));
    }
    Ok(Some(all))
}
