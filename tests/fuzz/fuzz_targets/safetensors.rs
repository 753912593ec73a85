#![no_main]
//! Statistics of classes and predictions of runs, both safetensors files; what is read is used and written.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mr2_fuzz::Scratch;
use mr2_stats::ClassStats;
use mr2_stats::candle_core::{DType, Device};
use mr2_train::Predictions;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|bytes: &[u8]| {
    let path = SCRATCH.write("bytes", bytes);
    if let Ok(stats) = ClassStats::open(&path, DType::F32, &Device::Cpu) {
        stats.snapshot().expect("what is read can be looked at");
        let copy = SCRATCH.path().join("copy");
        stats.save(&copy).expect("what is read can be written");
        ClassStats::open(&copy, DType::F32, &Device::Cpu).expect("what is written can be read");
    }
    if let Ok(predictions) = Predictions::read(&path) {
        let _ = predictions.per_class();
        let _ = predictions.mean_cross_entropy();
        predictions.to_csv();
        let written = predictions
            .to_safetensors()
            .expect("what is read can be written");
        let copy = SCRATCH.write("copy", &written);
        Predictions::read(&copy).expect("what is written can be read");
    }
});
