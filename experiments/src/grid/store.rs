//! Where runs are: folders named by the hash of their resolved configuration, here and among committed results.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mr2_train::{RunResult, TrainConfig};
use sha2::{Digest, Sha256};

use crate::config::RunConfig;

/// Hexadecimal digits of a key: 64 bits of the hash.
const DIGITS: usize = 16;

/// The folders that runs are looked for in.
#[derive(Clone, Debug)]
pub struct Store {
    runs: PathBuf,
    committed: Option<PathBuf>,
}

impl Store {
    /// Runs are trained in `runs`; finished ones are read in `committed` too.
    pub fn new(runs: &Path, committed: Option<&Path>) -> Self {
        Self {
            runs: runs.to_path_buf(),
            committed: committed.map(Path::to_path_buf),
        }
    }

    /// Where a run is trained.
    pub fn folder(&self, key: &str) -> PathBuf {
        self.runs.join(key)
    }

    /// Where a finished run is; its result.json alone counts.
    pub fn finished(&self, key: &str) -> Option<PathBuf> {
        self.folder_with(key, "result.json")
    }

    /// The folder of this name that has the file.
    pub fn folder_with(&self, key: &str, file: &str) -> Option<PathBuf> {
        let committed = self.committed.iter().map(|folder| folder.join(key));
        std::iter::once(self.folder(key))
            .chain(committed)
            .find(|folder| folder.join(file).is_file())
    }

    /// Copies what other tables and machines need of a finished run or a measured cost into `folder`, unless it
    /// is there: the data without white space, and the configuration.
    ///
    /// # Errors
    /// Names the file that can't be read or written.
    pub fn collect(&self, key: &str, folder: &Path) -> Result<()> {
        for (name, is_data) in [
            ("config.toml", false),
            ("cost.json", true),
            ("result.json", true),
        ] {
            let (from, to) = (self.runs.join(key).join(name), folder.join(key).join(name));
            if !from.is_file() || to.is_file() {
                continue;
            }
            let cannot = || format!("cannot copy {} to {}", from.display(), to.display());
            let mut bytes = std::fs::read(&from).with_context(cannot)?;
            if is_data {
                let value: serde_json::Value =
                    serde_json::from_slice(&bytes).with_context(cannot)?;
                bytes = serde_json::to_vec(&value).with_context(cannot)?;
                bytes.push(b'\n');
            }
            write(&to, &bytes)?;
        }
        Ok(())
    }

    /// The result of a finished run, or `None` where there is none yet.
    ///
    /// # Errors
    /// For a file that isn't a result, or one of another run.
    pub fn result(&self, key: &str, config: &TrainConfig) -> Result<Option<RunResult>> {
        let Some(folder) = self.finished(key) else {
            return Ok(None);
        };
        let result = RunResult::read(&folder)?;
        if result.config != *config {
            bail!(
                "{}: its configuration isn't the one that its name is the hash of; move the folder away",
                folder.join("result.json").display()
            );
        }
        Ok(Some(result))
    }
}

/// The hash that names a run: of every value of its configuration but its name.
///
/// # Errors
/// When the configuration can't be written as JSON.
pub fn key(config: &RunConfig) -> Result<String> {
    let mut value = serde_json::to_value(config).context("the run's configuration")?;
    if let Some(object) = value.as_object_mut() {
        object.remove("name");
    }
    Ok(digest(value.to_string().as_bytes()))
}

/// The beginning of the hash of `bytes`, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..DIGITS].to_string()
}

/// Writes a file whole or not at all, and makes its folder.
///
/// # Errors
/// Names the file that can't be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().with_context(cannot)?;
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut aside = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    aside.write_all(bytes).with_context(cannot)?;
    aside.as_file().sync_all().with_context(cannot)?;
    aside.persist(path).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunFile;

    const RUN: &str = include_str!("../../runs/rehearsal-erm.toml");

    fn key_of(overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|one| one.to_string()).collect();
        let file = RunFile::parse(RUN, "rehearsal-erm.toml", &overrides).expect("a run file");
        key(&file.config).expect("a key")
    }

    #[test]
    fn a_key_is_of_every_value_but_the_name_and_of_the_values_only() {
        let plain = key_of(&[]);
        assert_eq!(plain.len(), DIGITS);
        assert_eq!(key_of(&["name=other"]), plain);
        // Written otherwise, the same values.
        assert_eq!(key_of(&["training.optimizer.lr=1e-1"]), plain);
        assert_eq!(key_of(&["training.objective={ kind = \"erm\" }"]), plain);
        let changes = [
            "training.seed=2",
            "training.epochs=7",
            "training.optimizer.lr=0.10000000000000002",
            "training.optimizer.decay_norm_and_bias=false",
            "training.label_smoothing=0.1",
            "training.test_every_epoch=false",
            "training.objective={ kind = \"balanced_softmax\" }",
            "data.images_per_batch=32",
            "data.drop_last=false",
            "data.loader_workers=2",
            "data.test_images={ kind = \"balanced\", per_class = 5, seed = 0 }",
            "data.train_transforms=[{ kind = \"normalize\", mean = [0.2860], std = [0.3530] }]",
            "model.backbone=resnet20",
            "model.head={ kind = \"cosine\", scale = 1.0 }",
        ];
        let mut keys: Vec<String> = changes.iter().map(|one| key_of(&[one])).collect();
        keys.push(plain);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), changes.len() + 1, "each change is another run");
    }

    #[test]
    fn a_finished_run_is_found_here_first_and_then_among_committed_ones() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let (runs, committed) = (place.path().join("runs"), place.path().join("committed"));
        let store = Store::new(&runs, Some(&committed));
        assert_eq!(store.finished("abc"), None);
        let write = |folder: &Path| {
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::write(folder.join("result.json"), "{}").expect("a file");
        };
        write(&committed.join("abc"));
        assert_eq!(store.finished("abc"), Some(committed.join("abc")));
        write(&runs.join("abc"));
        assert_eq!(store.finished("abc"), Some(runs.join("abc")));
        // A folder without a result is a run that isn't finished.
        std::fs::create_dir_all(runs.join("def")).expect("a folder");
        assert_eq!(store.finished("def"), None);
    }

    #[test]
    fn a_result_of_another_configuration_is_refused() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let result = root.join("experiments/results/quickstart/runs/erm-seed1.json");
        std::fs::create_dir(place.path().join("abc")).expect("a folder");
        std::fs::copy(result, place.path().join("abc/result.json")).expect("a result");
        let store = Store::new(place.path(), None);
        let own = RunResult::read(&place.path().join("abc"))
            .expect("a result")
            .config;
        let found = store.result("abc", &own).expect("its own configuration");
        assert_eq!(found.map(|result| result.seed), Some(1));
        assert!(store.result("def", &own).expect("nothing there").is_none());
        let other = TrainConfig { seed: 2, ..own };
        let error = store.result("abc", &other).expect_err("another seed");
        assert!(
            error
                .to_string()
                .contains("isn't the one that its name is the hash of"),
            "{error}"
        );
    }
}
