//! Run files: every key is there and known, a preset label is true, and errors name the key.

use std::path::PathBuf;

use mr2::config::RunFile;
use mr2_loss::Preset;
use toml::{Table, Value};

use crate::support::{expect, mr2, root};

/// Every file under experiments/runs, with its text.
fn run_files() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("experiments/runs")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() >= 3, "{files:?}");
    files
}

fn run_file(name: &str) -> String {
    std::fs::read_to_string(root().join("experiments/runs").join(name)).unwrap()
}

fn parse(text: &str) -> anyhow::Result<RunFile> {
    RunFile::parse(text, "run.toml", &[])
}

fn refusal(table: &Table) -> String {
    let refused = parse(&toml::to_string(table).unwrap());
    format!("{:#}", refused.expect_err("it must be refused"))
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Place(usize),
}

/// The ways to every table in the value, the value's own first.
fn tables(value: &Value, way: &[Step]) -> Vec<Vec<Step>> {
    let inside = |step: Step, value: &Value| tables(value, &[way, &[step]].concat());
    match value {
        Value::Table(table) => {
            let inner = table
                .iter()
                .flat_map(|(key, value)| inside(Step::Key(key.clone()), value));
            std::iter::once(way.to_vec()).chain(inner).collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(place, value)| inside(Step::Place(place), value))
            .collect(),
        _ => Vec::new(),
    }
}

fn table_at<'a>(whole: &'a mut Value, way: &[Step]) -> &'a mut Table {
    let value = way.iter().fold(whole, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Place(place) => &mut value[*place],
    });
    value.as_table_mut().unwrap()
}

/// A variant by name, such as `reduction = { class_mean = "data" }`, has no keys of its own.
fn is_variant(way: &[Step]) -> bool {
    ["reduction", "scale", "spread", "classes"]
        .iter()
        .any(|name| way.last() == Some(&Step::Key(name.to_string())))
}

#[test]
fn a_run_file_without_any_one_of_its_keys_is_refused_by_the_keys_name() {
    for (path, text) in run_files() {
        parse(&text).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        let whole = Value::Table(toml::from_str(&text).unwrap());
        for way in tables(&whole, &[]) {
            let keys: Vec<String> = table_at(&mut whole.clone(), &way).keys().cloned().collect();
            for key in keys {
                let mut without = whole.clone();
                table_at(&mut without, &way).remove(&key);
                let message = refusal(without.as_table().unwrap());
                let named = match is_variant(&way) {
                    true => "a single key",
                    false => &key,
                };
                let place = format!("{}: {way:?} without {key}", path.display());
                assert!(message.starts_with("run.toml: "), "{place}: {message}");
                assert!(message.contains(named), "{place}: {message}");
            }
        }
    }
}

#[test]
fn a_misspelt_key_at_any_level_is_refused_and_the_right_one_suggested() {
    for (path, text) in run_files() {
        let whole = Value::Table(toml::from_str(&text).unwrap());
        for way in tables(&whole, &[]) {
            if is_variant(&way) {
                continue;
            }
            let keys: Vec<String> = table_at(&mut whole.clone(), &way).keys().cloned().collect();
            for key in keys {
                let misspelt = format!("{key}_");
                let mut with = whole.clone();
                table_at(&mut with, &way).insert(misspelt.clone(), 1.into());
                let message = refusal(with.as_table().unwrap());
                let place = format!("{}: {way:?}.{misspelt}", path.display());
                assert!(message.contains(&misspelt), "{place}: {message}");
                // Tags and the preset's label aren't among the fields that serde lists.
                if key != "kind" && key != "preset" {
                    let suggested = message.split("did you mean `").nth(1);
                    let suggested = suggested.and_then(|rest| rest.split('`').next());
                    let suggested = suggested.unwrap_or_else(|| panic!("{place}: {message}"));
                    let last = suggested.rsplit('.').next();
                    assert_eq!(last, Some(key.as_str()), "{place}: {message}");
                }
            }
        }
    }
}

#[test]
fn an_unknown_key_beside_a_variant_without_keys_is_refused() {
    let text = run_file("quickstart-erm.toml");
    for (tag, separator, path) in [
        ("kind = \"shuffled\"", ",", "data.sampler.typo"),
        ("kind = \"none\"", ",", "data.validation.typo"),
        ("kind = \"linear\"", ",", "model.head.typo"),
        ("kind = \"off\"", ",", "typo"),
        ("kind = \"erm\"", "\n", "typo"),
    ] {
        assert_eq!(text.matches(tag).count(), 1, "{tag}");
        let with = text.replace(tag, &format!("{tag}{separator} typo = 3"));
        let message = format!("{:#}", parse(&with).unwrap_err());
        assert!(message.contains(&format!("`{path}`")), "{message}");
    }
}

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

#[test]
fn a_key_set_on_the_command_line_must_be_in_the_file() {
    let text = run_file("quickstart-mr2.toml");
    let set = |item: &str| RunFile::parse(&text, "run.toml", &[item.to_string()]);
    for (item, near) in [
        ("training.epoch=3", "training.epochs"),
        ("trainin.epochs=3", "training.epochs"),
        ("training.optimizer.learning=3", "training.optimizer.lr"),
        ("data.data_set=x", "data.dataset"),
    ] {
        let message = format!("{:#}", set(item).unwrap_err());
        let expected = format!("run.toml: --set {item}: no key `");
        assert!(message.starts_with(&expected), "{message}");
        let near = format!("did you mean `{near}`?");
        assert!(message.contains(&near), "{message}");
    }
    let message = format!("{:#}", set("training.epochs").unwrap_err());
    assert!(message.contains("expected key.path=value"), "{message}");
    let run = set("training.optimizer.lr=1").unwrap();
    assert_eq!(run.config.training.optimizer.lr(), 1.0);
}

#[test]
fn the_saved_text_of_a_run_is_the_same_run() {
    for (_, text) in run_files() {
        let overrides = ["training.seed=7".to_string()];
        let run = RunFile::parse(&text, "run.toml", &overrides).unwrap();
        let saved = run.to_toml().unwrap();
        let again = parse(&saved).unwrap();
        assert_eq!(again.config, run.config);
        assert_eq!(again.config.training.seed, 7);
        assert_eq!(again.to_toml().unwrap(), saved);
    }
}
