//! `mr2 models`: the backbones and their sizes.

use std::io::Write;

use anyhow::Result;
use mr2_backbones::pretrained::{self, Entry, Preprocessing, Resize};
use mr2_backbones::{BuildConfig, Head, entries, parameter_count};

use super::{Output, write_json};

/// List the backbones with their parameter counts, or the pretrained ones.
#[derive(clap::Args)]
pub struct Args {
    /// Those that have published weights, for `mr2 probe` and `mr2 features`: where their weights are, what is done to
    /// images, how position embeddings are brought to other image sizes.
    #[arg(long, conflicts_with_all = ["classes", "channels"])]
    pretrained: bool,
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
    if args.pretrained {
        return list_pretrained(output, out);
    }
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

fn list_pretrained(output: &Output, out: &mut dyn Write) -> Result<()> {
    let entries = pretrained::entries();
    if output.json {
        let list: Vec<_> = entries
            .iter()
            .map(|entry| {
                serde_json::json!({ "name": entry.name, "weights": entry.published, "licence": entry.licence, "summary": entry.summary, "source": entry.source, "preprocessing": entry.preprocessing, "positions": entry.positions, "architecture": entry.architecture })
            })
            .collect();
        return write_json(&list, out);
    }
    writeln!(
        out,
        "{:20} {:52} {:26} {:13} {:13} what it is",
        "name", "weights", "images", "positions", "licence"
    )?;
    for entry in entries {
        writeln!(
            out,
            "{:20} {:52} {:26} {:13} {:13} {}",
            entry.name,
            entry.published.unwrap_or("a file: --weights FILE"),
            images(&entry.preprocessing),
            positions(entry)?,
            entry.licence,
            entry.summary
        )?;
    }
    writeln!(
        out,
        "\nA configuration beside the weights (preprocessor_config.json, timm's or open_clip's) wins over the column images."
    )?;
    Ok(())
}

/// Resize, crop and filter in a few words.
fn images(preprocessing: &Preprocessing) -> String {
    let filter = format!("{:?}", preprocessing.interpolation).to_lowercase();
    match preprocessing.resize {
        Resize::ShortSide(side) => format!("{side} to {}, {filter}", preprocessing.crop),
        Resize::Square => format!("square {}, {filter}", preprocessing.crop),
    }
}

/// The library whose way of interpolation is taken.
fn positions(entry: &Entry) -> Result<String> {
    Ok(match entry.positions {
        Some(library) => serde_json::to_value(library)?
            .as_str()
            .unwrap_or_default()
            .to_string(),
        None => "none".to_string(),
    })
}
