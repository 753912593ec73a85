//! The published linear-probe protocols, every number spelt out.

use super::config::{
    EpochLength, FitConfig, HeadKind, InitConfig, InputNorm, MethodConfig, Normalise, ProbeConfig,
    StepRule, StepsConfig,
};
use super::grid::Grid;
use crate::schedule::{ScheduleConfig, Update};

/// A published protocol. What its authors do to images (crops, flips) belongs to the features that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MAE for ViT-B (facebookresearch/mae, `main_linprobe.py` and `FINETUNE.md` at efb2a80): batch norm without
    /// affine, LARS, 16,384 images a batch, base rate 0.1 for 256 images, 90 epochs, 10 of them warm-up.
    Mae,
    /// MoCo v1 and v2 (facebookresearch/moco, `main_lincls.py` at 010242b): SGD at 30, a tenth of it from epochs 60 and
    /// 80 on, 100 epochs. For pooled features as they are: on unit-length ones it diverges.
    MocoV2,
    /// CLIP (arXiv 2103.00020, A.3): logistic regression; of 97 values of `C` between 1e-6 and 1e6, seven first, then
    /// closer and closer to the peak on validation images; then a fit to training and validation images.
    Clip,
    /// LAION's CLIP_benchmark (`clip_benchmark/metrics/linear_probe.py` at 48de38c): AdamW at 0.1 on unit-length
    /// features, 10 epochs of 64 images, weight decay searched as CLIP's `C` between 1e-6 and 1e2, then a fit to both.
    ClipBenchmark,
    /// DINOv2 (facebookresearch/dinov2, `dinov2/eval/linear.py` at b8931f7) with one process's batch of 128: 13
    /// learning rates at once, SGD, 12,500 steps. Its choice of features is [`super::probe_best_features`].
    Dinov2Linear,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 5] = [
        Self::Mae,
        Self::MocoV2,
        Self::Clip,
        Self::ClipBenchmark,
        Self::Dinov2Linear,
    ];

    /// The name in files and result rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mae => "mae",
            Self::MocoV2 => "moco_v2",
            Self::Clip => "clip",
            Self::ClipBenchmark => "clip_benchmark",
            Self::Dinov2Linear => "dinov2_linear",
        }
    }

    /// The protocol for these methods. Without validation images, [`Protocol::Clip`] and [`Protocol::ClipBenchmark`]
    /// need one value in place of their grids: CLIP's README has `C` 0.316, CLIP_benchmark no decay.
    pub fn config(self, methods: Vec<MethodConfig>) -> ProbeConfig {
        let (normalise, fit, refit) = match self {
            Self::Mae => (Normalise::Off, FitConfig::Steps(mae()), false),
            Self::MocoV2 => (Normalise::Off, FitConfig::Steps(moco_v2()), false),
            Self::Clip => (Normalise::Off, clip(), true),
            Self::ClipBenchmark => (Normalise::L2, FitConfig::Steps(clip_benchmark()), true),
            Self::Dinov2Linear => (Normalise::Off, FitConfig::Steps(dinov2_linear()), false),
        };
        ProbeConfig {
            protocol: self.name().to_string(),
            normalise,
            methods,
            fit,
            refit,
        }
    }
}

fn clip() -> FitConfig {
    FitConfig::Lbfgs {
        c: Grid::Peak {
            lowest: 1e-6,
            highest: 1e6,
            points: 97,
            first_stride: 16,
        },
        tolerance: 1e-4,
        max_iterations: 1000,
    }
}

fn mae() -> StepsConfig {
    StepsConfig {
        head: HeadKind::Linear {},
        init: InitConfig::Normal { std: 0.01 },
        input_norm: InputNorm::BatchNorm {
            eps: 1e-6,
            momentum: 0.1,
        },
        rule: StepRule::Lars {
            momentum: 0.9,
            trust: 0.001,
        },
        lrs: vec![0.1 * 16_384.0 / 256.0],
        weight_decay: no_decay(),
        schedule: half_cosine(10.0),
        epochs: 90,
        epoch_length: EpochLength::FullBatches {},
        images_per_batch: 16_384,
    }
}

fn moco_v2() -> StepsConfig {
    StepsConfig {
        head: HeadKind::Linear {},
        init: InitConfig::Normal { std: 0.01 },
        input_norm: InputNorm::Off {},
        rule: StepRule::Sgd { momentum: 0.9 },
        lrs: vec![30.0],
        weight_decay: no_decay(),
        schedule: ScheduleConfig::Step {
            milestones: vec![60.0, 80.0],
            factor: 0.1,
            warmup_epochs: 0.0,
            start_factor: 1.0,
        },
        epochs: 100,
        epoch_length: EpochLength::AllImages {},
        images_per_batch: 256,
    }
}

fn clip_benchmark() -> StepsConfig {
    StepsConfig {
        head: HeadKind::Linear {},
        init: InitConfig::PytorchDefault {},
        input_norm: InputNorm::Off {},
        rule: StepRule::Adamw {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        },
        lrs: vec![0.1],
        weight_decay: Grid::Peak {
            lowest: 1e-6,
            highest: 1e2,
            points: 97,
            first_stride: 16,
        },
        schedule: half_cosine(0.0),
        epochs: 10,
        epoch_length: EpochLength::AllImages {},
        images_per_batch: 64,
    }
}

fn dinov2_linear() -> StepsConfig {
    let bases = [
        1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
    ];
    StepsConfig {
        head: HeadKind::Linear {},
        init: InitConfig::Normal { std: 0.01 },
        input_norm: InputNorm::Off {},
        rule: StepRule::Sgd { momentum: 0.9 },
        lrs: bases.map(|base| base * 128.0 / 256.0).to_vec(),
        weight_decay: no_decay(),
        schedule: half_cosine(0.0),
        epochs: 10,
        epoch_length: EpochLength::Steps { steps: 1250 },
        images_per_batch: 128,
    }
}

fn no_decay() -> Grid {
    Grid::Values { values: vec![0.0] }
}

/// From 0 over the warm-up, and to 0 at the end, at every step.
fn half_cosine(warmup_epochs: f64) -> ScheduleConfig {
    ScheduleConfig::WarmupCosine {
        warmup_epochs,
        start_factor: 0.0,
        final_factor: 0.0,
        update: Update::EveryStep,
    }
}
