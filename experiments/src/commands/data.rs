//! `mr2 data`: what data sets there are, and whether one on disk is whole.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use mr2_data::open;

use super::Output;
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
    /// List the data sets and where each can be had.
    List,
    /// Read a data set as training would: files, checksums, counts, labels.
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
        Action::List => {
            for name in dataset_names(&root)? {
                let (descriptor, folder) = descriptor(&name, &root)?;
                let here = if open(&descriptor, &folder, None).is_ok() {
                    "here"
                } else {
                    "not here"
                };
                writeln!(out, "{name:20} {here:9} {}", descriptor.summary)?;
                writeln!(out, "{:31}{}", "", descriptor.source)?;
            }
        }
        Action::Check { name } => {
            let (descriptor, folder) = descriptor(name, &root)?;
            let splits = open(&descriptor, &folder, None)?;
            let counts = [("training", &splits.train), ("test", &splits.test)];
            if output.json {
                let json: serde_json::Map<_, _> = counts
                    .iter()
                    .map(|(part, set)| ((*part).to_string(), set.counts().into()))
                    .collect();
                writeln!(out, "{}", serde_json::to_string_pretty(&json)?)?;
                return Ok(());
            }
            for (part, set) in counts {
                let counts = set.counts();
                let range = (
                    counts.iter().min().unwrap_or(&0),
                    counts.iter().max().unwrap_or(&0),
                );
                writeln!(
                    out,
                    "{name}: {} {part} images, {} classes, {} to {} images a class",
                    set.len(),
                    counts.len(),
                    range.0,
                    range.1
                )?;
            }
        }
    }
    Ok(())
}
