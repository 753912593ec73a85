//! `mr2 weights`: weights from the Hugging Face Hub: what is here, where it is, and whether it is whole.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use mr2_backbones::weights::hub::{CachedFile, Hub, HubId, Verdict};
use serde::Serialize;

use super::{Output, write_json};
use crate::hub::{fetch, open};

/// Weights from the Hugging Face Hub: what is here, where it is, and whether it is whole.
///
/// The cache is the one that Python's libraries use. The environment is read as they read it: HF_HOME,
/// HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the files in the cache.
    ///
    /// With --json, a list of objects: id, path, bytes, commit.
    List,
    /// Print where a file is; it is fetched and checked if it isn't here.
    ///
    /// With --json, an object: id, path, bytes, commit, sha256.
    Path {
        /// hf:ORG/NAME[@REVISION]:FILE
        id: String,
    },
    /// Read every byte, and compare with the Hub's sums and with what was recorded at the first download.
    ///
    /// With --json, a list of objects: id, path, state (right, wrong or unknown), sha256 (null where wrong),
    /// problem (null where not).
    Verify {
        /// hf:ORG/NAME[@REVISION][:FILE]; everything in the cache if left out.
        id: Option<String>,
    },
    /// Take what the Hub has now under a name whose content has changed since the first download.
    Accept {
        /// hf:ORG/NAME[@REVISION]:FILE
        id: String,
    },
}

#[derive(Serialize)]
struct Here {
    id: String,
    path: PathBuf,
    bytes: u64,
    commit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

#[derive(Serialize)]
struct Verified {
    id: String,
    path: PathBuf,
    state: &'static str,
    sha256: Option<String>,
    problem: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When a file is wrong, missing, or can't be had; the message says which.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let hub = open()?;
    match &args.action {
        Action::List => list(&hub, output, out),
        Action::Path { id } => path(&hub, &HubId::parse(id)?, output, out),
        Action::Verify { id } => verify(&hub, id.as_deref(), output, out),
        Action::Accept { id } => accept(&hub, &HubId::parse(id)?, out),
    }
}

/// With the commit, which never means anything else.
fn id(file: &CachedFile) -> String {
    format!("hf:{}@{}:{}", file.repo, file.commit, file.file)
}

fn list(hub: &Hub, output: &Output, out: &mut dyn Write) -> Result<()> {
    let files = hub.list()?;
    if output.json {
        let here = |file: &CachedFile| Here {
            id: id(file),
            path: file.path.clone(),
            bytes: file.size,
            commit: file.commit.clone(),
            sha256: None,
        };
        return write_json(&files.iter().map(here).collect::<Vec<_>>(), out);
    }
    for file in &files {
        writeln!(out, "{:>9.1} MB  {}", file.size as f64 / 1e6, id(file))?;
    }
    if files.is_empty() {
        writeln!(out, "No file of a model is in the cache.")?;
    }
    Ok(())
}

fn path(hub: &Hub, asked: &HubId, output: &Output, out: &mut dyn Write) -> Result<()> {
    let file = fetch(hub, asked, output.quiet)?;
    if output.json {
        let here = Here {
            id: asked.to_string(),
            path: file.path,
            bytes: file.size,
            commit: file.commit,
            sha256: Some(file.sha256),
        };
        return write_json(&here, out);
    }
    writeln!(out, "{}", file.path.display())?;
    Ok(())
}

fn verify(hub: &Hub, asked: Option<&str>, output: &Output, out: &mut dyn Write) -> Result<()> {
    let mut verified = Vec::new();
    for file in chosen(hub, asked)? {
        let (state, sha256, problem) = match hub.verify(&file)? {
            Verdict::Right { sha256 } => ("right", Some(sha256), None),
            Verdict::Unknown { sha256 } => ("unknown", Some(sha256), None),
            Verdict::Wrong {
                what,
                expected,
                found,
            } => {
                let problem = format!("{what} is {found}, expected {expected}");
                ("wrong", None, Some(problem))
            }
        };
        verified.push(Verified {
            id: id(&file),
            path: file.path,
            state,
            sha256,
            problem,
        });
    }
    if output.json {
        write_json(&verified, out)?;
    } else {
        for file in &verified {
            writeln!(out, "{:7}  {}", file.state, file.id)?;
        }
    }
    let wrong: Vec<_> = verified.iter().filter(|f| f.problem.is_some()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for file in &wrong {
        // Deleting the link alone would leave the blob to be found again.
        let blob = file.path.canonicalize().unwrap_or(file.path.clone());
        let problem = file.problem.as_deref().unwrap_or_default();
        lines += &format!("\n  {}: {problem}. Delete {}", file.id, blob.display());
    }
    bail!(
        "{} of {} files are not what was fetched; delete these and fetch them again:{lines}",
        wrong.len(),
        verified.len()
    )
}

/// The files of the cache that `asked` means.
fn chosen(hub: &Hub, asked: Option<&str>) -> Result<Vec<CachedFile>> {
    let Some(text) = asked else {
        return Ok(hub.list()?);
    };
    let asked = HubId::parse(text)?;
    let files: Vec<CachedFile> = match &asked.file {
        Some(_) => hub.cached(&asked, None)?.into_iter().collect(),
        None => {
            let mut files = hub.list()?;
            files.retain(|file| file.repo == asked.repo);
            if asked.revision.is_some() {
                let at = |file: &CachedFile| hub.cached(&asked.with_file(&file.file), None);
                let mut kept = Vec::new();
                for file in files {
                    if at(&file)?.as_ref() == Some(&file) {
                        kept.push(file);
                    }
                }
                files = kept;
            }
            files
        }
    };
    match files.is_empty() {
        true => bail!("{asked} is not in the cache; `mr2 weights list` shows what is"),
        false => Ok(files),
    }
}

fn accept(hub: &Hub, asked: &HubId, out: &mut dyn Write) -> Result<()> {
    let old = hub.accept(asked)?.with_context(|| {
        format!("nothing is recorded of {asked}, so whatever the Hub has is taken")
    })?;
    writeln!(
        out,
        "Forgot commit {}, SHA-256 {}. The next use of {asked} takes and records what the Hub has then.",
        old.commit, old.sha256
    )?;
    Ok(())
}
