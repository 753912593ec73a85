//! What a run file's objective must fit: for kind `mr2` the `preset` label beside its values, for kind
//! `ldam` the head.

use anyhow::{Result, bail};
use mr2_backbones::Head;
use mr2_loss::{Mr2Config, Preset};
use toml::{Table, Value};

use super::{RunConfig, typed_at};

/// Where the objective stands in a run file.
const PLACE: &str = "training.objective";

/// Takes the `preset` label out of an objective of kind `mr2`, compares its constructor with the
/// values given, and reads these.
///
/// They are read again with the whole run; but there serde knows only the table with the `kind` that
/// an error is in, and not its keys.
pub(super) fn check(table: &mut Table) -> Result<()> {
    let Some(objective) = table
        .get_mut("training")
        .and_then(|t| t.get_mut("objective"))
        .and_then(Value::as_table_mut)
    else {
        return Ok(()); // the typed pass names what is missing
    };
    if objective.get("kind").and_then(Value::as_str) != Some("mr2") {
        return Ok(());
    }
    let Some(label) = objective.remove("preset") else {
        bail!("at `{PLACE}`: missing field `preset`: write the preset's name or \"custom\"");
    };
    let mut given = objective.clone();
    given.remove("kind");
    check_label(&label, &given)?;
    typed_at::<Mr2Config>(PLACE, Value::Table(given)).map(drop)
}

/// A method that takes logits as cosines needs a head that gives them.
pub(super) fn check_head(config: &RunConfig) -> Result<()> {
    let cosines = Head::Cosine { scale: 1.0 };
    if config.training.objective.needs_cosines() && config.model.head != cosines {
        bail!(
            "at `model.head`: the objective has a scale of its own and needs cosines: write \
             head = {{ kind = \"cosine\", scale = 1.0 }}"
        );
    }
    Ok(())
}

fn check_label(label: &Value, given: &Table) -> Result<()> {
    let Some(label) = label.as_str() else {
        bail!("at `{PLACE}.preset`: expected a name in quotes");
    };
    if label == "custom" {
        return Ok(());
    }
    let Some(preset) = Preset::ALL.iter().find(|p| p.name() == label) else {
        let names: Vec<_> = Preset::ALL.iter().map(|p| p.name()).collect();
        bail!(
            "at `{PLACE}.preset`: unknown preset `{label}`; valid: {}, custom",
            names.join(", ")
        );
    };
    let expected = Table::try_from(preset.config())?;
    let mut differences = Vec::new();
    compare(PLACE, &expected, given, &mut differences);
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "preset `{label}` has other values (write `preset = \"custom\"` to use yours): {}",
        differences.join("; ")
    )
}

/// Collects the leaves where `given` differs from `expected`; keys that are not there are left to the typed pass.
fn compare(path: &str, expected: &Table, given: &Table, out: &mut Vec<String>) {
    for (key, expected) in expected {
        let path = format!("{path}.{key}");
        match (expected, given.get(key)) {
            (_, None) => {}
            (Value::Table(e), Some(Value::Table(g))) => compare(&path, e, g, out),
            (e, Some(g)) if same_value(e, g) => {}
            (e, Some(g)) => out.push(format!("`{path}` is {g}, the preset's is {e}")),
        }
    }
}

fn same_value(a: &Value, b: &Value) -> bool {
    let number = |v: &Value| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x == y,
        _ => a == b,
    }
}
