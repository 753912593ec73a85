//! Run files: every key is there and known, a preset label is true, and errors name the key.

mod preset_label;

use std::path::PathBuf;

use mr2::assemble::data;
use mr2::config::RunFile;
use toml::{Table, Value};

use crate::support::root;

/// Every run file under experiments/runs, with its text; probes' protocols are no runs.
fn run_files() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("experiments/runs")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("probes") {
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
                    true => "exactly 1 element",
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
        (
            "validation = { kind = \"none\"",
            ",",
            "data.validation.typo",
        ),
        ("shifts = { kind = \"none\"", ",", "typo"),
        ("training_images = { kind = \"all\"", ",", "typo"),
        ("training_labels = { kind = \"given\"", ",", "typo"),
        ("test_images = { kind = \"all\"", ",", "typo"),
        ("kind = \"linear\"", ",", "model.head.typo"),
        ("clip = { kind = \"off\"", ",", "typo"),
        ("sharpness = { kind = \"off\"", ",", "typo"),
        ("kind = \"erm\"", "\n", "typo"),
    ] {
        assert_eq!(text.matches(tag).count(), 1, "{tag}");
        let with = text.replace(tag, &format!("{tag}{separator} typo = 3"));
        let message = format!("{:#}", parse(&with).unwrap_err());
        assert!(message.contains(&format!("`{path}`")), "{message}");
    }
}

#[test]
fn a_run_trains_on_the_images_and_labels_that_its_file_asks_for() {
    let overrides = [
        "data.validation={ kind = \"carved\", per_class = 100, seed = 0 }",
        "data.training_images={ kind = \"exponential\", ratio = 0.1, seed = 1 }",
        "data.training_labels={ kind = \"pair_flip\", share = 0.5, seed = 2 }",
        "data.test_images={ kind = \"balanced\", per_class = 20, seed = 3 }",
    ];
    let open = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|set| set.to_string()).collect();
        let file = RunFile::parse(&run_file("quickstart-erm.toml"), "run.toml", &overrides);
        data(&file.unwrap().config, &root().join("datasets")).unwrap()
    };
    let counts = [900, 696, 539, 417, 323, 250, 193, 150, 116, 90];
    let images = open(&overrides[..2]).splits.train;
    assert_eq!(images.counts(), counts);
    let found = open(&overrides).splits;
    let given = images.labels().iter().zip(found.train.labels());
    let mut flipped = [0; 10];
    for (given, label) in given.filter(|(given, label)| given != label) {
        assert_eq!(*label, (given + 1) % 10);
        flipped[*given as usize] += 1;
    }
    assert_eq!(flipped, counts.map(|count: usize| count.div_ceil(2)));
    assert_eq!(found.validation.unwrap().counts(), [100; 10]);
    assert_eq!(found.test.counts(), [20; 10]);
}

#[test]
fn an_error_names_the_whole_path_of_the_key_once() {
    let text = run_file("quickstart-mr2.toml").replace("\"recommended\"", "\"custom\"");
    for (old, new, message) in [
        ("\nname = \"MR²\"", "", "at top level: missing field `name`"),
        (
            "\nimages_per_batch = 64",
            "\nimages_per_batch = \"many\"",
            "at `data.images_per_batch`: invalid type: string \"many\", expected usize",
        ),
        ("\nepochs = 6", "", "at `training`: missing field `epochs`"),
        (
            "\nbackbone =",
            "\nbackbon =",
            "at `model.backbon`: unknown field `backbon`, expected one of `backbone`, `head`, `dropout`; \
             did you mean `backbone`?",
        ),
        (
            "\"linear\"",
            "\"linaer\"",
            "at `model.head.kind`: unknown variant `linaer`, expected `linear` or `cosine`; did you mean `linear`?",
        ),
        (
            "\nestimator = \"pooled\"",
            "\nestimator = \"pool\"",
            "at `training.objective.stats.estimator`: unknown variant `pool`, expected one of `batch_local`, \
             `pooled`, `running_mean`; \
             did you mean `pooled`?",
        ),
        (
            "\nbudget = 1.0",
            "\nbudget = \"all\"",
            "at `training.objective.gamma.budget`: invalid type: string \"all\", expected f64",
        ),
        (
            "\nbudget =",
            "\nbugdet =",
            "at `training.objective.gamma.bugdet`: unknown field `bugdet`, expected one of `source`, `budget`, \
             `exponent`, `classes`; did you mean `budget`?",
        ),
        (
            "\nexponent = 0.3333333333333333",
            "",
            "at `training.objective.gamma`: missing field `exponent`",
        ),
        (
            "class_mean = \"data\"",
            "class_mean = \"date\"",
            "at `training.objective.representation.reduction.class_mean`: unknown variant `date`, expected \
             one of `data`, `all`, `fixed`; did you mean `data`?",
        ),
        (
            "\nrestart_every_epoch =",
            "\nrestart =",
            "at `training.objective.restart`: unknown field `restart`, expected one of `stats`, \
             `restart_every_epoch`, `gamma`, `representation`; did you mean `restart_every_epoch`?",
        ),
    ] {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        let refused = parse(&text.replace(old, new)).unwrap_err();
        assert_eq!(format!("{refused:#}"), format!("run.toml: {message}"));
    }
}

#[test]
fn a_rival_method_has_its_own_keys_and_no_others() {
    let with = |keys: &str| {
        let text = run_file("quickstart-erm.toml");
        parse(&text.replace("kind = \"erm\"", keys))
    };
    let refusal = |keys: &str| format!("{:#}", with(keys).unwrap_err());
    with("kind = \"logit_adjustment\"\ntau = 1.0").unwrap();
    let misspelt = refusal("kind = \"logit_adjustment\"\ntua = 1.0");
    assert!(
        misspelt.contains("unknown field `tua`, expected `tau`"),
        "{misspelt}"
    );
    let missing = refusal("kind = \"cvar\"");
    assert!(missing.contains("missing field `alpha`"), "{missing}");
    let unknown = refusal("kind = \"balanced_softmax\"\ntau = 1.0");
    assert!(unknown.contains("tau"), "{unknown}");
    let linear =
        refusal("kind = \"ldam\"\nmax_margin = 0.5\nscale = 30.0\nreweight = { kind = \"off\" }");
    let expected = "run.toml: at `model.head`: the objective has a scale of its own and needs cosines: \
                    write head = { kind = \"cosine\", scale = 1.0 }";
    assert_eq!(linear, expected);
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
