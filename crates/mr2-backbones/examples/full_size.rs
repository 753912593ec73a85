//! Convolutional nets at full size against the libraries that publish them: largest differences, and the time of a batch.
//! `tests/reference/full_size_convs.py` writes the folder that is asked for.
#![allow(clippy::print_stdout)] // what it is for

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, bail};
use mr2_backbones::clip_resnet::{ClipResNet, ClipResNetConfig, ClipResNetFeature};
use mr2_backbones::weights::{Tensors, keys::Family};
use mr2_backbones::{Backbone, BuildConfig, Head, build};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::params::ParamStore;

const BATCH: usize = 32;
const PASSES: usize = 5;

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1) else {
        bail!("usage: full_size FOLDER")
    };
    for name in [
        "efficientnet_lite0",
        "efficientnet_lite0_pypi",
        "resnet50",
        "RN50",
    ] {
        let path = Path::new(&folder).join(format!("{name}.safetensors"));
        if path.exists() {
            compare(name, &path)?;
        }
    }
    Ok(())
}

fn compare(name: &str, path: &Path) -> Result<()> {
    let file = candle_core::safetensors::load(path, &Device::Cpu)?;
    let published = file.iter().filter_map(|(name, tensor)| {
        Some((
            name.strip_prefix("checkpoint.")?.to_string(),
            tensor.clone(),
        ))
    });
    let store = ParamStore::zeros(DType::F32, &Device::Cpu);
    let model = model(name, published.collect(), &store)?;
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval)?;
    for size in [224, 256] {
        let named = |what: &str| file.get(&format!("{what}.{size}"));
        let (Some(images), Some(expected)) = (named("images"), named("outputs")) else {
            continue;
        };
        let features = model.features(&cx, &cx.enter(images)?)?;
        let outputs = match name {
            "RN50" => features,
            _ => model.head(&cx, &features)?,
        };
        let largest = |x: &Tensor| x.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        let difference = largest(&(outputs - expected)?)? / largest(expected)?;
        println!("{name} at {size}: largest difference {difference:.1e} of the largest output");
    }
    let images = Tensor::randn(0f32, 1.0, (BATCH, 3, 224, 224), &Device::Cpu)?;
    let mut times = Vec::new();
    for _ in 0..=PASSES {
        let start = Instant::now();
        model.features(&cx, &cx.enter(&images)?)?;
        times.push(start.elapsed().as_secs_f64());
    }
    let times = &mut times[1..];
    times.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.3} s for {BATCH} images of 224 x 224",
        times[PASSES / 2]
    );
    Ok(())
}

/// The net of a file, with its weights.
fn model(name: &str, published: Tensors, store: &ParamStore) -> Result<Box<dyn Backbone>> {
    let config = BuildConfig {
        in_channels: 3,
        classes: 1000,
        head: Head::Linear,
        dropout: 0.0,
    };
    let (family, model) = match name {
        "RN50" => {
            let net = ClipResNetConfig {
                blocks: [3, 4, 6, 3],
                width: 64,
                heads: 32,
                output_dim: 1024,
                image_size: 224,
                feature: ClipResNetFeature::Projected,
            };
            let model = ClipResNet::new(&net, &config, store.var_builder())?;
            (Family::ClipResNet, Box::new(model) as Box<dyn Backbone>)
        }
        "resnet50" => (Family::ResNet, build(name, &config, store.var_builder())?),
        _ => {
            let model = build("efficientnet-lite0", &config, store.var_builder())?;
            (Family::EfficientNetLite, model)
        }
    };
    let mut tensors = family.to_ours(published)?;
    if family == Family::ClipResNet {
        let head = store
            .tensors()
            .into_iter()
            .filter(|(name, _)| name.starts_with("head"));
        tensors.extend(head);
    }
    store.load(&tensors.into_iter().collect())?;
    Ok(model)
}
