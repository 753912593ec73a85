//! Rules of a table's file, and every committed one.

use std::path::Path;

use super::super::args::Args;
use super::super::plan::{Plan, Row};
use super::*;

const TABLE: &str = r#"
title = "Small"
reproduces = "nothing"
shows = []

[[settings]]
name = "setting"
scale = "full"
base = "rehearsal-erm.toml"
set = []
seeds = [1, 2]
tuning = { kind = "validation", per_class = 10, draw = 0, seed = 101 }
published = "the paper's"

[[blocks]]
name = "block"

[[blocks.arms]]
name = "ERM"
published = [{ setting = "the paper's", metric = "hard", percent = 56.7, source = "secondary" }]

[[blocks.arms]]
name = "row b"
unknown = "Not known."

[[claims]]
claim = "c"
paper = "unknown"
block = "block"
test = { kind = "best_arm", arm = "ERM", metric = "hard" }
"#;

#[test]
fn what_cannot_be_a_table_is_refused_and_the_error_says_why() {
    assert!(TableFile::parse(TABLE, "t.toml").is_ok());
    let changes = [
        (
            "seeds = [1, 2]",
            "seeds = []",
            "setting `setting`: no seeds",
        ),
        (
            "seeds = [1, 2]",
            "seeds = [1, 1]",
            "a seed stands in it twice",
        ),
        (
            "seeds = [1, 2]",
            "seeds = [1, 101]",
            "seed 101 of the tuning runs is one of the table's",
        ),
        (
            "name = \"row b\"",
            "name = \"ERM\"",
            "block `block`: two arms are named `ERM`",
        ),
        (
            "name = \"block\"",
            "name = \"block\"\nrehearsal_seeds = 0",
            "expected at least 1",
        ),
        (
            "name = \"ERM\"",
            "name = \"ERM\"\nunknown = \"x\"",
            "the reference and can't be unknown",
        ),
        (
            "unknown = \"Not known.\"",
            "unknown = \"x\"\npreset = \"recommended\"",
            "what is unknown can't have settings",
        ),
        (
            "percent = 56.7, ",
            "",
            "a published cell without number and words",
        ),
        (
            "{ setting = \"the paper's\"",
            "{ setting = \"other\"",
            "a published cell of `other`, which is no setting's",
        ),
        (", source = \"secondary\"", "", "missing field `source`"),
        (
            "source = \"secondary\"",
            "source = \"hearsay\"",
            "unknown variant `hearsay`",
        ),
        (
            "arm = \"ERM\"",
            "arm = \"EMR\"",
            "claim `c`: no arm `EMR` in block `block`",
        ),
        (
            "block = \"block\"",
            "block = \"blocks\"",
            "claim `c`: no block `blocks`",
        ),
        ("title = ", "titel = ", "did you mean `title`?"),
    ];
    for (from, to, expected) in changes {
        let text = TABLE.replacen(from, to, 1);
        assert_ne!(text, TABLE, "{from}");
        let error = format!(
            "{:#}",
            TableFile::parse(&text, "t.toml").expect_err("no table")
        );
        assert!(error.starts_with("t.toml: "), "{error}");
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

/// The committed tables by file name.
fn committed() -> Vec<(String, TableFile)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/tables");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
        .iter()
        .map(|path| {
            let name = path
                .file_name()
                .expect("readable")
                .to_string_lossy()
                .to_string();
            let table = TableFile::parse(&std::fs::read_to_string(path).expect("readable"), &name);
            (name, table.unwrap_or_else(|error| panic!("{error:#}")))
        })
        .collect()
}

#[test]
fn every_committed_table_resolves_at_every_scale_it_has() {
    use clap::Parser;
    for (name, table) in committed() {
        for scale in [Scale::Smoke, Scale::Rehearsal, Scale::Full] {
            let args = Args::parse_from(["table", "--scale", scale.name()]);
            let plan = Plan::new(&table, &args, &|_| Ok(true));
            let plan = plan.unwrap_or_else(|error| panic!("{name}, {scale:?}: {error:#}"));
            for (setting, block) in plan.blocks() {
                let place = format!("{name}, {scale:?}, {}", block.block.name);
                assert!(block.reference().row == Row::Trained, "{place}");
                let tuning = super::super::tuning::runs(setting, block);
                let tuned = block
                    .arms
                    .iter()
                    .filter(|arm| arm.arm.tune.is_some())
                    .count();
                let tuned = if setting.tunes() { tuned } else { 0 };
                // The reference's validation run, and at least two alternatives of each arm.
                let runs = tuning.unwrap_or_else(|error| panic!("{place}: {error:#}"));
                assert!(tuned == 0 || runs.len() > 2 * tuned, "{place}");
            }
            let (_, block) = plan.blocks().next().expect("a block");
            assert!(!block.seeds.is_empty(), "{name}, {scale:?}");
        }
    }
}

#[test]
fn claims_of_committed_tables_are_about_arms_of_their_block() {
    for (name, table) in committed() {
        assert!(!table.claims.is_empty(), "{name}");
        for claim in &table.claims {
            let block = table.blocks.iter().find(|b| b.name == claim.block);
            let arms = &block
                .unwrap_or_else(|| panic!("{name}: {}", claim.claim))
                .arms;
            let known = |wanted: &str| {
                let arm = arms.iter().find(|arm| arm.name == wanted);
                assert!(
                    arm.is_some_and(|arm| arm.unknown.is_none()),
                    "{name}: {wanted}"
                );
            };
            match &claim.test {
                ClaimTest::Difference { arm, against, .. } => [arm, against].map(|a| known(a)),
                ClaimTest::BestArm { arm, .. } => [known(arm), ()],
                ClaimTest::HarderClassesHaveMore { .. } => [(), ()],
            };
            assert!(!claim.paper.is_empty(), "{name}: {}", claim.claim);
        }
    }
}

#[test]
fn published_cells_are_of_the_papers_settings_and_only_full_scale_has_those() {
    for (name, table) in committed() {
        let settings = table.settings.iter().filter(|s| s.published.is_some());
        for setting in settings.clone() {
            assert_eq!(setting.scale, Scale::Full, "{name}: {}", setting.name);
        }
        let known: Vec<&str> = settings.filter_map(|s| s.published.as_deref()).collect();
        let arms = table.blocks.iter().flat_map(|block| &block.arms);
        for (arm, cell) in
            arms.flat_map(|arm| arm.published.iter().flatten().map(move |c| (arm, c)))
        {
            assert!(
                known.contains(&cell.setting.as_str()),
                "{name}: {}",
                arm.name
            );
            assert!(
                cell.percent.is_none_or(|p| (0.0..=100.0).contains(&p)),
                "{name}: {cell:?}"
            );
        }
    }
}
