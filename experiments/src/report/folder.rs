//! A report's folder: a new report takes the place of the old one, whole or not at all.
//!
//! Everything is first written and synced beside the folder, so that a full disk or a kill leaves
//! the old report as it was. Then, where the folder holds nothing but a report, the two folders
//! change places. Where it holds other files too, those stay, and the report's files are moved in
//! one by one; only a kill between two of these moves can leave files of both reports.
//!
//! Which files are an old report's is read from its `report.json`. Nothing else is deleted or
//! overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The name of a report's files, before their endings, unless it has one of its own.
pub const STEM: &str = "report";
/// The ending of the file that says which plots belong to a report.
const INDEX: &str = "json";
/// Those of the files beside it and the plots.
const PAGES: [&str; 3] = ["md", "tex", "html"];
const PLOTS: &str = "plots";
/// How the name of a hidden folder inside it begins.
const INSIDE: &str = ".mr2-new-";
/// What a killed run has left is removed after this long; no run takes as long to write its files.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Contents by path below the folder, with `/` between folder and name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Puts `files` into `folder`, which is made where it is missing, in place of an earlier report.
///
/// # Errors
/// Names the file that can't be written, or that is there and isn't an earlier report's.
pub fn replace(folder: &Path, stem: &str, files: &Files) -> Result<()> {
    let place = Place::of(folder)?;
    place.recover()?;
    place.remove_what_was_left_behind();
    if !place.folder.exists() {
        let staged = Staged::write(&place.beside("new"), files, &place.folder)?;
        return staged.become_folder(&place.folder);
    }
    let old = files_of_report(&place.folder, stem);
    refuse_foreign(&place.folder, stem, files, &old)?;
    if place.can_be_swapped(&old) && place.swap(files, &old).is_ok() {
        return Ok(());
    }
    // Other files are there, or the folder can't be moved (the current one, a mount point).
    move_in(&place.folder, stem, files, &old)
}

/// Where the report goes.
struct Place {
    folder: PathBuf,
    parent: PathBuf,
    name: String,
}

impl Place {
    /// Follows links, so that what they lead to is replaced and not they.
    fn of(folder: &Path) -> Result<Self> {
        let cannot = || format!("{}: cannot make the folder", folder.display());
        let folder = if folder.exists() {
            if !folder.is_dir() {
                bail!("{}: is a file; name a folder", folder.display());
            }
            folder.canonicalize().with_context(cannot)?
        } else {
            let parent = match folder.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            fs::create_dir_all(parent).with_context(cannot)?;
            let name = folder.file_name().with_context(cannot)?;
            parent.canonicalize().with_context(cannot)?.join(name)
        };
        let parent = folder.parent().unwrap_or(&folder).to_path_buf();
        let name = folder.file_name().unwrap_or_default();
        let name = name.to_string_lossy().to_string();
        Ok(Self {
            folder,
            parent,
            name,
        })
    }

    /// How the names of hidden folders beside it begin; a process's number follows.
    fn prefix(&self, what: &str) -> String {
        format!(".{}.mr2-{what}-", self.name)
    }

    /// A hidden folder beside it, of this process alone.
    fn beside(&self, what: &str) -> PathBuf {
        let process = std::process::id();
        self.parent.join(format!("{}{process}", self.prefix(what)))
    }

    /// A kill between the two renames of [`Self::swap`] leaves the old report under another name.
    fn recover(&self) -> Result<()> {
        let mut old = left_behind(&self.parent, &self.prefix("old"));
        old.sort_by_key(|(_, since)| *since);
        match old.pop() {
            Some((old, _)) if !self.folder.exists() => fs::rename(&old, &self.folder)
                .with_context(|| format!("{}: cannot move the report back", old.display())),
            _ => Ok(()),
        }
    }

    fn remove_what_was_left_behind(&self) {
        let beside = ["new", "old"].map(|what| left_behind(&self.parent, &self.prefix(what)));
        let inside = left_behind(&self.folder, INSIDE);
        for (folder, since) in beside.into_iter().flatten().chain(inside) {
            let age = SystemTime::now().duration_since(since);
            if age.is_ok_and(|age| age > LEFT_BEHIND) {
                remove(&folder, &names_in(&folder));
            }
        }
    }

    /// Whether the folder holds a report and nothing else, and nobody stands in it.
    fn can_be_swapped(&self, old: &BTreeSet<String>) -> bool {
        let inside = std::env::current_dir().is_ok_and(|here| here.starts_with(&self.folder));
        !inside && !old.is_empty() && names_in(&self.folder) == *old
    }

    /// The new folder takes the place of the old one.
    fn swap(&self, files: &Files, old: &BTreeSet<String>) -> Result<()> {
        let staged = Staged::write(&self.beside("new"), files, &self.folder)?;
        let permissions = fs::metadata(&self.folder)?.permissions();
        fs::set_permissions(&staged.folder, permissions)?;
        let aside = self.beside("old");
        fs::rename(&self.folder, &aside)?;
        if let Err(error) = staged.become_folder(&self.folder) {
            fs::rename(&aside, &self.folder)?;
            return Err(error);
        }
        remove(&aside, old);
        Ok(())
    }
}

/// Files that are complete but not in their place yet; removed again unless they get there.
struct Staged {
    folder: PathBuf,
    names: BTreeSet<String>,
}

impl Staged {
    /// Writes into `folder`; errors name the files in `place`, where they are meant to get.
    fn write(folder: &Path, files: &Files, place: &Path) -> Result<Self> {
        // Of a killed process that had our number.
        remove(folder, &names_in(folder));
        let staged = Self {
            folder: folder.to_path_buf(),
            names: files.keys().cloned().collect(),
        };
        for (name, bytes) in files {
            write(&folder.join(name), bytes)
                .with_context(|| format!("{}: cannot write it", place.join(name).display()))?;
        }
        Ok(staged)
    }

    fn become_folder(self, place: &Path) -> Result<()> {
        fs::rename(&self.folder, place)
            .with_context(|| format!("{}: cannot move the report there", place.display()))?;
        sync(place.parent().unwrap_or(place));
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        remove(&self.folder, &self.names);
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// So that a move outlives a power cut, on systems where a folder can be synced at all.
fn sync(folder: &Path) {
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
}

/// Moves new files over those of an earlier report, `report.json` last, and removes what the
/// earlier one had besides.
fn move_in(folder: &Path, stem: &str, files: &Files, old: &BTreeSet<String>) -> Result<()> {
    let aside = folder.join(format!("{INSIDE}{}", std::process::id()));
    let staged = Staged::write(&aside, files, folder)?;
    let index = format!("{stem}.{INDEX}");
    let (index, rest): (Vec<&String>, Vec<&String>) =
        staged.names.iter().partition(|name| **name == index);
    for name in rest.into_iter().chain(index) {
        let to = folder.join(name);
        let parent = to.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::rename(staged.folder.join(name), &to))
            .with_context(|| format!("{}: cannot write it", to.display()))?;
    }
    for name in old.difference(&staged.names) {
        // It is no part of the new report; that it can't be removed does that no harm.
        let _ = fs::remove_file(folder.join(name));
    }
    let _ = fs::remove_dir(folder.join(PLOTS));
    sync(folder);
    Ok(())
}

/// The folders in `folder` named `prefix` and a number, with the time of their last change.
fn left_behind(folder: &Path, prefix: &str) -> Vec<(PathBuf, SystemTime)> {
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_prefix(prefix);
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.map(|entry| entry.path()).filter(is_ours);
    ours.filter_map(|path| {
        let since = path.metadata().and_then(|m| m.modified()).ok()?;
        Some((path, since))
    })
    .collect()
}

/// Removes files by name, and the folders that are empty then.
fn remove(folder: &Path, names: &BTreeSet<String>) {
    for name in names {
        let _ = fs::remove_file(folder.join(name));
    }
    let _ = fs::remove_dir(folder.join(PLOTS));
    let _ = fs::remove_dir(folder);
}

/// The files of the report in `folder` that are there, as its `report.json` tells; none where that
/// isn't a report's.
fn files_of_report(folder: &Path, stem: &str) -> BTreeSet<String> {
    let index = format!("{stem}.{INDEX}");
    let read = fs::read(folder.join(&index)).ok();
    let json: Option<Value> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(sections) = json
        .as_ref()
        .and_then(|j| j["document"]["sections"].as_array())
    else {
        return BTreeSet::new();
    };
    let blocks = sections
        .iter()
        .filter_map(|section| section["blocks"].as_array());
    let figures = blocks
        .flatten()
        .filter(|block| block["kind"] == "figure")
        .filter_map(|block| block["name"].as_str())
        // Names that we give; any other could lead out of the folder.
        .filter(|name| super::files::slug(name) == *name);
    let plots = figures.flat_map(|name| ["svg", "png"].map(|end| format!("{PLOTS}/{name}.{end}")));
    let pages = PAGES.into_iter().map(|ending| format!("{stem}.{ending}"));
    pages
        .chain([index])
        .chain(plots)
        .filter(|name| folder.join(name).is_file())
        .collect()
}

/// What is in `folder` and in its folder of plots; other folders by their own name.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let list = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().to_string())
    };
    let plots = folder.join(PLOTS);
    let is_folder = plots.is_dir() && !plots.is_symlink();
    let mut names: BTreeSet<String> = list(folder.to_path_buf()).collect();
    if is_folder && names.remove(PLOTS) {
        names.extend(list(plots).map(|name| format!("{PLOTS}/{name}")));
    }
    names
}

fn refuse_foreign(folder: &Path, stem: &str, files: &Files, old: &BTreeSet<String>) -> Result<()> {
    let there = |name: &&String| folder.join(name).symlink_metadata().is_ok();
    if let Some(name) = files.keys().filter(there).find(|name| !old.contains(*name)) {
        bail!(
            "{}: it is there and no file of an earlier report (by the {stem}.{INDEX} beside it); \
             move it away or name another folder",
            folder.join(name).display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with these plots whose files all hold `text`.
    fn files(plots: &[&str], text: &str) -> Files {
        let figures: Vec<String> = plots
            .iter()
            .map(|name| format!(r#"{{"kind":"figure","name":"{name}","caption":""}}"#))
            .collect();
        let blocks = figures.join(",");
        let index = format!(r#"{{"document":{{"sections":[{{"blocks":[{blocks}]}}]}}}}"#);
        let mut files = Files::from([("report.json".to_string(), index.into_bytes())]);
        files.extend(PAGES.map(|ending| (format!("report.{ending}"), text.into())));
        for name in plots {
            files.insert(format!("plots/{name}.svg"), text.into());
        }
        files
    }

    fn temporary() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let report = folder.path().join("report");
        (folder, report)
    }

    fn names(files: &Files) -> BTreeSet<String> {
        files.keys().cloned().collect()
    }

    #[test]
    fn a_new_report_replaces_the_old_one_and_its_other_plots() {
        let (parent, report) = temporary();
        replace(&report, STEM, &files(&["a", "b"], "old")).expect("written");
        let new = files(&["b", "c"], "new");
        replace(&report, STEM, &new).expect("replaced");
        assert_eq!(names_in(&report), names(&new));
        assert_eq!(fs::read(report.join("plots/b.svg")).expect("b"), b"new");
        assert_eq!(names_in(parent.path()), ["report".to_string()].into());
    }

    #[test]
    fn files_of_others_stay() {
        let (_parent, report) = temporary();
        replace(&report, STEM, &files(&["a"], "old")).expect("written");
        fs::write(report.join("notes.txt"), "mine").expect("notes");
        fs::write(report.join("plots/mine.svg"), "mine").expect("plot");
        let new = files(&["b"], "new");
        replace(&report, STEM, &new).expect("replaced");
        let mut expected = names(&new);
        expected.extend(["notes.txt".to_string(), "plots/mine.svg".to_string()]);
        assert_eq!(names_in(&report), expected);
        assert_eq!(fs::read(report.join("notes.txt")).expect("notes"), b"mine");
        assert_eq!(fs::read(report.join("report.md")).expect("page"), b"new");
    }

    #[test]
    fn a_file_that_is_no_reports_is_not_overwritten() {
        let (_parent, report) = temporary();
        fs::create_dir(&report).expect("folder");
        fs::write(report.join("report.md"), "mine").expect("file");
        let message = replace(&report, STEM, &files(&[], "new")).expect_err("it is there");
        assert!(message.to_string().contains("report.md"), "{message}");
        assert_eq!(names_in(&report), ["report.md".to_string()].into());
    }

    #[test]
    fn a_report_json_cannot_name_files_elsewhere() {
        let (parent, report) = temporary();
        let precious = parent.path().join("precious.svg");
        fs::write(&precious, "mine").expect("file");
        replace(&report, STEM, &files(&["a"], "old")).expect("written");
        let index = &files(&["a", "../../precious"], "")["report.json"];
        fs::write(report.join("report.json"), index).expect("index");
        replace(&report, STEM, &files(&[], "new")).expect("replaced");
        assert!(precious.exists());
    }

    #[test]
    fn what_a_killed_run_left_is_taken_back_or_removed_after_an_hour() {
        let (parent, report) = temporary();
        let old = parent.path().join(".report.mr2-old-1");
        let staged = parent.path().join(".report.mr2-new-1");
        replace(&old, STEM, &files(&["a"], "old")).expect("written");
        replace(&staged, STEM, &files(&["a"], "half")).expect("written");
        let place = Place::of(&report).expect("a place");
        place.recover().expect("moved back");
        assert_eq!(fs::read(report.join("report.md")).expect("page"), b"old");
        place.remove_what_was_left_behind();
        assert!(staged.exists(), "its process may be writing");
        let two_hours_ago = SystemTime::now() - 2 * LEFT_BEHIND;
        let folder = fs::File::open(&staged).expect("open");
        folder.set_modified(two_hours_ago).expect("set the time");
        place.remove_what_was_left_behind();
        assert!(!staged.exists());
    }
}
