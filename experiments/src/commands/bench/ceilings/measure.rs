//! A layer's forward pass, and its backward to the images and to the weight, each on its own.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Result;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::layers::{
    Attention, BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, LayerNorm, Linear, MaxPool2d,
};
use mr2_nn::machine::{Upstream, activation};
use mr2_nn::params::ParamStore;
use serde::Serialize;

use super::layers::{Kind, Layer};
const WARM_UP: u32 = 2;
const NORM: BatchNormConfig = BatchNormConfig {
    eps: 1e-5,
    momentum: 0.1,
};
const LAYER_NORM_EPS: f64 = 1e-6;
/// Bytes of an f32.
const F32: usize = 4;

/// What is timed of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    Forward,
    /// The gradient of the images; of batch normalisation also those of weight and bias.
    Images,
    Weight,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Images => "images",
            Self::Weight => "weight",
        }
    }
}

/// A part of a layer and its time.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) network: &'static str,
    pub(super) layer: String,
    pub(super) part: Part,
    pub(super) seconds: f64,
    /// Floating-point operations, of layers that multiply.
    pub(super) operations: Option<f64>,
    /// The least that must be read and written.
    pub(super) bytes: f64,
}

/// Times all parts of a layer.
pub(super) fn measure(network: &'static str, layer: &Layer, repetitions: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for part in parts(layer.kind) {
        rows.push(Row {
            network,
            layer: name(layer),
            part: *part,
            seconds: seconds(layer, *part, repetitions)?,
            operations: operations(layer, *part),
            bytes: bytes(layer, *part),
        });
    }
    Ok(rows)
}

fn parts(kind: Kind) -> &'static [Part] {
    match kind {
        Kind::Conv { .. } | Kind::Linear { .. } => &[Part::Forward, Part::Images, Part::Weight],
        Kind::BatchNorm | Kind::MaxPool | Kind::LayerNorm | Kind::Attention { .. } => {
            &[Part::Forward, Part::Images]
        }
    }
}

fn name(layer: &Layer) -> String {
    let Layer {
        kind,
        batch,
        channels,
        height,
        width,
    } = *layer;
    let what = match kind {
        Kind::Linear { outputs } => format!("linear {channels}->{outputs}"),
        Kind::LayerNorm => format!("layer norm {channels}"),
        Kind::Attention { heads } => format!("attention {}, {heads} heads", channels / 3),
        Kind::Conv {
            outputs,
            kernel,
            stride,
            ..
        } => format!("conv {kernel}x{kernel}/{stride} {channels}->{outputs}"),
        Kind::BatchNorm => format!("batch norm, ReLU {channels}"),
        Kind::MaxPool => format!("max pool 3x3/2 {channels}"),
    };
    format!("{what}, {batch} x {height}x{width}")
}

/// Channels, height and width of the output.
fn output(layer: &Layer) -> [usize; 3] {
    let (height, width) = (layer.height, layer.width);
    match layer.kind {
        Kind::Conv {
            outputs,
            kernel,
            stride,
            patches,
        } => {
            let padding = if patches { 0 } else { kernel / 2 };
            let size = |size: usize| (size + 2 * padding - kernel) / stride + 1;
            [outputs, size(height), size(width)]
        }
        Kind::BatchNorm | Kind::LayerNorm => [layer.channels, height, width],
        Kind::Linear { outputs } => [outputs, height, width],
        Kind::Attention { .. } => [layer.channels / 3, height, width],
        Kind::MaxPool => [layer.channels, height.div_ceil(2), width.div_ceil(2)],
    }
}

/// Attention is two products forward and five backward, one of which computes the weights again.
fn operations(layer: &Layer, part: Part) -> Option<f64> {
    let [outputs, height, width] = output(layer);
    let outputs = layer.batch * outputs * height * width;
    let products = match layer.kind {
        Kind::Conv { kernel, .. } => outputs * layer.channels * kernel * kernel,
        Kind::Linear { .. } => outputs * layer.channels,
        Kind::Attention { .. } if part == Part::Forward => 2 * outputs * height * width,
        Kind::Attention { .. } => 5 * outputs * height * width,
        Kind::BatchNorm | Kind::MaxPool | Kind::LayerNorm => return None,
    };
    Some(2.0 * products as f64)
}

/// Batch normalisation needs its input twice, for the moments and to normalise, and likewise backwards, with the
/// gradient. Forward its output is written and read once more: nothing is computed before someone reads it.
fn bytes(layer: &Layer, part: Part) -> f64 {
    let inputs = layer.batch * layer.channels * layer.height * layer.width;
    let outputs = layer.batch * output(layer).iter().product::<usize>();
    let elements = match (layer.kind, part) {
        (Kind::BatchNorm, Part::Forward) => 2 * inputs + 2 * outputs,
        (Kind::BatchNorm, _) => 3 * inputs + 2 * outputs,
        (Kind::LayerNorm, Part::Images) => 2 * inputs + outputs,
        _ => inputs + outputs,
    };
    (F32 * elements) as f64
}

/// The shortest of the repetitions: others may have the machine meanwhile, and the peak is the best of many counts too.
fn seconds(layer: &Layer, part: Part, repetitions: u32) -> Result<f64> {
    let mode = match part {
        Part::Forward if !matches!(layer.kind, Kind::BatchNorm) => Mode::Eval,
        _ => Mode::Train,
    };
    let cx = Ctx::new(&Device::Cpu, DType::F32, mode)?;
    let [channels, height, width] = output(layer);
    let dims = [layer.batch, layer.channels, layer.height, layer.width];
    let images = activation(&cx, dims, part == Part::Images)?;
    let work = work(layer, part)?;
    let mut shortest = f64::INFINITY;
    for repetition in 0..WARM_UP + repetitions {
        let took = match part {
            Part::Forward => {
                let start = Instant::now();
                let y = work(&cx, &images)?;
                if matches!(layer.kind, Kind::BatchNorm) {
                    y.mean_hw()?;
                }
                start.elapsed()
            }
            _ => {
                let upstream = Upstream::ones(&cx, [layer.batch, channels, height, width])?;
                let y = work(&cx, &images)?;
                let start = Instant::now();
                upstream.backward(&y)?;
                start.elapsed()
            }
        };
        if repetition >= WARM_UP {
            shortest = shortest.min(took.as_secs_f64());
        }
    }
    Ok(shortest)
}

type Work = Box<dyn Fn(&Ctx, &Act) -> candle_core::Result<Act>>;

/// The layer's call; only for the gradient of the weight are parameters variables, except in batch norm.
fn work(layer: &Layer, part: Part) -> Result<Work> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let built = build(*layer, store.var_builder())?;
    if part == Part::Weight || matches!(layer.kind, Kind::BatchNorm) {
        return Ok(built);
    }
    let frozen: HashMap<_, _> = store.tensors().into_iter().collect();
    build(
        *layer,
        VarBuilder::from_tensors(frozen, DType::F32, &Device::Cpu),
    )
}

fn build(layer: Layer, vb: VarBuilder) -> Result<Work> {
    let channels = layer.channels;
    Ok(match layer.kind {
        Kind::Conv {
            outputs,
            kernel,
            stride,
            patches,
        } => {
            let config = Conv2dConfig {
                stride,
                padding: if patches { 0 } else { kernel / 2 },
                dilation: 1,
                groups: 1,
                bias: false,
            };
            let conv = Conv2d::new(channels, outputs, kernel, config, vb)?;
            Box::new(move |cx, x| conv.forward(cx, x))
        }
        Kind::BatchNorm => {
            let norm = BatchNorm2d::new(channels, NORM, vb)?;
            Box::new(move |cx, x| norm.forward_relu(cx, x))
        }
        Kind::MaxPool => {
            let pool = MaxPool2d {
                kernel: 3,
                stride: 2,
                padding: 1,
            };
            Box::new(move |cx, x| pool.forward(cx, x))
        }
        Kind::Linear { outputs } => {
            let linear = Linear::new(channels, outputs, vb)?;
            Box::new(move |cx, x| linear.forward(cx, x))
        }
        Kind::LayerNorm => {
            let norm = LayerNorm::new(channels, LAYER_NORM_EPS, vb)?;
            Box::new(move |cx, x| norm.forward(cx, x))
        }
        Kind::Attention { heads } => {
            let attention = Attention {
                heads,
                causal: false,
            };
            Box::new(move |cx, x| attention.forward(cx, x))
        }
    })
}
