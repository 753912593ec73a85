//! Where and in what runs compute: what `--device` and `--precision` name, opened. A choice of the machine and no part of a
//! run's configuration; `result.json` records it among its versions.

use std::str::FromStr;

#[cfg(feature = "cuda")]
use anyhow::Context;
use anyhow::{Result, bail};
use candle_core::{DType, Device, DeviceLocation};

/// Where to compute.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct DeviceArg {
    /// Where to compute: auto, cpu, cuda or cuda:N.
    ///
    /// auto takes the first NVIDIA GPU where the program was built with `--features cuda` and finds one, or else
    /// the CPU. A run is resumed on any device; only on the CPU does it have the same bits each time.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// How layers compute on a GPU; the CPU has f32 alone.
    ///
    /// Weights, class statistics and losses are f32 in all of them. tf32 is what PyTorch's convolutions do unless told
    /// otherwise.
    #[arg(long, value_enum, value_name = "PRECISION", default_value_t = Precision::F32)]
    precision: Precision,
}

impl DeviceArg {
    /// Opens the device, and logs which it is and why.
    ///
    /// # Errors
    /// As [`Choice::open`]; a precision that the device doesn't have.
    pub fn open(self) -> Result<Compute> {
        let device = self.device.open()?;
        self.device.log(&device);
        if device.is_cpu() && self.precision != Precision::F32 {
            let name = self.precision.name();
            bail!("--precision {name} needs an NVIDIA GPU: the CPU computes in f32 (leave it out)");
        }
        self.precision.apply();
        Ok(Compute {
            device,
            precision: self.precision,
        })
    }
}

/// Where and in what layers compute.
#[derive(Clone, Debug)]
pub struct Compute {
    /// Where.
    pub device: Device,
    /// In what.
    pub precision: Precision,
}

impl Compute {
    /// The CPU, in f32.
    pub const CPU: Self = Self {
        device: Device::Cpu,
        precision: Precision::F32,
    };

    /// The element type of activations.
    pub fn activations(&self) -> DType {
        self.precision.dtype()
    }
}

/// How layers compute; parameters and statistics are f32 in all of them.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32 without tensor cores.
    F32,
    /// f32 whose products are rounded to ten bits of mantissa.
    Tf32,
    /// Mixed: layers in bf16, which has the range of f32 and eight bits of mantissa.
    Bf16,
    /// Layers in f16, for evaluation alone: gradients would vanish in it.
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::Bf16, Self::F16];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// The element type of activations.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// Sets Candle's switch, one for the whole program, that lets products of f32 be rounded.
    pub fn apply(self) {
        #[cfg(feature = "cuda")]
        mr2_nn::cuda::set_tf32(self == Self::Tf32);
    }
}

/// What `--device` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first GPU if this build can use one and there is one, or else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number, counted from 0.
    Cuda(usize),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.strip_prefix("cuda:")?.parse().ok();
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => number(other).map(Self::Cuda).ok_or_else(|| {
                format!("expected auto, cpu, cuda or cuda:N with N from 0, such as cuda:1, got `{other}`")
            }),
        }
    }
}

impl Choice {
    /// The device; of a GPU a new handle each time, with a stream of its own: tensors of two handles don't mix, so
    /// that a run opens one.
    ///
    /// # Errors
    /// A GPU that is asked for by name, where this build can't use one or there is none.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if no_gpu().is_some() => Ok(Device::Cpu),
            Self::Auto => open_cuda(0),
            Self::Cuda(number) => match no_gpu() {
                Some(reason) => bail!("--device cuda: {reason}"),
                None => open_cuda(number),
            },
        }
    }

    /// One line on what `auto` took. A build for the CPU has nothing to choose, and says so on request only.
    fn log(self, device: &Device) {
        if self != Self::Auto {
            return tracing::debug!("computing on {}", describe(device));
        }
        match no_gpu() {
            Some(reason) if cfg!(feature = "cuda") => {
                tracing::info!("--device auto: computing on the CPU: {reason}");
            }
            Some(reason) => tracing::debug!("--device auto: computing on the CPU: {reason}"),
            None => tracing::info!("--device auto: computing on {}", describe(device)),
        }
    }
}

/// Why no GPU can be used, where that is so: a build without CUDA, or no device.
#[cfg(feature = "cuda")]
pub fn no_gpu() -> Option<String> {
    let none = "the driver finds no NVIDIA GPU here; `nvidia-smi` says what it sees, and a container must be given the GPU";
    (mr2_nn::cuda::count() == 0).then(|| none.to_string())
}

/// Why no GPU can be used.
#[cfg(not(feature = "cuda"))]
pub fn no_gpu() -> Option<String> {
    Some("this program was built without NVIDIA GPUs; build with --features cuda".to_string())
}

#[cfg(feature = "cuda")]
fn open_cuda(number: usize) -> Result<Device> {
    mr2_nn::cuda::open(number)
        .with_context(|| format!("cannot open cuda:{number}; --device cpu needs no GPU"))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(number: usize) -> Result<Device> {
    bail!("cannot open cuda:{number}; build with --features cuda")
}

/// The device as results record it: `cpu`, or `cuda:0 (its name, driver 580.1)`.
pub fn describe(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_string(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}{}", about_gpu(device)),
        DeviceLocation::Metal { .. } => "metal".to_string(),
    }
}

#[cfg(feature = "cuda")]
fn about_gpu(device: &Device) -> String {
    let name = mr2_nn::cuda::name(device).unwrap_or_else(|_| "unknown".to_string());
    let driver = driver_version().map_or(String::new(), |version| format!(", driver {version}"));
    format!(" ({name}{driver})")
}

#[cfg(not(feature = "cuda"))]
fn about_gpu(_: &Device) -> String {
    String::new()
}

/// The driver's version where the system tells it.
#[cfg(feature = "cuda")]
fn driver_version() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    version_in(&text)
}

/// The first word that is numbers between dots, as the driver's file has its version.
#[cfg(any(feature = "cuda", test))]
fn version_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        let mut parts = word.split('.');
        word.contains('.')
            && parts.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    text.split_whitespace().find(is_version).map(str::to_string)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_name_is_understood_and_anything_else_refused_with_them() {
        let named = [
            ("auto", Choice::Auto),
            ("cpu", Choice::Cpu),
            ("cuda", Choice::Cuda(0)),
            ("cuda:0", Choice::Cuda(0)),
            ("cuda:3", Choice::Cuda(3)),
        ];
        for (text, choice) in named {
            assert_eq!(text.parse(), Ok(choice), "{text}");
        }
        for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cpu:0"] {
            let error = text.parse::<Choice>().unwrap_err();
            assert!(error.contains("auto, cpu, cuda or cuda:N"), "{error}");
        }
    }

    #[test]
    fn the_cpu_is_what_it_says() {
        assert_eq!(describe(&Choice::Cpu.open().unwrap()), "cpu");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_auto_is_the_cpu_and_a_gpu_is_refused_with_what_to_do() {
        assert!(Choice::Auto.open().unwrap().is_cpu());
        let error = Choice::Cuda(0).open().unwrap_err().to_string();
        assert!(error.contains("build with --features cuda"), "{error}");
    }

    #[test]
    fn the_drivers_version_is_found_in_its_file() {
        let file = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n\
                    GCC version:  gcc version 12.2.0\n";
        assert_eq!(version_in(file).as_deref(), Some("580.95.05"));
        assert_eq!(version_in("no version. here"), None);
    }
}
