//! Plans of a small table's file, resolved without data.

use mr2_train::ObjectiveConfig;

use super::*;

const TABLE: &str = r#"
title = "Small"
reproduces = "nothing"
shows = []

[[settings]]
name = "rehearsal"
scale = "rehearsal"
base = "rehearsal-erm.toml"
set = ["training.epochs=2"]
seeds = [1, 2, 3]
tuning = { kind = "validation", per_class = 10, draw = 0, seed = 101 }

[[settings]]
name = "full"
scale = "full"
base = "cifar100-resnet32-erm.toml"
set = []
seeds = [1]
tuning = { kind = "off" }

[[blocks]]
name = "Methods"
rehearsal_seeds = 2

[[blocks.arms]]
name = "ERM"

[[blocks.arms]]
name = "tuned"
tune = [['training.optimizer.lr=0.05'], ['training.optimizer.lr=0.2']]

[[blocks.arms]]
name = "MR²"
preset = "recommended"

[[blocks.arms]]
name = "row b"
unknown = "Not known."
"#;

fn args(scale: Scale) -> Args {
    use clap::Parser;
    Args::parse_from(["table", "--scale", scale.name()])
}

fn always(_: &PlannedRun) -> Result<bool> {
    Ok(true)
}

fn never(_: &PlannedRun) -> Result<bool> {
    Ok(false)
}

/// The table, with other arms after the reference where there are any.
fn file(arms: &str) -> TableFile {
    let text = match arms {
        "" => TABLE.to_string(),
        arms => {
            let (head, _) = TABLE
                .split_once("[[blocks.arms]]\nname = \"tuned\"")
                .expect("valid here");
            format!("{head}{arms}")
        }
    } + "\n";
    // Claims are a list of the whole file, so they stand before the first table of it.
    TableFile::parse(
        &text.replacen("shows = []", "shows = []\nclaims = []", 1),
        "small.toml",
    )
    .expect("valid here")
}

/// The row of one arm beside ERM.
fn row_of(settings: &str, balanced: &Balanced<'_>) -> Row {
    let table = file(&format!("[[blocks.arms]]\nname = \"a\"\n{settings}\n"));
    let plan = Plan::new(&table, &args(Scale::Rehearsal), balanced).expect("a plan");
    plan.settings[0].blocks[0].arms[1].row
}

fn error_of(table: &TableFile, args: &Args) -> String {
    match Plan::new(table, args, &always) {
        Ok(_) => panic!("the plan has to be refused"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_plan_has_the_settings_of_its_scale_and_the_seeds_of_its_block() {
    let table = file("");
    let plan = Plan::new(&table, &args(Scale::Rehearsal), &always).expect("a plan");
    let [setting] = &plan.settings[..] else {
        panic!("one setting")
    };
    assert_eq!(setting.setting.name, "rehearsal");
    assert_eq!(setting.blocks[0].seeds, [1, 2], "rehearsal_seeds");
    assert_eq!(setting.blocks[0].reference().arm.name, "ERM");
    let full = Plan::new(&table, &args(Scale::Full), &always).expect("a plan");
    assert_eq!(full.settings[0].blocks[0].seeds, [1]);
    let mut four = args(Scale::Rehearsal);
    four.seeds = Some(4);
    let plan = Plan::new(&table, &four, &always).expect("a plan");
    assert_eq!(plan.settings[0].blocks[0].seeds, [1, 2, 3, 4]);
    let none = error_of(&table, &args(Scale::Smoke));
    assert!(none.contains("no setting of scale `smoke`"), "{none}");
}

#[test]
fn a_seed_of_the_tuning_runs_is_never_one_of_the_tables() {
    let table = file("");
    let mut many = args(Scale::Rehearsal);
    many.seeds = Some(101);
    let error = error_of(&table, &many);
    assert!(
        error.contains("seed 101 is that of the tuning runs"),
        "{error}"
    );
}

#[test]
fn every_run_has_its_settings_its_seed_and_its_key_as_name() {
    let table = file("");
    let plan = Plan::new(&table, &args(Scale::Rehearsal), &always).expect("a plan");
    let arm = &plan.settings[0].blocks[0].arms[2];
    let run = arm
        .run(2, &["training.label_smoothing=0.1".into()])
        .expect("valid here");
    let config = &run.file.config;
    assert_eq!((run.seed, config.training.seed), (2, 2));
    assert_eq!(config.training.epochs, 2, "the setting's change");
    assert_eq!(config.training.label_smoothing, 0.1);
    let ObjectiveConfig::Mr2(objective) = &config.training.objective else {
        panic!("the preset is an MR² objective")
    };
    assert_eq!(*objective, Preset::Recommended.config());
    assert_eq!(config.name, run.key);
    assert_eq!(run.key, store::key(config).expect("valid here"));
    assert_eq!(run.label, "MR² seed 2");
}

#[test]
fn a_tuning_run_holds_training_images_out_and_has_the_tuning_seed() {
    let table = file("");
    let plan = Plan::new(&table, &args(Scale::Rehearsal), &always).expect("a plan");
    let PlannedSetting { setting, blocks } = &plan.settings[0];
    let arm = &blocks[0].arms[1];
    let lr = vec!["training.optimizer.lr=0.05".to_string()];
    let run = arm.tuning_run(&setting.tuning, &lr).expect("valid here");
    let carved = crate::config::Validation::Carved {
        per_class: 10,
        seed: 0,
    };
    assert_eq!(run.file.config.data.validation, carved);
    assert_eq!(run.seed, 101);
    assert_ne!(run.key, arm.run(101, &lr).expect("valid here").key);
}

#[test]
fn what_is_cross_entropy_written_otherwise_is_not_trained() {
    let uniform = |preset: &str, more: &str| {
        format!("preset = \"{preset}\"\nset = ['training.objective.gamma.source=uniform'{more}]")
    };
    let zero = ", 'training.objective.representation.weight=0.0'";
    let (same, trained) = (Row::SameAsReference, Row::Trained);
    // γ = 1 everywhere and no representation loss, on any data.
    assert_eq!(row_of(&uniform("recommended", zero), &never), same);
    assert_eq!(
        row_of("set = ['training.objective={ kind = \"erm\" }']", &never),
        same
    );
    // λ > 0; γ = 2; γ from the classes.
    assert_eq!(row_of(&uniform("recommended", ""), &always), trained);
    assert_eq!(row_of(&uniform("paper_linear", zero), &always), trained);
    assert_eq!(row_of("preset = \"recommended\"", &always), trained);
    // Another learning rate is another run.
    let lr = ", 'training.optimizer.lr=0.05'";
    assert_eq!(
        row_of(&uniform("recommended", &format!("{zero}{lr}")), &always),
        trained
    );
    assert_eq!(
        row_of("set = ['training.optimizer.lr=0.05']", &always),
        trained
    );
}

#[test]
fn corrections_for_class_frequencies_are_cross_entropy_on_balanced_data_only() {
    for objective in [
        "kind = \"re_weighting\", beta = 0.9999",
        "kind = \"logit_adjustment\", tau = 1.0",
        "kind = \"balanced_softmax\"",
    ] {
        let settings = format!("set = ['training.objective={{ {objective} }}']");
        assert_eq!(
            row_of(&settings, &always),
            Row::SameAsReference,
            "{objective}"
        );
        assert_eq!(row_of(&settings, &never), Row::Trained, "{objective}");
    }
    let focal = "set = ['training.objective={ kind = \"focal\", focusing = 1.0 }']";
    assert_eq!(row_of(focal, &always), Row::Trained);
}

#[test]
fn an_arm_that_is_tuned_is_trained_though_it_is_written_as_the_reference() {
    let table = file("");
    let row = |scale| {
        let plan = Plan::new(&table, &args(scale), &always).expect("a plan");
        plan.settings[0].blocks[0].arms[1].row
    };
    assert_eq!(row(Scale::Rehearsal), Row::Trained);
    // Nothing is tuned at this scale, so it is ERM.
    assert_eq!(row(Scale::Full), Row::SameAsReference);
}

#[test]
fn only_takes_the_named_arms_and_the_reference() {
    let table = file("");
    let mut only = args(Scale::Rehearsal);
    only.only = vec!["MR²".into()];
    let plan = Plan::new(&table, &only, &always).expect("a plan");
    let arms = plan.settings[0].blocks[0].arms.iter();
    let names: Vec<&str> = arms.map(|arm| arm.arm.name.as_str()).collect();
    assert_eq!(names, ["ERM", "MR²"]);
    only.only.push("MR2".into());
    assert_eq!(
        error_of(&table, &only),
        "--only MR2: no such arm; there are ERM, MR², row b, tuned"
    );
}

#[test]
fn an_error_names_the_block_the_arm_and_what_is_wrong() {
    let refused = |settings: &str| {
        let table = file(&format!("[[blocks.arms]]\nname = \"a\"\n{settings}\n"));
        error_of(&table, &args(Scale::Rehearsal))
    };
    let preset = refused("preset = \"recomended\"");
    assert!(
        preset.starts_with("Methods: arm `a`: unknown preset `recomended`; valid: paper_linear,"),
        "{preset}"
    );
    let key = refused("set = ['training.optimizer.rate=0.05']");
    assert!(key.starts_with("Methods: arm `a`: "), "{key}");
    assert!(key.contains("rate"), "{key}");
    // An alternative is checked before anything is trained.
    let tune =
        refused("preset = \"recommended\"\ntune = [['training.objective.gamma.budget=\"x\"']]");
    assert!(
        tune.starts_with("Methods: arm `a`: ") && tune.contains("budget"),
        "{tune}"
    );
}

#[test]
fn re_sampling_by_class_is_the_reference_where_classes_are_balanced_and_trained_elsewhere() {
    let set = "set = ['data.sampler={ kind = \"resampled\" }']";
    assert_eq!(row_of(set, &always), Row::SameAsReference);
    assert_eq!(row_of(set, &never), Row::Trained);
}
