//! `mr2 bench`: the figures that experiments/bench/compare reads.

use serde_json::Value;

use crate::support::{expect, mr2};

const LOSS: [&str; 8] = [
    "bench",
    "loss",
    "--batch",
    "12",
    "--features",
    "6",
    "--repetitions",
    "3",
];
const STEP: [&str; 12] = [
    "bench",
    "step",
    "--batch",
    "4",
    "--size",
    "8",
    "--channels",
    "1",
    "--classes",
    "3",
    "--repetitions",
    "2",
];

/// Runs with `--json`; the object of the last line.
fn figures(arguments: &[&str], more: &[&str]) -> Value {
    let (stdout, _) = expect(mr2().args(arguments).args(more).arg("--json"), 0);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

fn is_positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|x| x.is_finite() && x > 0.0)
}

#[test]
fn bench_loss_prints_finite_positive_figures() {
    let figures = figures(&LOSS, &["--classes", "4"]);
    for key in ["seconds", "loss"] {
        assert!(is_positive(&figures[key]), "{key}: {figures}");
    }
    if cfg!(unix) {
        assert!(is_positive(&figures["cpu_seconds"]), "{figures}");
    }
    assert_eq!(figures["repetitions"], 3);
}

#[test]
fn bench_loss_times_the_preset_that_is_named() {
    let loss = |preset| {
        let figures = figures(&LOSS, &["--classes", "4", "--preset", preset]);
        figures["loss"].as_f64().unwrap()
    };
    assert_ne!(loss("official_cifar"), loss("paper_linear"));
}

#[test]
fn bench_step_trains_by_both_objectives() {
    let loss = |objective| {
        let more = ["--backbone", "resnet8", "--objective", objective];
        let figures = figures(&STEP, &more);
        assert!(is_positive(&figures["seconds"]), "{figures}");
        assert_eq!(figures["repetitions"], 2);
        figures["loss"].as_f64().unwrap()
    };
    assert_ne!(loss("erm"), loss("mr2"));
}

#[test]
fn bench_without_json_says_what_was_timed_in_one_line() {
    let (stdout, _) = expect(
        mr2().args(LOSS).args(["--classes", "4", "--threads", "1"]),
        0,
    );
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    for part in [
        "`official_cifar`",
        "4 classes, batch 12, 6 features",
        " ms",
        "median of 3",
        "threads 1",
    ] {
        assert!(stdout.contains(part), "no `{part}` in {stdout}");
    }
}

#[test]
fn bench_refuses_sizes_and_names_that_are_none() {
    for (arguments, parts) in [
        (&["--classes", "0"][..], ["--classes", "0 is not in 1.."]),
        (
            &["--classes", "4", "--repetitions", "0"],
            ["--repetitions", "0 is not in 1.."],
        ),
        (
            &["--classes", "4", "--preset", "papr"],
            ["unknown preset", "paper_linear"],
        ),
    ] {
        let (_, stderr) = expect(mr2().args(&LOSS[..6]).args(arguments), 2);
        for part in parts {
            assert!(stderr.contains(part), "no `{part}` in {stderr}");
        }
    }
    let (_, stderr) = expect(mr2().args(STEP).args(["--backbone", "resnet9"]), 1);
    assert!(
        stderr.contains("resnet9") && stderr.contains("resnet8"),
        "{stderr}"
    );
}
