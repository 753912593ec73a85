//! `mr2 bench layer`: one layer on its own, forward and backward to the images.

use anyhow::Result;
use candle_core::{DType, Device};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::{AvgPool2d, Dropout, Layer, MaxPool2d};
use mr2_nn::machine::{Upstream, activation};

use super::Measure;
use super::timing::Timing;

const WARM_UP: u32 = 3;
const REPETITIONS: u32 = 30;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The layer: pooling of 3 x 3 pixels with stride 2 and padding 1, or dropout with probability 0.3.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Images of a batch.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Height and width of the images.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Channels of the images.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    #[command(flatten)]
    pub(super) measure: Measure,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Kind {
    MaxPool,
    AvgPool,
    Dropout,
}

impl Kind {
    fn layer(self) -> Result<(&'static str, Box<dyn Layer>)> {
        let (kernel, stride, padding) = (3, 2, 1);
        Ok(match self {
            Self::MaxPool => {
                let pool = MaxPool2d {
                    kernel,
                    stride,
                    padding,
                };
                ("maximum", Box::new(pool))
            }
            Self::AvgPool => {
                let pool = AvgPool2d {
                    kernel,
                    stride,
                    padding,
                    count_include_pad: true,
                };
                ("mean", Box::new(pool))
            }
            Self::Dropout => ("dropout", Box::new(Dropout::new(0.3)?)),
        })
    }
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let [batch, size, channels] = [args.batch, args.size, args.channels].map(|n| n as usize);
    let (name, layer) = args.kind.layer()?;
    let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
    context.begin_step(0, 0);
    let images = activation(&context, [batch, channels, size, size], true)?;
    let (batch, channels, height, width) = layer.forward(&context, &images)?.dims4();
    let timing = Timing::of_prepared(
        WARM_UP,
        args.measure.repetitions(REPETITIONS),
        || Ok(Upstream::ones(&context, [batch, channels, height, width])?),
        |upstream| {
            upstream.backward(&layer.forward(&context, &images)?)?;
            Ok(0.0)
        },
    )?;
    let what = format!("{name}, forward + backward, {size}x{size}x{channels}, batch {batch}");
    Ok((what, timing))
}
