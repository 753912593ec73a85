//! A network with its batch, for the works that time one.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mr2_backbones::{Backbone, BuildConfig, Head, build};
use mr2_nn::params::ParamStore;

use super::inputs;

#[derive(clap::Args)]
pub(super) struct Sizes {
    /// The architecture (`mr2 models` lists them).
    #[arg(long, value_name = "NAME")]
    backbone: String,
    /// Images of a batch.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Height and width of the images.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Channels of the images.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    /// Classes of the head.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    classes: u32,
}

/// A network on random images, with the store of its parameters.
pub(super) struct Network {
    pub(super) store: ParamStore,
    pub(super) model: Box<dyn Backbone>,
    pub(super) images: Tensor,
    pub(super) labels: Vec<u32>,
    /// The work in words: network and sizes.
    pub(super) name: String,
}

impl Sizes {
    pub(super) fn network(&self) -> Result<Network> {
        let [batch, size, channels, classes] =
            [self.batch, self.size, self.channels, self.classes].map(|n| n as usize);
        let (store, model) = build_network(&self.backbone, channels, classes, &Device::Cpu)?;
        let sizes = format!("{size}x{size}x{channels}, {classes} classes, batch {batch}");
        Ok(Network {
            store,
            model,
            images: inputs::normals("images", &[batch, channels, size, size])?,
            labels: inputs::labels(batch, classes),
            name: format!("{}, {sizes}", self.backbone),
        })
    }
}

impl Network {
    pub(super) fn classes(&self) -> usize {
        self.model.classes()
    }

    /// The number of trainable parameters, which both sides of a comparison must share.
    pub(super) fn parameters(&self) -> usize {
        parameters(&self.store)
    }
}

/// A network in f32 with the linear head and without dropout.
pub(crate) fn build_network(
    name: &str,
    in_channels: usize,
    classes: usize,
    device: &Device,
) -> Result<(ParamStore, Box<dyn Backbone>)> {
    let store = ParamStore::new(0, DType::F32, device);
    let config = BuildConfig {
        in_channels,
        classes,
        head: Head::Linear,
        dropout: 0.0,
    };
    let model = build(name, &config, store.var_builder())?;
    Ok((store, model))
}

/// Elements of all trainable parameters.
pub(crate) fn parameters(store: &ParamStore) -> usize {
    let all = store.parameters();
    all.iter().map(|(_, var)| var.elem_count()).sum()
}
