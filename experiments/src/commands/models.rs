//! `mr2 models`: the backbones and their sizes.

use std::io::Write;

use anyhow::Result;
use candle_core::{DType, Device};
use mr2_backbones::{BuildConfig, Head, build, entries};
use mr2_nn::params::ParamStore;

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
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        let config = BuildConfig {
            in_channels: args.channels,
            classes: args.classes,
            head: Head::Linear,
            dropout: 0.0,
        };
        let model = build(entry.name, &config, store.var_builder())?;
        let count: usize = store.parameters().iter().map(|(_, v)| v.elem_count()).sum();
        rows.push((entry, count, model.feature_dim()));
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
