//! `mr2 presets`: the named settings of MR2, as blocks to paste into a run file.

use std::io::Write;

use anyhow::{Result, bail};
use mr2_loss::{Mr2Config, Preset};
use serde::Serialize;

use super::{Output, write_json};
use crate::report::document::{Column, Table};
use crate::report::{Cell, terminal};

/// What the columns of the table mean.
const NOTES: [&str; 4] = [
    "c̄: the mean of all margins γ (gamma.budget). λ: the weight of the representation margin loss ℓ_s̄ \
     beside the logit margin loss. Names in the other columns are as in run files.",
    "γ from: the class statistic that the margins grow with; second_moment is m + v. estimator: how \
     batches make up the statistics (stats.estimator), with their norm p.",
    "ℓ_s̄ divided by: what the exponent ‖φ − φ⁺‖² − 2 s̄ is divided by; ten_times_dim is ten times the \
     width of the features. s̄: the threshold; mean_spread is the mean over the classes of their spread v.",
    "`mr2 presets NAME` prints every value as the block for a run file.",
];

/// List the presets with what they are, or print one as the block for a run file.
#[derive(clap::Args)]
pub struct Args {
    /// The preset to print; without it, all are listed.
    name: Option<String>,
}

/// A preset for `--json`.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    summary: &'static str,
    warning: Option<&'static str>,
    config: Mr2Config,
}

impl From<Preset> for Listed {
    fn from(preset: Preset) -> Self {
        Self {
            name: preset.name(),
            summary: summary(preset),
            warning: warning(preset),
            config: preset.config(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// For an unknown name.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    if let Some(name) = &args.name {
        let Some(preset) = Preset::ALL.into_iter().find(|p| p.name() == name) else {
            let names = Preset::ALL.map(Preset::name).join(", ");
            bail!("unknown preset `{name}`; valid: {names}");
        };
        return print_one(preset, output, out);
    }
    if output.json {
        let all = Preset::ALL.map(Listed::from);
        return write_json(&all, out);
    }
    let style = terminal::Style::of_stdout();
    write!(out, "{}", terminal::render_table(&table()?, style))?;
    Ok(())
}

fn print_one(preset: Preset, output: &Output, out: &mut dyn Write) -> Result<()> {
    if output.json {
        return write_json(&Listed::from(preset), out);
    }
    write!(out, "{}", block(preset)?)?;
    Ok(())
}

/// What the preset is, in a few words.
fn summary(preset: Preset) -> &'static str {
    match preset {
        Preset::Recommended => "this project's choice; begin here",
        Preset::PaperLinear => "the paper to the letter, linear head (!)",
        Preset::PaperCosine => "the paper to the letter, cosine head",
        Preset::OfficialCifar => "what the authors' CIFAR code does",
        Preset::OfficialImagenet => "what the authors' ImageNet code does",
    }
}

/// What goes wrong with the preset.
fn warning(preset: Preset) -> Option<&'static str> {
    match preset {
        Preset::PaperLinear => Some(
            "expected to fail when training from scratch with a linear head, where nothing normalises the \
             features: undivided, the exponent lets the largest distance within a class rule the loss, and \
             the features of all classes shrink together. `recommended` divides by ten times the width, as the authors' \
             code does; `paper_cosine` is for L2-normalised features.",
        ),
        Preset::OfficialImagenet => Some(
            "assumes 1000 classes whatever the data have, so with K classes the margins average to 1000/K \
             times c̄.",
        ),
        Preset::PaperCosine | Preset::OfficialCifar | Preset::Recommended => None,
    }
}

fn table() -> Result<Table> {
    let columns = vec![
        Column::words("preset"),
        Column::words("what it is"),
        Column::numbers("c̄"),
        Column::numbers("λ"),
        Column::words("γ from"),
        Column::words("estimator"),
        Column::words("ℓ_s̄ divided by"),
        Column::words("s̄"),
    ];
    let mut table = Table::new("Presets of MR²", columns);
    // The one to begin with on top.
    let mut presets = Preset::ALL.to_vec();
    presets.sort_by_key(|preset| *preset != Preset::Recommended);
    for preset in presets {
        let Mr2Config {
            stats,
            gamma,
            representation,
            ..
        } = preset.config();
        table.rows.push(vec![
            Cell::text(preset.name()),
            Cell::text(summary(preset)),
            Cell::text(gamma.budget.to_string()),
            Cell::text(representation.weight.to_string()),
            Cell::text(key(&gamma.source)?),
            Cell::text(format!("{}, p = {}", key(&stats.estimator)?, stats.norm)),
            Cell::text(key(&representation.scale)?),
            Cell::text(key(&representation.spread)?),
        ]);
        if let Some(warning) = warning(preset) {
            table
                .notes
                .push(format!("(!) {}: {warning}", preset.name()));
        }
    }
    table.notes.extend(NOTES.map(String::from));
    Ok(table)
}

/// A choice as a run file has it: `mean_spread`, or `mean_spread_over 1000` with its number.
fn key(choice: &impl Serialize) -> Result<String> {
    Ok(match serde_json::to_value(choice)? {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(name: Option<&str>, json: bool) -> String {
        let args = Args {
            name: name.map(String::from),
        };
        let output = Output { quiet: false, json };
        let mut out = Vec::new();
        run(&args, &output, &mut out).expect("a known preset");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_table_begins_with_the_one_to_begin_with_and_names_all() {
        let text = printed(None, false);
        let rows: Vec<&str> = text.lines().skip(3).take(Preset::ALL.len()).collect();
        assert!(rows[0].starts_with("recommended"), "{text}");
        for preset in Preset::ALL {
            let row = rows.iter().find(|row| row.starts_with(preset.name()));
            let row = row.unwrap_or_else(|| panic!("no {} in {text}", preset.name()));
            let budget = preset.config().gamma.budget.to_string();
            assert!(row.split_whitespace().any(|word| word == budget), "{row}");
        }
        assert!(text.contains("mean_spread_over 1000") && text.contains("batch_local, p = 5"));
    }

    #[test]
    fn the_preset_that_divides_by_nothing_with_a_linear_head_carries_a_warning() {
        let text = printed(None, false);
        assert!(
            text.contains("(!) paper_linear: expected to fail"),
            "{text}"
        );
        let json: serde_json::Value =
            serde_json::from_str(&printed(None, true)).expect("valid JSON");
        let of = |name: &str| {
            let mut list = json.as_array().expect("a list").iter();
            list.find(|p| p["name"] == name)
                .expect("it is listed")
                .clone()
        };
        assert!(of("paper_linear")["warning"].is_string());
        assert!(of("recommended")["warning"].is_null());
    }

    #[test]
    fn one_preset_as_json_has_every_value() {
        for preset in Preset::ALL {
            let text = printed(Some(preset.name()), true);
            let json: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
            let config: Mr2Config =
                serde_json::from_value(json["config"].clone()).expect("a configuration");
            assert_eq!(config, preset.config());
        }
    }
}
