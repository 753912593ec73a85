//! A report on disk: `report.json`, `.md`, `.tex`, `.html` and `plots/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::document::Document;
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
    /// Writes the report into `folder`, which is made where it is missing; returns the files.
    ///
    /// # Errors
    /// Names the file that can't be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let plots = folder.join("plots");
        std::fs::create_dir_all(&plots)
            .with_context(|| format!("{}: cannot make the folder", plots.display()))?;
        let mut written = Vec::new();
        let mut write = |path: PathBuf, bytes: &[u8]| -> Result<()> {
            std::fs::write(&path, bytes)
                .with_context(|| format!("{}: cannot write it", path.display()))?;
            written.push(path);
            Ok(())
        };
        let mut inline = BTreeMap::new();
        for (name, scene) in &self.plots {
            let svg = scene.svg()?;
            write(plots.join(format!("{name}.svg")), svg.as_bytes())?;
            write(plots.join(format!("{name}.png")), &scene.png()?)?;
            inline.insert(name.clone(), svg);
        }
        let json = ReportJson {
            format_version: FORMAT_VERSION,
            document: &self.document,
            data: &self.data,
        };
        let mut json = serde_json::to_vec_pretty(&json)?;
        json.push(b'\n');
        write(folder.join("report.json"), &json)?;
        write(
            folder.join("report.md"),
            markdown::render(&self.document).as_bytes(),
        )?;
        write(
            folder.join("report.tex"),
            latex::render(&self.document).as_bytes(),
        )?;
        write(
            folder.join("report.html"),
            html::render(&self.document, &inline).as_bytes(),
        )?;
        Ok(written)
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
