#![no_main]
//! Run files and descriptors of data sets; a run that is read is the same when it is written and read again.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mr2::assemble;
use mr2::config::RunFile;
use mr2_fuzz::Scratch;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(run) = RunFile::parse(text, "fuzzed", &[]) {
        let written = run.to_toml().expect("what is read can be written");
        let again = RunFile::parse(&written, "written", &[]).expect("what is written can be read");
        // As text, because not-a-number is not equal to itself.
        assert_eq!(format!("{:?}", run.config), format!("{:?}", again.config));
    }
    let path = SCRATCH.write("bytes.toml", bytes);
    let name = path.to_str().expect("a folder with a plain name");
    if let Ok((descriptor, _)) = assemble::descriptor(name, SCRATCH.path()) {
        let _ = descriptor.validate();
    }
});
