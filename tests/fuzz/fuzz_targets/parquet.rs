#![no_main]
//! Parquet as on the Hugging Face Hub, with images of one size (decoded at once) and of any.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mr2_data::Layout;
use mr2_fuzz::{Scratch, descriptor, read_all};

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(
    init: {
        // libFuzzer's hook ends the process at any panic; here one that the reader catches is no failure.
        // What it doesn't catch still is.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        SCRATCH.write("bytes", bytes);
        for size in [None, Some((32, 32))] {
            let layout = Layout::HubParquet {
                image_column: "img".to_string(),
                label_column: "label".to_string(),
                train: vec!["bytes".to_string()],
                test: vec!["bytes".to_string()],
            };
            if read_all(&descriptor(layout, size), SCRATCH.path()).is_err() {
                break;
            }
        }
    }
);
