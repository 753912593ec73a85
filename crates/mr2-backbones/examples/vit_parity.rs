//! Compares full-size vision transformers with PyTorch's, and times them; see
//! `tests/reference/pretrained_vits_full.py`, which writes the folder that this reads.
#![allow(clippy::print_stdout)] // a program
use std::error::Error;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::vit::sizes::{VitSize, clip, dinov2, vit};
use mr2_backbones::vit::weights::for_config;
use mr2_backbones::vit::{Pooling, Vit, VitConfig};
use mr2_backbones::weights::Tensors;
use mr2_backbones::weights::keys::Family;
use mr2_backbones::weights::positions::Interpolation;
use mr2_backbones::{Backbone, BuildConfig, Head};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::Activation;
use mr2_nn::params::ParamStore;

const CLASSES: usize = 1000;
const PASSES: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("usage: vit_parity FOLDER [NAME ...]")?;
    let wanted: Vec<String> = arguments.collect();
    let nets = [
        (
            "vit",
            Family::Vit,
            vit(VitSize::Base, 16),
            Interpolation::Timm,
        ),
        (
            "clip",
            Family::Clip,
            clip(VitSize::Base, 16, Activation::QuickGelu),
            Interpolation::OpenClip,
        ),
        (
            "dinov2",
            Family::Dinov2,
            dinov2(VitSize::Base, Pooling::Class),
            Interpolation::Meta,
        ),
    ];
    for (name, family, net, how) in nets {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            compare(Path::new(&folder), name, family, &net, how)?;
        }
    }
    Ok(())
}

/// CPU time of this process, in Linux's ticks of 1/100 s: on a shared machine wall time measures others too.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no )")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn compare(
    folder: &Path,
    name: &str,
    family: Family,
    net: &VitConfig,
    how: Interpolation,
) -> Result<(), Box<dyn Error>> {
    let cpu = Device::Cpu;
    let read = |file: String| candle_core::safetensors::load(folder.join(file), &cpu);
    let published: Tensors = read(format!("{name}.safetensors"))?.into_iter().collect();
    let reference = read(format!("{name}-features.safetensors"))?;
    let mut tensors = for_config(net, family.to_ours(published)?, how)?;
    if !tensors.contains_key("head.weight") {
        let weight = Tensor::zeros((CLASSES, net.feature_dim()), DType::F32, &cpu)?;
        tensors.insert("head.weight".to_string(), weight);
        let bias = Tensor::zeros(CLASSES, DType::F32, &cpu)?;
        tensors.insert("head.bias".to_string(), bias);
    }
    let store = ParamStore::zeros(DType::F32, &cpu);
    let config = BuildConfig {
        in_channels: 3,
        classes: CLASSES,
        head: Head::Linear,
        dropout: 0.0,
    };
    let model = Vit::new(net, &config, store.var_builder())?;
    store.load(&tensors.into_iter().collect())?;
    let cx = Ctx::new(&cpu, DType::F32, Mode::Eval)?;
    let images = &reference["images"];
    let mut fastest = f64::INFINITY;
    let mut difference = 0.0;
    for _ in 0..PASSES {
        let start = cpu_seconds()?;
        let features = model.features(&cx, &cx.enter(images)?)?;
        fastest = fastest.min(cpu_seconds()? - start);
        let expected = &reference["features"];
        let largest: f32 = expected.abs()?.max_all()?.to_scalar()?;
        let off: f32 = (features - expected)?.abs()?.max_all()?.to_scalar()?;
        difference = off / largest;
    }
    println!("{name}: largest difference {difference:.1e} of the largest feature; {fastest:.3} s");
    Ok(())
}
