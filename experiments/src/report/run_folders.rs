//! Finished runs as `mr2 train` left them, grouped by method.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mr2_train::objective::ObjectiveConfig;
use mr2_train::predictions::Predictions;
use mr2_train::result::RunResult;
use toml::{Table, Value};

use super::settings::differing;

/// One finished run.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    /// Its folder.
    pub folder: PathBuf,
    /// The run's name without its seed.
    pub method: String,
    /// `config.toml`.
    pub settings: Table,
    /// `result.json`.
    pub result: RunResult,
    /// The test predictions.
    pub predictions: Predictions,
}

/// What was found in the folders given.
#[derive(Clone, Debug)]
pub struct Found {
    /// Finished runs, in the order given.
    pub runs: Vec<FinishedRun>,
    /// Run folders inside a given folder that hold no result yet.
    pub unfinished: Vec<PathBuf>,
}

/// Reads run folders, and the run folders that lie directly in other folders.
///
/// # Errors
/// Names the folder or file that is missing or wrong, and what to do.
pub fn find(folders: &[PathBuf]) -> Result<Found> {
    let mut found = Found {
        runs: Vec::new(),
        unfinished: Vec::new(),
    };
    for folder in folders {
        if !folder.is_dir() {
            bail!(
                "{}: no such folder; name run folders made by `mr2 train`",
                folder.display()
            );
        }
        if folder.join("result.json").is_file() {
            found.runs.push(read(folder)?);
        } else if folder.join("config.toml").is_file() {
            bail!(
                "{}: the run isn't finished (no result.json); finish it with `mr2 train --resume`, or leave it out",
                folder.display()
            );
        } else {
            read_inside(folder, &mut found)?;
        }
    }
    check_same_data(&found.runs)?;
    check_same_settings(&found.runs)?;
    check_seeds(&found.runs)?;
    Ok(found)
}

/// Reads the run folders directly inside `folder`.
fn read_inside(folder: &Path, found: &mut Found) -> Result<()> {
    let cannot = || format!("{}: cannot list the folder", folder.display());
    let mut inside: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(cannot)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()
        .with_context(cannot)?;
    inside.sort();
    let before = found.runs.len() + found.unfinished.len();
    for path in inside {
        if path.join("result.json").is_file() {
            found.runs.push(read(&path)?);
        } else if path.join("config.toml").is_file() {
            found.unfinished.push(path);
        }
    }
    if found.runs.len() + found.unfinished.len() == before {
        bail!(
            "{}: neither a run folder (no result.json) nor a folder of run folders; \
             name folders made by `mr2 train --out` or by the quickstart",
            folder.display()
        );
    }
    Ok(())
}

/// Reads one run folder.
///
/// # Errors
/// Names the file that is missing or wrong.
pub fn read(folder: &Path) -> Result<FinishedRun> {
    let result = RunResult::read(folder)?;
    let path = folder.join(&result.predictions);
    let predictions = Predictions::read(&path).with_context(|| {
        format!(
            "{}: a report needs the predictions of every run",
            folder.display()
        )
    })?;
    if predictions.class_names != result.class_names {
        bail!(
            "{}: its class names differ from those in result.json; the two files are of different runs",
            path.display()
        );
    }
    let path = folder.join("config.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: cannot read the run's configuration", path.display()))?;
    let settings: Table =
        toml::from_str(&text).with_context(|| format!("{}: not valid TOML", path.display()))?;
    let named = settings
        .get("name")
        .and_then(Value::as_str)
        .map(str::to_string);
    let of_folder = || {
        folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_string()
    };
    let method = without_seed(&named.unwrap_or_else(of_folder));
    Ok(FinishedRun {
        folder: folder.to_path_buf(),
        method,
        settings,
        result,
        predictions,
    })
}

impl FinishedRun {
    /// Whether the run is plain cross-entropy.
    pub fn is_erm(&self) -> bool {
        matches!(self.result.config.objective, ObjectiveConfig::Erm { .. })
    }

    /// A value of `config.toml` for a heading, or `unknown`.
    pub fn setting(&self, key: &str) -> String {
        let mut value = None;
        for part in key.split('.') {
            let table = value.map_or(Some(&self.settings), Value::as_table);
            value = table.and_then(|t| t.get(part));
        }
        value
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_string()
    }
}

/// `mr2-seed3`, `mr2_seed_3` and `mr2 seed 3` are runs of `mr2`.
fn without_seed(name: &str) -> String {
    let ends = |c: char| c == '-' || c == '_' || c == ' ' || c == '=';
    let without_number = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if without_number.len() == name.len() {
        return name.to_string();
    }
    match without_number.trim_end_matches(ends).strip_suffix("seed") {
        Some(rest) if rest.ends_with(ends) => rest.trim_end_matches(ends).to_string(),
        _ => name.to_string(),
    }
}

fn check_same_data(runs: &[FinishedRun]) -> Result<()> {
    let Some(first) = runs.first() else {
        return Ok(());
    };
    let (key, names) = ("data.dataset", &first.result.class_names);
    for run in runs {
        let own = &run.result.class_names;
        let differing = names.iter().zip(own).find(|(a, b)| a != b);
        let problem = if run.setting(key) != first.setting(key) {
            let (a, b) = (first.setting(key), run.setting(key));
            format!("were trained on different data sets (`{a}` and `{b}`)")
        } else if own.len() != names.len() {
            format!("have different classes ({} and {})", names.len(), own.len())
        } else if let Some((a, b)) = differing {
            format!("name a class differently (`{a}` and `{b}`)")
        } else {
            continue;
        };
        bail!(
            "{} and {} {problem}; report runs on the same data set only",
            first.folder.display(),
            run.folder.display()
        );
    }
    Ok(())
}

/// A seed that counts twice would make an interval too narrow.
fn check_seeds(runs: &[FinishedRun]) -> Result<()> {
    let mut folder_of = BTreeMap::new();
    for run in runs {
        if let Some(other) = folder_of.insert((&run.method, run.result.seed), &run.folder) {
            bail!(
                "{} and {} are both seed {} of `{}`; name each run once",
                other.display(),
                run.folder.display(),
                run.result.seed,
                run.method
            );
        }
    }
    Ok(())
}

/// Runs under one name must be one method, or their mean would mean nothing.
fn check_same_settings(runs: &[FinishedRun]) -> Result<()> {
    let mut first_of: BTreeMap<&str, &FinishedRun> = BTreeMap::new();
    for run in runs {
        let first = *first_of.entry(&run.method).or_insert(run);
        let differing = differing(&[&first.settings, &run.settings]);
        if !differing.is_empty() {
            let keys: Vec<&str> = differing.iter().map(|s| s.key.as_str()).collect();
            bail!(
                "{} and {} are both named `{}` but differ in {}; give each its own `name` in its run file",
                first.folder.display(),
                run.folder.display(),
                run.method,
                keys.join(", ")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_the_runs_name_without_its_seed() {
        for (name, method) in [
            ("erm-seed1", "erm"),
            ("MR² seed 12", "MR²"),
            ("mr2_seed_3", "mr2"),
            ("resnet-8", "resnet-8"),
            ("seed3", "seed3"),
            ("birdseed7", "birdseed7"),
        ] {
            assert_eq!(without_seed(name), method);
        }
    }
}
