//! What the tests of the whole program share: a temporary folder, the built programs, a run that takes a second.

mod tiny_run;

pub use tiny_run::{STEPS, Tiny, end_by, lines_of_metrics, signal, start_until};

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that is removed with its contents when the test ends.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The built `mr2`, without a terminal and without the caller's settings.
pub fn mr2() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_mr2")))
}

/// The built quickstart.
pub fn quickstart() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_quickstart")))
}

/// The built program of a table.
pub fn table_program(name: &str) -> Command {
    // Programs are built side by side.
    let program = Path::new(env!("CARGO_BIN_EXE_mr2")).with_file_name(name);
    clean(Command::new(program))
}

fn clean(mut command: Command) -> Command {
    command
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .current_dir(root());
    command
}

/// Runs and returns (stdout, stderr); panics with both when the exit status isn't `status`.
pub fn expect(command: &mut Command, status: i32) -> (String, String) {
    let output = command.output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{command:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
    );
    (stdout, stderr)
}

/// Both streams as text.
pub fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).to_string(),
        String::from_utf8_lossy(&output.stderr).to_string(),
    )
}

/// The descriptor of [`tiny_data`].
const DESCRIPTOR: &str = r#"
name = "tiny"
summary = "three classes of 16 x 16 images"
source = "made by the test"
licence = "none"
classes = ["a", "b", "c"]
channels = 1
height = 16
width = 16
mean = [0.3]
std = [0.3]

[[layouts]]
kind = "idx"
train_images = "train-images-idx3-ubyte"
train_labels = "train-labels-idx1-ubyte"
test_images = "t10k-images-idx3-ubyte"
test_labels = "t10k-labels-idx1-ubyte"
"#;

/// A data root with 30 + 10 images of each of 3 classes (16×16, one channel), learnable in a few steps.
pub fn tiny_data(folder: &Path) -> PathBuf {
    let root = folder.join("datasets");
    let images = root.join("tiny");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::write(root.join("tiny.toml"), DESCRIPTOR).unwrap();
    for (split, per_class) in [("train", 30_usize), ("t10k", 10)] {
        let mut pixels = Vec::new();
        let mut labels = Vec::new();
        for index in 0..per_class * 3 {
            let class = index % 3;
            labels.push(class as u8);
            for pixel in 0..256_usize {
                let noise = (index * 7919 + pixel * 104_729) % 97;
                let bright = (pixel / 16) % 3 == class;
                pixels.push((noise + if bright { 140 } else { 10 }) as u8);
            }
        }
        let count = (per_class * 3) as u32;
        let mut file = Vec::new();
        for word in [0x0803_u32, count, 16, 16] {
            file.extend(word.to_be_bytes());
        }
        file.extend(pixels);
        std::fs::write(images.join(format!("{split}-images-idx3-ubyte")), file).unwrap();
        let mut file = Vec::new();
        for word in [0x0801_u32, count] {
            file.extend(word.to_be_bytes());
        }
        file.extend(labels);
        std::fs::write(images.join(format!("{split}-labels-idx1-ubyte")), file).unwrap();
    }
    root
}
