//! One rehearsal with everything that can happen to an arm.

use super::*;
use crate::report::{html, latex, markdown};
use runs::run;

const TABLE: &str = r#"
title = "Methods & margins"
reproduces = "Table 0 of a paper"
shows = []

[[settings]]
name = 'Data <b>&_%|$\`, 2 epochs'
scale = "rehearsal"
base = "rehearsal-erm.toml"
set = []
seeds = [1, 2, 3, 4]
tuning = { kind = "validation", per_class = 10, draw = 0, seed = 101 }

[[settings]]
name = "CIFAR-100, ResNet-32"
scale = "full"
base = "cifar100-resnet32-erm.toml"
set = []
seeds = [1]
tuning = { kind = "off" }
published = "CIFAR-100, ResNet-32"

[[blocks]]
name = "Methods"

[[blocks.arms]]
name = "ERM"
published = [{ setting = "CIFAR-100, ResNet-32", metric = "overall", percent = 12.3, source = "paper" }]

[[blocks.arms]]
name = '<b>&_%|$\`'
preset = "recommended"
note = "Better by construction."
tune = [['training.objective.gamma.budget=1.0'], ['training.objective.gamma.budget=2.0', 'training.label_smoothing=0.1'], ['data.drop_last=false']]

[[blocks.arms]]
name = "worse"
preset = "paper_linear"

[[blocks.arms]]
name = "re-weighting"
set = ['training.objective={ kind = "re_weighting", beta = 0.9999 }']

[[blocks.arms]]
name = "row b"
unknown = "Row b of the table is not known to us."

[[blocks.arms]]
name = "not trained"
preset = "recommended"
note = "Better by construction."

[[claims]]
claim = "The better arm raises the hard third"
paper = "+1.8 (56.7 → 58.5, secondary)"
block = "Methods"
test = { kind = "difference", arm = '<b>&_%|$\`', against = "ERM", metric = "hard", expect = "higher" }

[[claims]]
claim = "The better arm lowers the gap"
paper = "unknown"
block = "Methods"
test = { kind = "difference", arm = '<b>&_%|$\`', against = "ERM", metric = "gap", expect = "lower" }

[[claims]]
claim = "The better arm raises the easy third"
paper = "unknown"
block = "Methods"
test = { kind = "difference", arm = '<b>&_%|$\`', against = "ERM", metric = "easy", expect = "higher" }

[[claims]]
claim = "The worse arm raises the hard third"
paper = "unknown"
block = "Methods"
test = { kind = "difference", arm = "worse", against = "ERM", metric = "hard", expect = "higher" }

[[claims]]
claim = "The better arm is above the worse one"
paper = "unknown"
block = "Methods"
test = { kind = "difference", arm = '<b>&_%|$\`', against = "worse", metric = "hard", expect = "higher" }

[[claims]]
claim = "Re-weighting raises overall accuracy"
paper = "unknown"
block = "Methods"
test = { kind = "difference", arm = "re-weighting", against = "ERM", metric = "overall", expect = "higher" }

[[claims]]
claim = "What isn't trained raises overall accuracy"
paper = "unknown"
block = "Methods"
test = { kind = "difference", arm = "not trained", against = "ERM", metric = "overall", expect = "higher" }

[[claims]]
claim = "The better arm is the best"
paper = "unknown"
block = "Methods"
test = { kind = "best_arm", arm = '<b>&_%|$\`', metric = "overall" }

[[claims]]
claim = "The worse arm is the best"
paper = "unknown"
block = "Methods"
test = { kind = "best_arm", arm = "worse", metric = "overall" }

[[claims]]
claim = "Harder classes have the larger m + v"
paper = "yes, in words (secondary)"
block = "Methods"
test = { kind = "harder_classes_have_more", quantity = "second_moment" }

[[claims]]
claim = "Harder classes have the larger v"
paper = "unknown"
block = "Methods"
test = { kind = "harder_classes_have_more", quantity = "spread" }
"#;

/// The reference lacks seed 4; the worse arm lacks seeds 2 (its loss was NaN) and 4.
fn report_of_rehearsal() -> Report<TableData> {
    let table = TableFile::parse(TABLE, "golden.toml").expect("a table");
    // In seed 2 the epoch before the last was the better one. Over seeds 2 and 3 and over all three, classes 1
    // and 2 are as hard as each other: the lower index is the harder.
    let second = Runs {
        last: [52, 62, 58, 82, 88, 94],
        before: [52, 62, 60, 82, 90, 96],
    };
    let erm = [
        (1, run([50, 60, 60, 80, 90, 95])),
        (2, second),
        (3, run([48, 58, 62, 84, 92, 93])),
    ];
    let better = [
        (1, run([56, 65, 63, 81, 91, 95])),
        (2, run([57, 67, 62, 83, 89, 94])),
        (3, run([54, 62, 67, 85, 92, 93])),
        (4, run([55, 64, 64, 82, 90, 96])),
    ];
    let worse = [
        (1, run([40, 50, 61, 80, 90, 95])),
        (3, run([38, 57, 51, 84, 92, 93])),
    ];
    let arms: [Made<'_>; 6] = [
        ("ERM", Row::Trained, &erm),
        (NAME, Row::Trained, &better),
        ("worse", Row::Trained, &worse),
        ("re-weighting", Row::SameAsReference, &[]),
        ("row b", Row::Unknown, &[]),
        ("not trained", Row::Trained, &[]),
    ];
    let failure = Failure {
        key: "00000000deadbeef".into(),
        label: "worse seed 2".into(),
        error: "the loss is NaN in step 17 of epoch 1".into(),
    };
    let mut collected = collected(&table, Scale::Rehearsal, &arms, vec![failure]);
    let candidate = |set: &[&str], overall: Option<f64>, hard: Option<f64>| Candidate {
        set: set.iter().map(|one| one.to_string()).collect(),
        overall,
        hard,
        score: overall.zip(hard).map(|(o, h)| (o + h) / 2.0),
    };
    let tuned = TunedArm {
        arm: NAME.into(),
        candidates: vec![
            candidate(
                &["training.objective.gamma.budget=1.0"],
                Some(0.7),
                Some(0.5),
            ),
            candidate(
                &[
                    "training.objective.gamma.budget=2.0",
                    "training.label_smoothing=0.1",
                ],
                Some(0.72),
                Some(0.515),
            ),
            candidate(&["data.drop_last=false"], None, None),
        ],
        chosen: Some(1),
        missing: 1,
    };
    collected.blocks[0].tuned = TunedArms::from([(NAME.to_string(), tuned)]);
    report(&collected).expect("a report")
}

#[test]
fn markdown_of_a_rehearsal_is_as_written_beside() {
    let text = markdown::render(&report_of_rehearsal().document);
    assert_eq!(text, include_str!("rehearsal.md"), "\n{text}");
}

#[test]
fn latex_of_a_rehearsal_is_as_written_beside() {
    let text = latex::render(&report_of_rehearsal().document);
    assert_eq!(text, include_str!("rehearsal.tex"), "\n{text}");
}

#[test]
fn html_of_a_rehearsal_has_its_words_escaped_and_its_verdicts_coloured() {
    let text = html::render(&report_of_rehearsal().document, &BTreeMap::new());
    for fragment in [
        "<title>REHEARSAL (Data &lt;b&gt;&amp;_%|$\\`, 2 epochs): Methods &amp; margins</title>",
        "<th scope=\"row\" class=\"words\" title=\"&lt;b&gt;&amp;_%|$\\`\">&lt;b&gt;&amp;_%|$\\`</th>",
        "<td class=\"right\">= ERM</td>",
        "<td class=\"right\">unknown</td>",
        "<li class=\"for\"><strong>holds</strong>The better arm raises the hard third: paper: +1.8",
        "<li class=\"against\"><strong>fails</strong>The worse arm raises the hard third: ",
        "<li class=\"open\"><strong>undecided at n = 3</strong>The better arm raises the easy third: ",
        "<li class=\"open\"><strong>no runs</strong>What isn&#39;t trained raises overall accuracy: ",
        "the loss is NaN in step 17 of epoch 1",
    ] {
        assert!(text.contains(fragment), "{fragment}\nin {text}");
    }
    assert!(!text.contains("<b>"), "{text}");
}

#[test]
fn json_of_a_rehearsal_names_every_run_that_went_in() {
    let report = report_of_rehearsal();
    let json: serde_json::Value =
        serde_json::from_slice(&report.json().expect("plain data")).expect("JSON");
    let block = &json["data"]["blocks"][0];
    let runs = block["runs"].as_object().expect("arms");
    let seeds = |arm: &str| -> Vec<&str> {
        let runs = runs[arm].as_object().expect("seeds");
        runs.keys().map(String::as_str).collect()
    };
    assert_eq!(seeds("ERM"), ["1", "2", "3"]);
    assert_eq!(seeds(NAME), ["1", "2", "3", "4"]);
    assert_eq!(seeds("worse"), ["1", "3"]);
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert_eq!(block["tuned"][NAME]["chosen"], 1);
    assert_eq!(json["data"]["failures"][0]["label"], "worse seed 2");
}

#[test]
fn a_report_is_the_same_to_the_byte_each_time() {
    let [a, b] = [0, 1].map(|_| report_of_rehearsal().json().expect("plain data"));
    assert_eq!(a, b);
}
