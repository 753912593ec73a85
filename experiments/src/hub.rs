//! Weights from the Hugging Face Hub, with a bar while they come.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use mr2_backbones::pretrained::{CONFIGS, Files};
use mr2_backbones::weights::NAMES;
use mr2_backbones::weights::hub::{Error, Hub, HubConfig, HubFile, HubId, Progress};

use crate::progress::bar;

/// What a tokenizer is read from: all of it, or its two parts.
const TOKENIZER: [&str; 3] = ["tokenizer.json", "vocab.json", "merges.txt"];

/// The Hub as the environment has it.
///
/// # Errors
/// A setting that can't be meant.
pub fn open() -> Result<Hub, Error> {
    Hub::new(HubConfig::from_env(|name| std::env::var_os(name))?)
}

/// The folder with the tokenizer's files of `hf:ORG/NAME[@REVISION]`; nothing where it has none.
///
/// # Errors
/// Those of the Hub.
pub fn tokenizer(id: &str) -> Result<Option<PathBuf>> {
    let mut id = HubId::parse(id)?;
    let hub = open()?;
    let (mut folder, mut offline) = (None, None);
    for name in TOKENIZER {
        match hub.file(&id.with_file(name), None, &mut |_| {}) {
            Ok(file) => {
                folder = file.path.parent().map(Path::to_path_buf);
                id.revision = Some(file.commit);
            }
            Err(Error::NotFound { .. }) => {}
            Err(error @ Error::Offline { .. }) => offline = offline.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    match (folder, offline) {
        (None, Some(error)) => Err(error.into()),
        (folder, _) => Ok(folder),
    }
}

/// The weights that `hf:ORG/NAME[@REVISION][:FILE]` names, and the configuration files beside them.
///
/// # Errors
/// Those of the Hub; a repository without weights under a known name.
pub fn files(id: &str, quiet: bool) -> Result<Files> {
    let id = HubId::parse(id)?;
    let hub = open()?;
    let weights = match &id.file {
        Some(_) => fetch(&hub, &id, quiet)?,
        None => first(&hub, &id, quiet)?,
    };
    let here = HubId {
        revision: Some(weights.commit.clone()),
        ..id.clone()
    };
    for (name, _) in CONFIGS {
        optional(&hub, &here.with_file(name))?;
    }
    Ok(Files {
        configs: weights.path.parent().map(Path::to_path_buf),
        origin: format!("hf:{}@{}", id.repo, weights.commit),
        weights: weights.path,
    })
}

fn first(hub: &Hub, id: &HubId, quiet: bool) -> Result<HubFile> {
    let mut offline = None;
    for name in NAMES {
        match fetch(hub, &id.with_file(name), quiet) {
            Ok(file) => return Ok(file),
            Err(Error::NotFound { .. }) => {}
            Err(error @ Error::Offline { .. }) => offline = offline.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    match offline {
        Some(error) => Err(error.into()),
        None => bail!(
            "{id}: has none of {}: name the file, {id}:FILE",
            NAMES.join(", ")
        ),
    }
}

/// A file that the repository may lack.
fn optional(hub: &Hub, id: &HubId) -> Result<()> {
    match hub.file(id, None, &mut |_| {}) {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
        Err(Error::Offline { .. }) => {
            tracing::warn!(
                "{id} isn't in the cache, and nothing is asked of the Hub: if the repository has it, images are prepared \
                 in another way than online"
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Fetches a file; on a terminal a bar shows how far it is.
///
/// # Errors
/// Those of the Hub.
pub fn fetch(hub: &Hub, id: &HubId, quiet: bool) -> Result<HubFile, Error> {
    let template = "{prefix} {bar:24.cyan/dim} {bytes} of {total_bytes} {msg} · {eta} left";
    let bar = bar(quiet, template, id.to_string());
    let found = hub.file(id, None, &mut |progress| show(&bar, &progress));
    bar.finish_and_clear();
    found
}

fn show(bar: &ProgressBar, progress: &Progress<'_>) {
    let at = |bytes: u64, total: Option<u64>| {
        bar.set_length(total.unwrap_or(bytes));
        bar.set_position(bytes);
    };
    match progress {
        Progress::Begins {
            from,
            to,
            bytes,
            total,
        } => {
            at(*bytes, *total);
            let size = total.map(|total| format!(", {:.1} MB", total as f64 / 1e6));
            tracing::info!("{from}{} to {}", size.unwrap_or_default(), to.display());
        }
        Progress::Fetched { bytes, total } => at(*bytes, *total),
        Progress::Waiting { bytes, total } => {
            at(*bytes, *total);
            bar.set_message("(another process fetches it)");
        }
        Progress::Checking => bar.set_message("(checking)"),
        _ => {}
    }
}
