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
fn bench_pass_times_a_network_either_way_and_counts_its_parameters() {
    let pass = |more: &[&str]| {
        let mut arguments = STEP;
        arguments[1] = "pass";
        let more = [&["--backbone", "resnet8"], more].concat();
        let figures = figures(&arguments, &more);
        assert!(is_positive(&figures["seconds"]), "{figures}");
        figures["parameters"].as_u64().unwrap()
    };
    assert_eq!(pass(&[]), pass(&["--backward"]));
}

#[test]
fn bench_layer_optimizer_and_stack_print_figures() {
    let sizes = ["--batch", "2", "--size", "8", "--channels", "4"];
    let layer = |kind| [&["bench", "layer", "--kind", kind], &sizes[..]].concat();
    let stack = |engine| {
        let start = ["bench", "stack", "--layers", "2", "--engine", engine];
        [&start[..], &sizes].concat()
    };
    let optimizer = |rule| {
        vec![
            "bench",
            "optimizer",
            "--backbone",
            "resnet8",
            "--rule",
            rule,
        ]
    };
    for arguments in [
        layer("max-pool"),
        layer("avg-pool"),
        layer("dropout"),
        optimizer("sgd"),
        optimizer("adamw"),
    ] {
        let figures = figures(&arguments, &["--repetitions", "2"]);
        assert!(is_positive(&figures["seconds"]), "{figures}");
    }
    // The same network: only the layers are others'.
    let loss = |engine| {
        let figures = figures(&stack(engine), &["--repetitions", "1"]);
        figures["loss"].as_f64().unwrap()
    };
    let (ours, candles) = (loss("mr2"), loss("candle"));
    assert!(
        (ours - candles).abs() < 1e-4 * candles,
        "{ours} and {candles}"
    );
}

#[test]
fn each_work_has_repetitions_of_its_own() {
    let arguments = [
        "bench", "layer", "--kind", "dropout", "--batch", "2", "--size", "8",
    ];
    assert_eq!(figures(&arguments, &["--channels", "4"])["repetitions"], 30);
    assert_eq!(figures(&LOSS[..6], &["--classes", "4"])["repetitions"], 200);
}

#[test]
fn bench_curve_falls_and_is_the_same_on_any_number_of_threads() {
    let losses = |threads| {
        let arguments = ["bench", "curve", "--steps", "4", "--threads", threads];
        let figures = figures(&arguments, &[]);
        let losses = figures["losses"].as_array().unwrap().clone();
        assert_eq!(losses.len(), 4);
        losses
    };
    let one = losses("1");
    assert_eq!(one, losses("2"));
    assert!(one[3].as_f64() < one[0].as_f64(), "{one:?}");
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
