//! `mr2 bench stack`: convolutions with batch normalisation, by mr2-nn or by candle-nn.

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, ModuleT, VarBuilder};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::{BatchNormConfig, ConvBn};
use mr2_nn::params::ParamStore;

use super::timing::Timing;
use super::{Measure, inputs};

const WARM_UP: u32 = 2;
const REPETITIONS: u32 = 10;
const NORM: BatchNormConfig = BatchNormConfig {
    eps: 1e-5,
    momentum: 0.1,
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Whose layers.
    #[arg(long, value_enum)]
    engine: Engine,
    /// Images of a batch.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Height and width of the images.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Channels of the images and of every layer.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    /// Convolutions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    layers: u32,
    #[command(flatten)]
    pub(super) measure: Measure,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Engine {
    Mr2,
    Candle,
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let [batch, size, channels, layers] =
        [args.batch, args.size, args.channels, args.layers].map(|n| n as usize);
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let images = inputs::normals("images", &[batch, channels, size, size])?;
    let (name, timing) = match args.engine {
        Engine::Mr2 => ("mr2-nn", ours(args, &store, channels, layers, &images)?),
        Engine::Candle => (
            "candle-nn",
            candles(args, &store, channels, layers, &images)?,
        ),
    };
    let what = format!(
        "{layers} 3x3 convolutions with batch norm and ReLU by {name}, forward + backward, \
         {size}x{size}x{channels}, batch {batch}"
    );
    Ok((what, timing))
}

fn ours(
    args: &Args,
    store: &ParamStore,
    channels: usize,
    layers: usize,
    images: &Tensor,
) -> Result<Timing> {
    let unit = |layer: usize| {
        let vb = store.var_builder().pp(layer);
        ConvBn::new(
            channels,
            channels,
            3,
            1,
            1,
            NORM,
            vb.pp("conv"),
            vb.pp("bn"),
        )
    };
    let units = (0..layers).map(unit).collect::<Result<Vec<_>, _>>()?;
    let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
    Timing::of(WARM_UP, args.measure.repetitions(REPETITIONS), || {
        let mut x = context.enter(images)?;
        for unit in &units {
            x = unit.forward_relu(&context, &x)?;
        }
        let loss = x.mean_hw()?.sqr()?.mean_all()?;
        context.backward(&loss)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })
}

fn candles(
    args: &Args,
    store: &ParamStore,
    channels: usize,
    layers: usize,
    images: &Tensor,
) -> Result<Timing> {
    let unit = |layer: usize| candle_unit(channels, store.var_builder().pp(layer));
    let units = (0..layers).map(unit).collect::<Result<Vec<_>, _>>()?;
    Timing::of(WARM_UP, args.measure.repetitions(REPETITIONS), || {
        let mut x = images.clone();
        for (conv, norm) in &units {
            x = norm.forward_t(&conv.forward_t(&x, true)?, true)?.relu()?;
        }
        let loss = x.mean((2, 3))?.sqr()?.mean_all()?;
        loss.backward()?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })
}

/// The same layers, names and initial values as mr2-nn's.
fn candle_unit(channels: usize, vb: VarBuilder) -> candle_core::Result<(Conv2d, BatchNorm)> {
    let config = Conv2dConfig {
        padding: 1,
        ..Default::default()
    };
    let init = mr2_nn::init::pytorch_default(channels * 9);
    let shape = (channels, channels, 3, 3);
    let weight = vb.pp("conv").get_with_hints(shape, "weight", init)?;
    let vector = |name: &str, value| {
        let init = candle_nn::Init::Const(value);
        vb.pp("bn").get_with_hints(channels, name, init)
    };
    // Candle blends running statistics into variables of its own.
    let running = |name: &str, value| {
        let start = vector(name, value)?.detach();
        Ok::<_, candle_core::Error>(Var::from_tensor(&start)?.into_inner())
    };
    let norm = BatchNorm::new(
        channels,
        running("running_mean", 0.0)?,
        running("running_var", 1.0)?,
        vector("weight", 1.0)?,
        vector("bias", 0.0)?,
        NORM.eps,
    )?;
    Ok((Conv2d::new(weight, None, config), norm))
}
