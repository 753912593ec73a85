//! A run of 24 steps on tiny data, and what happens to its process on the way.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{expect, folder, mr2, texts, tiny_data};

/// 90 training images in batches of 15, four epochs.
const RUN: &str = r#"
name = "tiny"

[data]
dataset = "tiny"
validation = { kind = "none" }
training_images = { kind = "all" }
training_labels = { kind = "given" }
test_images = { kind = "all" }
shifts = { kind = "none" }
images_per_batch = 15
evaluation_images_per_batch = 20
sampler = { kind = "shuffled" }
drop_last = false
loader_workers = 1
train_transforms = [
    { kind = "random_crop", size = 16, padding = 1 },
    { kind = "normalize", mean = [0.3], std = [0.3] },
]
evaluation_transforms = [{ kind = "normalize", mean = [0.3], std = [0.3] }]

[model]
backbone = "resnet8"
head = { kind = "linear" }
dropout = 0.0

[training]
seed = 1
epochs = 4
schedule = { kind = "warmup_cosine", warmup_epochs = 0.5, start_factor = 0.1, final_factor = 0.0, update = "every_step" }
optimizer = { kind = "sgd", lr = 0.1, momentum = 0.9, nesterov = true, weight_decay = 5e-4, decay_norm_and_bias = true }
clip = { kind = "off" }
label_smoothing = 0.0
sharpness = { kind = "off" }
checkpoint_every_steps = 5
log_every_steps = 1
select = "last"
test_every_epoch = false
class_measures = "off"

"#;

/// Steps of the run.
pub const STEPS: u64 = 24;

/// A folder with the data, the run file `tiny.toml` and the runs.
pub struct Tiny {
    place: tempfile::TempDir,
    data: PathBuf,
}

impl Tiny {
    /// With the objective that `mr2 presets` prints for `recommended`.
    pub fn new() -> Self {
        Self::with_preset("recommended")
    }

    /// With dropout on the way: a wide net, on images of 8×8 because it takes longer.
    pub fn with_dropout() -> Self {
        let tiny = Self::new();
        let file = tiny.path("tiny.toml");
        let mut text = std::fs::read_to_string(&file).unwrap();
        for (old, new) in [
            ("\"resnet8\"", "\"wrn-28-2\""),
            ("dropout = 0.0", "dropout = 0.3"),
            ("size = 16, padding = 1", "size = 8, padding = 0"),
            (
                "evaluation_transforms = [",
                "evaluation_transforms = [{ kind = \"centre_crop\", size = 8 }, ",
            ),
        ] {
            assert_eq!(text.matches(old).count(), 1, "{old}");
            text = text.replace(old, new);
        }
        std::fs::write(file, text).unwrap();
        tiny
    }

    /// With the objective that `mr2 presets` prints for `preset`.
    pub fn with_preset(preset: &str) -> Self {
        let (objective, _) = expect(mr2().args(["presets", preset]), 0);
        Self::with_objective(&objective)
    }

    /// With the section that says what is minimised.
    pub fn with_objective(objective: &str) -> Self {
        let place = folder();
        let data = tiny_data(place.path());
        std::fs::write(place.path().join("tiny.toml"), format!("{RUN}{objective}")).unwrap();
        Self { place, data }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// `mr2 COMMAND …` with the data root.
    pub fn command(&self, command: &str) -> Command {
        let mut process = mr2();
        process.arg(command).arg("--data-root").arg(&self.data);
        process
    }

    /// `mr2 train` of the run file into `out`.
    pub fn train(&self, out: &str) -> Command {
        let mut process = self.command("train");
        process.arg("--config").arg(self.path("tiny.toml"));
        process.arg("--out").arg(self.path(out));
        process
    }

    /// Trains to the end; returns the run folder.
    pub fn trained(&self, out: &str) -> PathBuf {
        expect(&mut self.train(out), 0);
        self.path(out)
    }

    /// The predictions of the run in `out`, byte for byte.
    pub fn predictions(&self, out: &str) -> Vec<u8> {
        std::fs::read(self.path(out).join("predictions.safetensors")).unwrap()
    }
}

/// Starts the command with its streams kept, and waits until `there` is or the process has ended.
pub fn start_until(command: &mut Command, there: impl Fn() -> bool) -> Child {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let begun = Instant::now();
    while !there() && child.try_wait().unwrap().is_none() {
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(120),
            "{command:?} does nothing"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Starts a run into `out` and sends it the signal `name` once `moment` is there.
///
/// On a busy machine a run can end before the signal comes: then it is done again.
pub fn end_by(
    name: &str,
    tiny: &Tiny,
    out: &str,
    moment: impl Fn(&Path) -> bool,
) -> (Option<i32>, String, String) {
    let run = tiny.path(out);
    for _ in 0..20 {
        let child = start_until(&mut tiny.train(out), || moment(&run));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        if !run.join("result.json").exists() {
            let (stdout, stderr) = texts(&output);
            return (output.status.code(), stdout, stderr);
        }
        std::fs::remove_dir_all(&run).unwrap();
    }
    panic!("20 runs ended before {name} came");
}

/// Lines of metrics in a run folder.
pub fn lines_of_metrics(run: &Path) -> usize {
    let text = std::fs::read(run.join("metrics.jsonl")).unwrap_or_default();
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Sends a signal by its name, such as `TERM`.
pub fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success(), "{kill}");
}
