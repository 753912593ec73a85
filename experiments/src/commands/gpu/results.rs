//! A file of results that is whole after every row.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use serde_json::{Map, Value, json};

use super::machine;

/// The results of one part: facts about the run, and rows.
pub(super) struct Results {
    path: Option<PathBuf>,
    facts: Map<String, Value>,
    rows: Vec<Value>,
}

impl Results {
    /// Begins `PART.json` in the folder, or continues it; without a folder nothing is written.
    ///
    /// # Errors
    /// When the folder can't be made or the file to continue isn't one of these.
    pub(super) fn open(
        folder: Option<&Path>,
        part: &str,
        device: &Device,
        resume: bool,
    ) -> Result<Self> {
        let path = folder.map(|folder| folder.join(format!("{part}.json")));
        let mut facts = Map::new();
        facts.insert("part".to_string(), json!(part));
        facts.insert("gpu".to_string(), machine::about(device));
        facts.insert("versions".to_string(), json!(crate::run::versions()));
        let mut rows = Vec::new();
        if let Some(path) = path.as_ref().filter(|path| resume && path.exists()) {
            let text = std::fs::read_to_string(path)?;
            let before: Value = serde_json::from_str(&text)
                .with_context(|| format!("{}: not results of this command", path.display()))?;
            rows = before["rows"].as_array().cloned().unwrap_or_default();
        }
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let results = Self { path, facts, rows };
        results.write()?;
        Ok(results)
    }

    /// Whether an earlier start has a row with these values.
    pub(super) fn has(&self, keys: &[(&str, &str)]) -> bool {
        let fits = |row: &&Value| keys.iter().all(|(key, value)| row[*key] == *value);
        self.rows.iter().any(|row| fits(&row))
    }

    /// All rows, those of earlier starts included.
    pub(super) fn rows(&self) -> &[Value] {
        &self.rows
    }

    /// Adds a row and writes the file.
    pub(super) fn push(&mut self, row: Value) -> Result<()> {
        self.rows.push(row);
        self.write()
    }

    /// Sets a fact and writes the file.
    pub(super) fn set(&mut self, key: &str, value: Value) -> Result<()> {
        self.facts.insert(key.to_string(), value);
        self.write()
    }

    /// Beside the old file, then in its place.
    fn write(&self) -> Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut document = self.facts.clone();
        document.insert("rows".to_string(), Value::Array(self.rows.clone()));
        let text = serde_json::to_string_pretty(&document)? + "\n";
        let scratch = path.with_extension("json.new");
        std::fs::write(&scratch, text)
            .and_then(|()| std::fs::rename(&scratch, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
