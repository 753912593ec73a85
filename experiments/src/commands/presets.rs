//! `mr2 presets`: the named settings of MR2, as blocks to paste into a run file.

use std::io::Write;

use anyhow::{Result, bail};
use mr2_loss::{Mr2Config, Preset};

/// List the presets, or print one.
#[derive(clap::Args)]
pub struct Args {
    /// The preset to print; without it, all are listed.
    name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// For an unknown name.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let Some(name) = &args.name else {
        for preset in Preset::ALL {
            let Mr2Config {
                gamma,
                representation,
                ..
            } = preset.config();
            writeln!(
                out,
                "{:20} c̄ = {}, λ = {}, γ from {:?}",
                preset.name(),
                gamma.budget,
                representation.weight,
                gamma.source
            )?;
        }
        writeln!(out, "\n`mr2 presets NAME` prints a block for the run file.")?;
        return Ok(());
    };
    let Some(preset) = Preset::ALL.iter().find(|p| p.name() == name) else {
        let names: Vec<_> = Preset::ALL.iter().map(|p| p.name()).collect();
        bail!("unknown preset `{name}`; valid: {}", names.join(", "));
    };
    write!(out, "{}", block(*preset)?)?;
    Ok(())
}

/// The `[training.objective]` block of `preset`.
///
/// # Errors
/// When its values can't be written as TOML.
pub fn block(preset: Preset) -> Result<String> {
    let mut objective = toml::Table::new();
    objective.insert("kind".into(), "mr2".into());
    objective.insert("preset".into(), preset.name().into());
    if let toml::Value::Table(values) = toml::Value::try_from(preset.config())? {
        objective.extend(values);
    }
    let mut training = toml::Table::new();
    training.insert("objective".into(), objective.into());
    let mut whole = toml::Table::new();
    whole.insert("training".into(), training.into());
    Ok(toml::to_string(&whole)?)
}
