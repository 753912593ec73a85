//! `mr2 tune`: arms compared on validation images, stage by stage, finished runs reused.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Tiny, expect, mr2, root};

/// Two arms that differ by whether they learn at all, then the winner again beside another.
const PLAN: &str = r#"
seeds = [1, 2]
set = [
    'data.validation={ kind = "carved", per_class = 10, seed = 3 }',
    'data.train_transforms=[{ kind = "normalize", mean = [0.3], std = [0.3] }]',
    'training.objective.preset=custom',
]

[[stages]]
name = "step"
base = "tiny.toml"
score = "overall"
choose = "highest"
arms = [
    { name = "none", set = ["training.optimizer.lr=1e-9"] },
    { name = "some", set = ["training.optimizer.lr=0.1"] },
]

[[stages]]
name = "weight"
base = "tiny.toml"
score = "overall_and_hard"
choose = "highest"
arms = [
    { name = "as it was", set = [] },
    { name = "none again", set = ["training.optimizer.lr=1e-8"] },
]
"#;

/// Tiny data in which the second class is hard to learn and every test label is wrong, and the tuning file.
fn tiny(plan: &str) -> Tiny {
    let tiny = Tiny::new();
    relabel(&tiny, "train", |image, class| match (image / 3) % 3 {
        0 if class == 2 => 1, // images of the third class
        _ => class,
    });
    // Chosen on test images, the arm that learns nothing would win.
    relabel(&tiny, "t10k", |_, class| (class + 1) % 3);
    fs::write(tiny.path("plan.toml"), plan).unwrap();
    tiny
}

fn relabel(tiny: &Tiny, part: &str, label: impl Fn(usize, u8) -> u8) {
    let file = tiny.path(&format!("datasets/tiny/{part}-labels-idx1-ubyte"));
    let mut bytes = fs::read(&file).unwrap();
    for (image, class) in bytes[8..].iter_mut().enumerate() {
        *class = label(image, *class);
    }
    fs::write(&file, bytes).unwrap();
}

fn tune(tiny: &Tiny) -> Command {
    let mut command = tiny.command("tune");
    command.arg(tiny.path("plan.toml"));
    command.arg("--out").arg(tiny.path("runs"));
    command.arg("--results").arg(tiny.path("results.json"));
    command
}

fn results(tiny: &Tiny) -> Value {
    serde_json::from_slice(&fs::read(tiny.path("results.json")).unwrap()).unwrap()
}

/// The stages of the results, with both arms of each.
fn stages(results: &Value) -> [(&Value, [&Value; 2]); 2] {
    [0, 1].map(|stage| {
        let stage = &results["stages"][stage];
        assert_eq!(stage["arms"].as_array().unwrap().len(), 2, "{stage}");
        (stage, [&stage["arms"][0], &stage["arms"][1]])
    })
}

/// Validation images of each class that an arm's two runs had right together, of twenty.
fn right(arm: &Value) -> [i64; 3] {
    let seeds = arm["class_accuracy"].as_array().unwrap();
    assert_eq!(seeds.len(), 2, "{arm}");
    let of_class = |seed: &Value, class: usize| seed[class].as_f64().unwrap();
    [0, 1, 2].map(|class| {
        let sum: f64 = seeds.iter().map(|seed| of_class(seed, class)).sum();
        (sum * 10.0).round() as i64
    })
}

/// Mean over the classes and seeds.
fn overall(arm: &Value) -> f64 {
    right(arm).iter().sum::<i64>() as f64 / 60.0
}

/// The first of the classes with the fewest images right.
fn hardest(arm: &Value) -> usize {
    let right = right(arm);
    (0..3).min_by_key(|class| right[*class]).unwrap()
}

fn same(a: &Value, b: f64) -> bool {
    (a.as_f64().unwrap() - b).abs() < 1e-9
}

#[test]
fn the_best_arm_on_validation_images_wins_and_every_arm_is_written_down() {
    let tiny = tiny(PLAN);
    let (stdout, _) = expect(&mut tune(&tiny), 0);
    let results = results(&tiny);
    assert_eq!(results["seeds"], serde_json::json!([1, 2]));
    assert_eq!(results["runs"], 8);
    let chosen = "training.optimizer.lr=0.1";
    assert_eq!(results["chosen"], serde_json::json!([chosen]));
    let [(step, [none, some]), (weight, _)] = stages(&results);
    assert_eq!(
        (&step["name"], &step["winner"]),
        (&"step".into(), &"some".into())
    );
    assert_eq!(
        (&weight["name"], &weight["winner"]),
        (&"weight".into(), &"as it was".into())
    );
    assert_eq!(some["set"], serde_json::json!([chosen]));
    assert!(overall(some) > overall(none), "{step}");
    for arm in [none, some] {
        assert!(same(&arm["score"], overall(arm)), "{arm}");
        assert_eq!(arm["hard"], Value::Null);
    }
    for line in ["  some ", "  as it was "] {
        let line = stdout.lines().find(|l| l.starts_with(line)).unwrap();
        assert!(line.ends_with("  ← chosen"), "{stdout}");
    }
    assert_eq!(stdout.matches("← chosen").count(), 2, "{stdout}");
    let end = format!("settings chosen, on validation images only:\n  {chosen}\n");
    assert!(stdout.ends_with(&end), "{stdout}");
}

#[test]
fn the_hard_classes_of_a_later_stage_are_those_of_the_first_winner() {
    let tiny = tiny(PLAN);
    expect(&mut tune(&tiny), 0);
    let results = results(&tiny);
    let [(step, [none, some]), (weight, arms)] = stages(&results);
    let hard = hardest(some);
    assert_ne!(hard, hardest(none), "it must show whose they are: {step}");
    assert_eq!(step["hard_classes"], Value::Null);
    let name = ["a", "b", "c"][hard];
    assert_eq!(weight["hard_classes"], serde_json::json!([name]));
    for arm in arms {
        let of_hard = right(arm)[hard] as f64 / 20.0;
        assert!(same(&arm["score"], (overall(arm) + of_hard) / 2.0), "{arm}");
    }
}

#[test]
fn the_same_settings_are_one_run_folder_in_two_stages_and_when_run_again() {
    let tiny = tiny(PLAN);
    let (stdout, stderr) = expect(&mut tune(&tiny), 0);
    assert_eq!(fs::read_dir(tiny.path("runs")).unwrap().count(), 6);
    for seed in [1, 2] {
        let reused = format!("weight: as it was seed {seed}: reused ");
        assert!(stderr.contains(&reused), "{stderr}");
    }
    assert_eq!(stderr.matches(": reused ").count(), 2, "{stderr}");

    let before = fs::read(tiny.path("results.json")).unwrap();
    let (again, stderr) = expect(&mut tune(&tiny), 0);
    assert_eq!(again, stdout);
    assert_eq!(stderr.matches(": reused ").count(), 8, "{stderr}");
    assert!(!stderr.contains("epoch"), "{stderr}");
    assert_eq!(fs::read(tiny.path("results.json")).unwrap(), before);
    let (json, _) = expect(tune(&tiny).args(["--json", "--quiet"]), 0);
    assert_eq!(json.as_bytes(), before);
}

#[test]
fn a_plan_that_cannot_be_used_is_refused_before_anything_is_trained() {
    let carved = r#"'data.validation={ kind = "carved", per_class = 10, seed = 3 }',"#;
    let many = "seeds = [1, 2]\n";
    for (old, new, reason) in [
        (
            "score = \"overall\"",
            "score = \"overall_and_hard\"",
            "the first stage must be judged by `overall`; it chooses the hard classes\n",
        ),
        (
            carved,
            "",
            "stage `step`: data.validation is none, so there is nothing to choose by; hold images out, with \
             'data.validation={ kind = \"carved\", per_class = 200, seed = 0 }' in `set`\n",
        ),
        (
            many,
            "seed = [1, 2]\n",
            "at `seed`: unknown field `seed`, expected one of `seeds`, `set`, `stages`; did you mean `seeds`?\n",
        ),
        (
            "score = \"overall\"",
            "score = \"overal\"",
            "at `stages[0].score`: unknown variant `overal`, expected `overall` or `overall_and_hard`; \
             did you mean `overall`?\n",
        ),
        (many, "seeds = []\n", "`seeds` is empty\n"),
        (
            "{ name = \"as it was\", set = [] },\n    { name = \"none again\", set = [\"training.optimizer.lr=1e-8\"] },\n",
            "",
            "stage `weight` has no arms\n",
        ),
    ] {
        assert!(PLAN.contains(old), "{old}");
        let tiny = tiny(&PLAN.replacen(old, new, 1));
        let (stdout, stderr) = expect(&mut tune(&tiny), 1);
        let message = format!("error: {}: {reason}", tiny.path("plan.toml").display());
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", message.as_str()));
        assert!(!tiny.path("runs").exists(), "{reason}");
    }
}

#[test]
fn an_arm_of_any_stage_that_cannot_be_trained_is_refused_by_its_name_before_anything_is() {
    for (old, new, place, reason) in [
        (
            "training.optimizer.lr=1e-9",
            "training.optimizer.learning=1",
            "stage `step`, arm `none`",
            "no key `training.optimizer.learning` in this run file; did you mean `training.optimizer.lr`?\n",
        ),
        (
            "training.optimizer.lr=1e-8",
            "training.optimizer.learning=1",
            "stage `weight`, arm `none again`",
            "no key `training.optimizer.learning` in this run file; did you mean `training.optimizer.lr`?\n",
        ),
        (
            "training.optimizer.lr=1e-8",
            "training.schedule.warmup_epochs=4",
            "stage `weight`, arm `none again`",
            "must be less than the 4 epochs, got 4\n",
        ),
        (
            "training.optimizer.lr=0.1",
            "training.optimizer.lr=1e-9",
            "stage `step`, arm `some`",
            "the same run as arm `none`; each arm must differ from the others\n",
        ),
    ] {
        assert!(PLAN.contains(old), "{old}");
        let tiny = tiny(&PLAN.replace(old, new));
        let (_, stderr) = expect(&mut tune(&tiny), 1);
        let start = format!("error: {}: {place}: ", tiny.path("plan.toml").display());
        assert!(stderr.starts_with(&start), "{stderr}");
        assert!(stderr.ends_with(reason), "{stderr}");
        assert!(!tiny.path("runs").exists(), "{reason}");
    }
}

#[test]
fn a_results_file_that_cannot_be_written_is_refused_before_anything_is_trained() {
    let tiny = tiny(PLAN);
    let mut command = tiny.command("tune");
    command
        .arg(tiny.path("plan.toml"))
        .arg("--out")
        .arg(tiny.path("runs"));
    let results = tiny.path("nowhere/results.json");
    let (_, stderr) = expect(command.arg("--results").arg(&results), 1);
    let start = format!("error: cannot write {}: ", results.display());
    assert!(stderr.starts_with(&start), "{stderr}");
    assert!(!tiny.path("runs").exists());
}

#[test]
fn a_dry_run_names_every_arm_and_trains_nothing() {
    let tiny = tiny(PLAN);
    let (stdout, stderr) = expect(tune(&tiny).arg("--dry-run"), 0);
    let expected = "step: none, some\nweight: as it was, none again\n8 runs\n";
    assert_eq!((stdout.as_str(), stderr.as_str()), (expected, ""));
    assert!(!tiny.path("runs").exists() && !tiny.path("results.json").exists());
}

#[test]
fn every_committed_tuning_can_be_run_and_has_the_arms_of_its_committed_results() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("experiments/tune")).unwrap() {
        let file = entry.unwrap().path();
        if !file.is_file() {
            continue;
        }
        count += 1;
        let mut check = mr2();
        check.arg("tune").arg(&file).args(["--dry-run", "--json"]);
        check.args(["--out", "unused", "--results", "unused.json"]);
        let (plan, _) = expect(&mut check, 0);
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let name = format!("experiments/results/tune-{stem}.json");
        let results: Value = serde_json::from_slice(&fs::read(root().join(name)).unwrap()).unwrap();
        for key in ["seeds", "runs", "set"] {
            assert_eq!(plan[key], results[key], "{}", file.display());
        }
        let arms = |whole: &Value| -> Vec<(Value, Value, Value)> {
            let stages = whole["stages"].as_array().unwrap().iter();
            let of_stage = |stage: &Value| -> Vec<_> {
                let arms = stage["arms"].as_array().unwrap().iter();
                arms.map(|arm| {
                    (
                        stage["name"].clone(),
                        arm["name"].clone(),
                        arm["set"].clone(),
                    )
                })
                .collect()
            };
            stages.flat_map(of_stage).collect()
        };
        assert_eq!(arms(&plan), arms(&results), "{}", file.display());
    }
    assert!(count > 0, "no tuning files found");
}
