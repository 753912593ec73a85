//! `mr2 data`: what data sets there are, and whether one on disk is whole.

mod check;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use mr2_data::{Error, open};
use serde::Serialize;

use super::{Output, write_json};
use crate::assemble::{data_root, dataset_names, descriptor};

/// List the known data sets, or check one on disk.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long, value_name = "DIR", global = true)]
    data_root: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the data sets, whether each is here, and where it can be had.
    ///
    /// With --json, a list of objects: name, state (here, missing or refused), problem (null where it
    /// is here), folder, summary, source, licence.
    List,
    /// Read a data set as training would, and say what was checked: files, checksums, counts, labels,
    /// and that every image can be decoded.
    ///
    /// With --json, an object: name, folder, images (of each part), classes (with the images of each
    /// part), files (each with the checksum that it has, or null where none is known; none for an image
    /// folder), images_decoded (how many one by one), label_order_checked.
    Check {
        /// A name that `mr2 data list` prints, or the path of a descriptor.
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// When a descriptor or a data set is missing or wrong; the message names the file.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let root = data_root(args.data_root.as_deref());
    match &args.action {
        Action::List => list(&root, output, out),
        Action::Check { name } => check::run(name, &root, output, out),
    }
}

/// What is found of a data set.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It opens. The images of a folder are not decoded for it; `mr2 data check` does that.
    Here,
    Missing,
    Refused,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    state: State,
    problem: Option<String>,
    folder: PathBuf,
    summary: String,
    source: String,
    licence: String,
}

fn list(root: &Path, output: &Output, out: &mut dyn Write) -> Result<()> {
    let mut listed = Vec::new();
    for name in dataset_names(root)? {
        let (descriptor, folder) = descriptor(&name, root)?;
        let (state, problem) = match open(&descriptor, &folder, None) {
            Ok(_) => (State::Here, None),
            Err(error @ Error::NotFound { .. }) => (State::Missing, Some(error.to_string())),
            Err(error) => (State::Refused, Some(error.to_string())),
        };
        listed.push(Listed {
            name,
            state,
            problem,
            folder,
            summary: descriptor.summary,
            source: descriptor.source,
            licence: descriptor.licence,
        });
    }
    if output.json {
        return write_json(&listed, out);
    }
    for data in &listed {
        let state = match data.state {
            State::Here => "here",
            State::Missing => "not here",
            State::Refused => "refused",
        };
        writeln!(out, "{:20} {state:9} {}", data.name, data.summary)?;
        let folder = data.folder.display();
        match data.state {
            State::Here => writeln!(out, "{:31}in {folder}", "")?,
            State::Missing => {
                writeln!(out, "{:31}from {}", "", data.source)?;
                writeln!(out, "{:31}into {folder}", "")?;
            }
            State::Refused => writeln!(out, "{:31}`mr2 data check {}` says why", "", data.name)?,
        }
    }
    Ok(())
}
