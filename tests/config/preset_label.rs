//! A `preset` label says what the values beside it are, or `custom`.

use mr2_loss::Preset;
use toml::Value;

use super::{Step, parse, refusal, run_file, table_at, tables};
use crate::support::{expect, mr2};

/// The run file of the quickstart's MR² arm with another objective block.
fn with_objective(block: &str) -> String {
    let text = run_file("quickstart-mr2.toml");
    let (before, _) = text.split_once("[training.objective]").unwrap();
    format!("{before}{block}")
}

fn block(preset: Preset) -> String {
    let (block, _) = expect(mr2().args(["presets", preset.name()]), 0);
    block
}

#[test]
fn the_block_of_every_preset_is_accepted_with_its_label() {
    for preset in Preset::ALL {
        let run = parse(&with_objective(&block(preset))).unwrap();
        let config = serde_json::to_value(&run.config.training.objective).unwrap();
        let mut expected = serde_json::to_value(preset.config()).unwrap();
        expected["kind"] = "mr2".into();
        assert_eq!(config, expected, "{}", preset.name());
        assert_eq!(
            run.table["training"]["objective"]["preset"].as_str(),
            Some(preset.name())
        );
    }
}

/// Another value of the same kind.
fn changed(value: &Value) -> Value {
    match value {
        Value::Float(x) => Value::Float(x + 0.25),
        Value::Integer(n) => Value::Integer(n + 1),
        Value::Boolean(b) => Value::Boolean(!b),
        _ => Value::String("something else".into()),
    }
}

#[test]
fn a_preset_label_beside_other_values_is_refused_by_their_keys() {
    for preset in Preset::ALL {
        let text = with_objective(&block(preset));
        let whole = Value::Table(toml::from_str(&text).unwrap());
        let objective = [Step::Key("training".into()), Step::Key("objective".into())];
        for way in tables(&whole, &[]) {
            if !way.starts_with(&objective) {
                continue;
            }
            let keys = table_at(&mut whole.clone(), &way).clone();
            for (key, value) in keys.iter().filter(|(_, value)| !value.is_table()) {
                if ["kind", "preset"].contains(&key.as_str()) {
                    continue;
                }
                let mut other = whole.clone();
                table_at(&mut other, &way).insert(key.clone(), changed(value));
                let message = refusal(other.as_table().unwrap());
                let start = format!("run.toml: preset `{}` has other values", preset.name());
                assert!(message.starts_with(&start), "{message}");
                let names: Vec<String> = way
                    .iter()
                    .chain([&Step::Key(key.clone())])
                    .map(|step| match step {
                        Step::Key(key) => key.clone(),
                        Step::Place(place) => place.to_string(),
                    })
                    .collect();
                assert!(
                    message.contains(&format!("`{}` is ", names.join("."))),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn all_values_that_differ_from_the_preset_are_named_at_once() {
    let text = with_objective(&block(Preset::PaperLinear))
        .replace("weight = 0.3", "weight = 0.5")
        .replace("budget = 2.0", "budget = 1.0");
    let message = format!("{:#}", parse(&text).unwrap_err());
    for part in [
        "`training.objective.gamma.budget` is 1.0, the preset's is 2.0",
        "`training.objective.representation.weight` is 0.5, the preset's is 0.3",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn the_label_custom_is_compared_with_nothing() {
    let text = with_objective(&block(Preset::PaperLinear))
        .replace("\"paper_linear\"", "\"custom\"")
        .replace("weight = 0.3", "weight = 0.5");
    let run = parse(&text).unwrap();
    assert_eq!(
        run.table["training"]["objective"]["representation"]["weight"].as_float(),
        Some(0.5)
    );
}

#[test]
fn an_unknown_preset_is_answered_with_the_valid_ones() {
    let text = with_objective(&block(Preset::Recommended)).replace("\"recommended\"", "\"best\"");
    let message = format!("{:#}", parse(&text).unwrap_err());
    assert!(message.contains("unknown preset `best`"), "{message}");
    let (_, listed) = expect(mr2().args(["presets", "best"]), 1);
    for preset in Preset::ALL {
        assert!(message.contains(preset.name()), "{message}");
        assert!(listed.contains(preset.name()), "{listed}");
    }
    assert!(message.contains("custom"), "{message}");
}
