//! A run's configuration: the TOML file as written, `--set` overrides, and the typed run they resolve to.
//!
//! Every value is spelled out in the file. Unknown and missing keys are errors that name the key and
//! the nearest valid one; a `preset` label is compared with the values that stand beside it.

mod data;
mod objective;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use mr2_backbones::Head;
use mr2_train::TrainConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use data::{DataConfig, Shifts, Validation};

/// One training run: data, model and training, every hyperparameter named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Label of the run in tables and plots.
    pub name: String,
    /// What is trained on and how it is fed.
    pub data: DataConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// How it is trained.
    pub training: TrainConfig,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A name that `mr2 models` lists.
    pub backbone: String,
    /// Classifier on top of the features.
    pub head: Head,
    /// Dropout inside the blocks, for the architectures that have it; otherwise 0.
    pub dropout: f64,
}

/// A configuration as written (with overrides applied) and as resolved.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// The table, `preset` label included; what is saved in the run folder.
    pub table: Table,
    /// The typed run.
    pub config: RunConfig,
}

impl RunFile {
    /// Reads `path` and applies `overrides` (`key.path=value`).
    ///
    /// # Errors
    /// When the file can't be read, isn't TOML, or a key or value is wrong; the message names it.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the run file {}", path.display()))?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// Parses `text`; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`RunFile::read`].
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self> {
        let mut table: Table =
            toml::from_str(text).map_err(|e| anyhow!("{origin}: not valid TOML: {e}"))?;
        for item in overrides {
            set(&mut table, item).with_context(|| format!("{origin}: --set {item}"))?;
        }
        let config = resolve(&table).with_context(|| origin.to_string())?;
        Ok(Self { table, config })
    }

    /// Gives the run another label.
    pub fn set_name(&mut self, name: &str) {
        self.table.insert("name".into(), name.into());
        self.config.name = name.into();
    }

    /// The text saved as `config.toml`: parsing it again gives the same run.
    ///
    /// # Errors
    /// When the table can't be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(&self.table)?)
    }
}

fn resolve(table: &Table) -> Result<RunConfig> {
    let mut table = table.clone();
    objective::check(&mut table)?;
    let config: RunConfig = typed(Value::Table(table.clone()))?;
    refuse_unused(&table, &config)?;
    objective::check_head(&config)?;
    Ok(config)
}

/// serde lets unknown keys pass beside the tag of a variant that has none (`kind = "shuffled"`):
/// what the typed run doesn't write back, it didn't read.
fn refuse_unused(table: &Table, config: &RunConfig) -> Result<()> {
    let known = leaves("", &Table::try_from(config)?);
    match leaves("", table).iter().find(|key| !known.contains(key)) {
        Some(key) => Err(unknown_key(key, &known)),
        None => Ok(()),
    }
}

/// Deserialises `value`; an unknown or missing key is named with its path and the nearest valid key.
///
/// # Errors
/// On the first key or value that doesn't fit.
pub fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    typed_at("", value)
}

/// [`typed`] for the value of the key `place` (empty for the whole file).
fn typed_at<T: serde::de::DeserializeOwned>(place: &str, value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = match error.path().iter().len() {
            0 => String::new(),
            _ => error.path().to_string(),
        };
        let place = match (place, inner.as_str()) {
            ("", "") => "top level".to_string(),
            ("", path) | (path, "") => format!("`{path}`"),
            (outer, inner) => format!("`{outer}.{inner}`"),
        };
        // Without the path that the error's own text ends in.
        let error = error.into_inner();
        let message = error.message();
        match suggestion(message) {
            Some(near) => anyhow!("at {place}: {message}; did you mean `{near}`?"),
            None => anyhow!("at {place}: {message}"),
        }
    })
}

/// The nearest of the names that serde lists after "expected".
fn suggestion(message: &str) -> Option<String> {
    let (unknown, expected) = message.split_once(", expected")?;
    let wrong = unknown.strip_prefix("unknown ")?.split('`').nth(1)?;
    nearest(wrong, expected.split('`').skip(1).step_by(2))
}

/// The candidate most like `wrong`, if any is like it at all.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.6)
        .map(|(_, name)| name.to_string())
}

/// Applies one `key.path=value`; the key must be there, since every key is.
fn set(table: &mut Table, item: &str) -> Result<()> {
    let (path, text) = item.split_once('=').context("expected key.path=value")?;
    let path = path.trim();
    let value = parse_value(text.trim());
    let known = leaves("", table);
    let mut slot = table;
    let parts: Vec<&str> = path.split('.').collect();
    let (last, parents) = parts.split_last().context("empty key")?;
    for part in parents {
        slot = slot
            .get_mut(*part)
            .and_then(Value::as_table_mut)
            .ok_or_else(|| unknown_key(path, &known))?;
    }
    let old = slot.get(*last).ok_or_else(|| unknown_key(path, &known))?;
    // `--set lr=1` means 1.0 where the file has a float.
    let value = match (old, value) {
        (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
        (_, value) => value,
    };
    slot.insert((*last).to_string(), value);
    Ok(())
}

fn parse_value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut t| t.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_string()))
}

fn unknown_key(path: &str, known: &[String]) -> anyhow::Error {
    match nearest(path, known.iter().map(String::as_str)) {
        Some(near) => anyhow!("no key `{path}` in this run file; did you mean `{near}`?"),
        None => anyhow!("no key `{path}` in this run file"),
    }
}

/// Dotted names of all keys below `table`.
pub fn leaves(prefix: &str, table: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        if let Value::Table(inner) = value {
            names.extend(leaves(&name, inner));
        }
        names.push(name);
    }
    names
}
