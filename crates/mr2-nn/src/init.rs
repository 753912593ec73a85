//! The initialisations that image classifiers are trained from, as values of `candle_nn::Init`.
//!
//! They are descriptions, not numbers: [`crate::params::ParamStore`] draws from them with its own
//! seeded generator, a `candle_nn::VarMap` with Candle's, which can't be seeded on the CPU.
use candle_nn::Init;
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};

/// All zeros: biases of normalisation layers.
pub const ZEROS: Init = Init::Const(0.0);

/// All ones: scales of normalisation layers.
pub const ONES: Init = Init::Const(1.0);

/// `torch.nn.init.kaiming_normal_(weight)` as it is when nothing else is said: normal with
/// standard deviation `sqrt(2 / fan_in)` (He et al. 2015, arXiv 1502.01852).
pub const KAIMING_NORMAL_FAN_IN: Init = kaiming(NormalOrUniform::Normal, FanInOut::FanIn);

/// `torch.nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")`: normal with
/// standard deviation `sqrt(2 / fan_out)`, as torchvision's ResNets start.
pub const KAIMING_NORMAL_FAN_OUT: Init = kaiming(NormalOrUniform::Normal, FanInOut::FanOut);

/// `torch.nn.init.kaiming_uniform_(weight, nonlinearity="relu")`: uniform within
/// `sqrt(6 / fan_in)`.
pub const KAIMING_UNIFORM_FAN_IN: Init = kaiming(NormalOrUniform::Uniform, FanInOut::FanIn);

/// What `torch.nn.Linear` and `torch.nn.Conv2d` start from, weight and bias alike: uniform within
/// `1 / sqrt(fan_in)`.
///
/// The fan-in is an argument because a bias doesn't know it: features for a linear layer,
/// channels per group x kernel height x kernel width for a convolution.
pub fn pytorch_default(fan_in: usize) -> Init {
    // PyTorch's own rule gives a layer without inputs a bound of zero.
    let bound = if fan_in == 0 {
        0.0
    } else {
        1.0 / (fan_in as f64).sqrt()
    };
    Init::Uniform {
        lo: -bound,
        up: bound,
    }
}

/// A normal distribution about zero, for instance 0.01 for a linear probe's weight.
pub const fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0.0, stdev }
}

const fn kaiming(dist: NormalOrUniform, fan: FanInOut) -> Init {
    Init::Kaiming {
        dist,
        fan,
        non_linearity: NonLinearity::ReLU,
    }
}
