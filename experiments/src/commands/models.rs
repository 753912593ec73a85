//! `mr2 models`: the backbones and their sizes.

use std::io::Write;

use anyhow::Result;
use mr2_backbones::{BuildConfig, Head, entries, parameter_count};

use super::{Output, write_json};

/// List the backbones with their parameter counts.
#[derive(clap::Args)]
pub struct Args {
    /// Classes that the parameter counts are for.
    #[arg(long, default_value_t = 100)]
    classes: usize,
    /// Image channels that the parameter counts are for.
    #[arg(long, default_value_t = 3)]
    channels: usize,
}

/// Runs the command.
///
/// # Errors
/// When a backbone can't be built.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let mut rows = Vec::new();
    for entry in entries() {
        let config = BuildConfig {
            in_channels: args.channels,
            classes: args.classes,
            head: Head::Linear,
            dropout: 0.0,
        };
        let (count, features) = parameter_count(entry.name, &config)?;
        rows.push((entry, count, features));
    }
    if output.json {
        let list: Vec<_> = rows
            .iter()
            .map(|(entry, parameters, features)| {
                serde_json::json!({ "name": entry.name, "parameters": parameters, "features": features, "summary": entry.summary, "source": entry.source })
            })
            .collect();
        return write_json(&list, out);
    }
    writeln!(
        out,
        "{:20} {:>12} {:>9}  what it is",
        "name", "parameters", "features"
    )?;
    for (entry, count, features) in rows {
        writeln!(
            out,
            "{:20} {count:>12} {features:>9}  {}",
            entry.name, entry.summary
        )?;
    }
    Ok(())
}
