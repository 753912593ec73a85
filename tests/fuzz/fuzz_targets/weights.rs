#![no_main]
//! Files of weights: safetensors, PyTorch's archives and its older stream.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mr2_backbones::weights::read;
use mr2_fuzz::Scratch;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = read(&SCRATCH.write("weights", bytes)) {
        for tensor in file.tensors.values() {
            tensor.flatten_all().expect("what is read is a tensor");
        }
    }
});
