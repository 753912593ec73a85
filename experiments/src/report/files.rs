//! A report on disk: `report.json`, `.md`, `.tex`, `.html` and `plots/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::document::Document;
use super::folder;
use super::plots::Scene;
use super::{html, latex, markdown};

/// Version of `report.json`.
pub const FORMAT_VERSION: u32 = 1;

/// Everything of a report.
#[derive(Clone, Debug)]
pub struct Report<D> {
    /// What is rendered.
    pub document: Document,
    /// The numbers behind it, as they come from the metrics.
    pub data: D,
    /// The plots by name; each [`super::Figure`] of the document has one.
    pub plots: BTreeMap<String, Scene>,
}

#[derive(Serialize)]
struct ReportJson<'a, D> {
    format_version: u32,
    document: &'a Document,
    data: &'a D,
}

impl<D: Serialize> Report<D> {
    /// The content of `report.json`.
    ///
    /// # Errors
    /// When `data` can't be written as JSON.
    pub fn json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(&ReportJson {
            format_version: FORMAT_VERSION,
            document: &self.document,
            data: &self.data,
        })?;
        json.push(b'\n');
        Ok(json)
    }

    /// [`Report::write_as`] with the name `report`.
    ///
    /// # Errors
    /// As [`Report::write_as`].
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        self.write_as(folder, folder::STEM)
    }

    /// Writes the report into `folder`, which is made where it is missing, as `stem.json`, `.md`, `.tex` and
    /// `.html`; returns the files.
    ///
    /// An earlier report there is replaced, and stays whole if anything fails. Other files in the
    /// folder stay as they are.
    ///
    /// # Errors
    /// Names the file that can't be written, or that would be overwritten and is no report's.
    pub fn write_as(&self, folder: &Path, stem: &str) -> Result<Vec<PathBuf>> {
        let mut files = BTreeMap::new();
        let mut inline = BTreeMap::new();
        for (name, scene) in &self.plots {
            let svg = scene.svg()?;
            files.insert(format!("plots/{name}.png"), scene.png()?);
            files.insert(format!("plots/{name}.svg"), svg.clone().into_bytes());
            inline.insert(name.clone(), svg);
        }
        let page = html::render(&self.document, &inline);
        let name = |ending: &str| format!("{stem}.{ending}");
        files.insert(name("json"), self.json()?);
        files.insert(name("md"), markdown::render(&self.document).into());
        files.insert(name("tex"), latex::render(&self.document).into());
        files.insert(name("html"), page.into());
        folder::replace(folder, stem, &files)?;
        Ok(files.keys().map(|name| folder.join(name)).collect())
    }
}

/// A file name from the name of a method or file: lower-case letters, digits and dashes.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(60) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            '²' => slug.push('2'),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "unnamed".into()
    } else {
        slug.into()
    }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn file_names_of_plots_hold_nothing_of_a_path() {
        assert_eq!(slug("MR² recommended"), "mr2-recommended");
        assert_eq!(slug("../<script>&_%"), "script");
        assert_eq!(slug("²"), "2");
        assert_eq!(slug("日本"), "unnamed");
    }
}
