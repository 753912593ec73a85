//! `mr2 report`: run folders in; Markdown, LaTeX, HTML, JSON and plots out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mr2_loss::{GammaSource, Preset};
use mr2_metrics::{PerClass, Premise, PremiseTest};
use mr2_train::predictions::Predictions;
use mr2_train::report::{ClassSeries, Correlations, EpochRecord, MeasuredOn};
use mr2_train::result::{Evaluated, RESULT_FORMAT_VERSION, RunResult, Selected, Timings};
use mr2_train::{
    ClassMeasures, Clip, ObjectiveConfig, OptimizerConfig, ScheduleConfig, Select, Sharpness,
    TrainConfig,
};

use crate::support::{expect, folder, mr2};

const CLASSES: [&str; 6] = ["plain", "<script>&_%", "a|b", "\\input{x}", "ten", "zwölf"];
const IMAGES_PER_CLASS: usize = 10;

/// A finished run in which class k has `correct[k]` of ten images right.
struct Run<'a> {
    name: &'a str,
    seed: u64,
    correct: [usize; 6],
}

impl Run<'_> {
    fn predictions(&self) -> Predictions {
        let classes = CLASSES.len();
        let labels: Vec<u32> = (0..classes * IMAGES_PER_CLASS)
            .map(|i| (i / IMAGES_PER_CLASS) as u32)
            .collect();
        let right =
            |image: usize| image % IMAGES_PER_CLASS < self.correct[image / IMAGES_PER_CLASS];
        let predictions: Vec<u32> = labels
            .iter()
            .enumerate()
            .map(|(i, &k)| {
                if right(i) {
                    k
                } else {
                    (k + 1) % classes as u32
                }
            })
            .collect();
        let logits = predictions
            .iter()
            .flat_map(|&p| (0..classes as u32).map(move |k| if k == p { 2.0 } else { 0.0 }))
            .collect();
        Predictions {
            class_names: CLASSES.map(String::from).to_vec(),
            indices: (0..labels.len() as u32).collect(),
            labels,
            predictions,
            logits,
        }
    }

    fn training(&self) -> TrainConfig {
        TrainConfig {
            seed: self.seed,
            epochs: 2,
            optimizer: OptimizerConfig::Sgd {
                lr: 0.1,
                momentum: 0.9,
                nesterov: false,
                weight_decay: 0.0,
                decay_norm_and_bias: true,
            },
            schedule: ScheduleConfig::Constant {},
            clip: Clip::Off {},
            label_smoothing: 0.0,
            objective: if self.name == "ERM" {
                ObjectiveConfig::Erm {}
            } else {
                let mut config = Preset::Recommended.config();
                config.gamma.source = GammaSource::RelativeSpread;
                ObjectiveConfig::Mr2(config)
            },
            sharpness: Sharpness::Off {},
            checkpoint_every_steps: 1,
            log_every_steps: 1,
            select: Select::Last,
            test_every_epoch: false,
            class_measures: ClassMeasures::Off,
        }
    }

    fn result(&self, predictions: &Predictions) -> RunResult {
        let per_class = predictions.per_class().unwrap();
        RunResult {
            format_version: RESULT_FORMAT_VERSION,
            seed: self.seed,
            config: self.training(),
            class_names: predictions.class_names.clone(),
            selected: Selected {
                by: Select::Last,
                epoch: 2,
                step: 4,
            },
            test: Evaluated {
                overall: per_class.overall(),
                class_accuracy: per_class.accuracies(),
                mean_recall: per_class.mean_recall(),
                predicted: None,
                macro_f1: None,
                top5: Some(0.9),
                ece: 0.1,
                loss: None,
                per_class: per_class.clone(),
            },
            extra_tests: BTreeMap::new(),
            diversity: None,
            thirds: None,
            validation: None,
            classes: series(self.seed, 2),
            spread_threshold: None,
            correlations: correlations(),
            premise: PremiseTest {
                rho: None,
                p: None,
                classes: 6,
                verdict: Premise::Undecided { classes: 6 },
            },
            curves: (1..=2)
                .map(|epoch| record(epoch, self.seed, &per_class))
                .collect(),
            warnings: Vec::new(),
            timings: Timings {
                training_seconds: 1.0,
                evaluation_seconds: 1.0,
                total_seconds: 3.0,
                starts: 1,
            },
            versions: BTreeMap::from([("mr2".to_string(), "0.1.0".to_string())]),
            predictions: "predictions.safetensors".into(),
        }
    }

    fn write(&self, root: &Path) -> PathBuf {
        let folder = root.join(format!("{}-seed{}", self.name, self.seed));
        std::fs::create_dir_all(&folder).unwrap();
        let predictions = self.predictions();
        let result = serde_json::to_string(&self.result(&predictions)).unwrap();
        std::fs::write(folder.join("result.json"), result).unwrap();
        std::fs::write(
            folder.join("predictions.safetensors"),
            predictions.to_safetensors().unwrap(),
        )
        .unwrap();
        std::fs::write(folder.join("predictions.csv"), predictions.to_csv()).unwrap();
        let config = format!(
            "name = \"{}\"\n[data]\ndataset = \"tiny\"\n[model]\nbackbone = \"resnet8\"\n[training]\nseed = {}\n",
            self.name, self.seed
        );
        std::fs::write(folder.join("config.toml"), config).unwrap();
        folder
    }
}

fn series(seed: u64, epoch: u64) -> ClassSeries {
    let values = |offset: f64| -> Vec<Option<f64>> {
        (0..CLASSES.len())
            .map(|k| Some(offset + 0.1 * (k as f64) + 0.01 * (seed + epoch) as f64))
            .collect()
    };
    ClassSeries {
        m: values(1.0),
        v: values(2.0),
        second_moment: values(3.0),
        gamma: values(1.0),
        head_norm: values(1.0),
    }
}

fn correlations() -> Correlations {
    Correlations {
        measured_on: MeasuredOn::Test,
        m: None,
        v: None,
        second_moment: None,
        relative_spread: None,
        gamma: None,
        head_norm: None,
    }
}

fn record(epoch: u64, seed: u64, classes: &PerClass) -> EpochRecord {
    EpochRecord {
        epoch,
        step: 2 * epoch,
        lr: 0.1,
        loss: 1.0,
        classification_loss: 1.0,
        representation_loss: 0.0,
        images_per_second: 1.0,
        share_with_positive: 1.0,
        train_accuracy: Some(0.5),
        train_classes: classes.clone(),
        validation_accuracy: None,
        validation_classes: None,
        validation_loss: None,
        test_classes: None,
        training_set: None,
        classes: series(seed, epoch),
        spread_threshold: None,
        pulls: None,
        correlations: correlations(),
        signs: Vec::new(),
    }
}

/// Three seeds of ERM and of a method that is better on the hard classes in every seed.
fn six_runs(root: &Path) {
    for (seed, wobble) in [(1, 0), (2, 1), (3, 0)] {
        Run {
            name: "ERM",
            seed,
            correct: [4, 5 + wobble, 7, 8, 9, 10],
        }
        .write(root);
        Run {
            name: "MR²",
            seed,
            correct: [7 + wobble, 8 + wobble, 7, 8, 9, 10],
        }
        .write(root);
    }
}

fn report(runs: &[&Path], out: &Path, status: i32) -> (String, String) {
    expect(mr2().arg("report").args(runs).arg("--out").arg(out), status)
}

/// A temporary folder, where runs go in it, and where their report goes.
fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let temporary = folder();
    let (runs, report) = (
        temporary.path().join("runs"),
        temporary.path().join("report"),
    );
    (temporary, runs, report)
}

#[test]
fn a_report_has_every_format_and_says_how_classes_were_chosen() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    let (stdout, _) = report(&[&runs], &out, 0);
    assert!(
        stdout.contains("cross-fitted") && stdout.contains("report.html"),
        "{stdout}"
    );
    assert!(
        stdout.contains("MR² against ERM, hard: +31.7 [+24.5, +38.8] → better"),
        "{stdout}"
    );
    for file in ["report.json", "report.md", "report.tex", "report.html"] {
        assert!(out.join(file).metadata().unwrap().len() > 1000, "{file}");
    }
    for plot in [
        "accuracy-mr2",
        "gamma-mr2",
        "spread-mr2",
        "spread-erm",
        "mistakes",
    ] {
        assert!(
            out.join("plots").join(format!("{plot}.svg")).is_file(),
            "{plot}"
        );
        let png = std::fs::read(out.join("plots").join(format!("{plot}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{plot}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["data"]["class_report"]["reference"], "ERM");
    assert_eq!(json["data"]["runs"].as_array().unwrap().len(), 6);
}

#[test]
fn json_prints_what_report_json_holds_and_a_folder_is_not_needed_for_it() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    let (printed, _) = expect(mr2().arg("report").arg(&runs).arg("--json"), 0);
    let mut with_folder = mr2();
    with_folder.arg("report").arg(&runs).arg("--json");
    let (again, _) = expect(with_folder.arg("--out").arg(&out), 0);
    assert_eq!(printed, again);
    assert_eq!(
        printed,
        std::fs::read_to_string(out.join("report.json")).unwrap()
    );
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json["format_version"], 1);
    let rows = json["data"]["class_report"]["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["name"], &rows[1]["name"]),
        (&"ERM".into(), &"MR²".into())
    );
}

#[test]
fn a_note_is_printed_once_however_many_tables_it_belongs_to() {
    let temporary = folder();
    six_runs(temporary.path());
    let (text, _) = expect(mr2().arg("report").arg(temporary.path()), 0);
    assert_eq!(text.matches("cross-fitted").count(), 1, "{text}");
    assert!(text.contains("Difference to ERM"), "{text}");
}

/// Every file below the folder, with its content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(snapshot(&path)),
            false => {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn plots_of_a_method_that_is_gone_go_and_files_of_others_stay() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    report(&[&runs], &out, 0);
    std::fs::write(out.join("plots/mine.svg"), "mine").unwrap();
    let erm: Vec<PathBuf> = (1..=3).map(|s| runs.join(format!("ERM-seed{s}"))).collect();
    let erm: Vec<&Path> = erm.iter().map(PathBuf::as_path).collect();
    report(&erm, &out, 0);
    let names: Vec<String> = snapshot(&out)
        .keys()
        .map(|path| path.strip_prefix(&out).unwrap().display().to_string())
        .collect();
    assert!(!names.iter().any(|name| name.contains("mr2")), "{names:?}");
    assert!(
        names.contains(&"plots/accuracy.png".to_string()),
        "{names:?}"
    );
    assert_eq!(std::fs::read(out.join("plots/mine.svg")).unwrap(), b"mine");
}

#[cfg(unix)]
#[test]
fn a_full_disk_or_a_kill_while_writing_leaves_the_earlier_report_whole() {
    use std::os::unix::process::ExitStatusExt;
    let temporary = folder();
    let (runs, out) = (
        temporary.path().join("runs"),
        temporary.path().join("report"),
    );
    six_runs(&runs);
    let erm = runs.join("ERM-seed1");
    report(&[&erm], &out, 0);
    let before = snapshot(&out);
    // No file may grow beyond a few kilobytes: the write fails, or the signal for it kills.
    let limited = |prefix: &str, out: &Path| {
        let script = format!("{prefix} ulimit -f 4; exec \"$0\" report \"$1\" --out \"$2\"");
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_mr2"));
        shell.arg(&runs).arg(out).output().unwrap()
    };
    let failed = limited("trap '' XFSZ;", &out);
    let (_, stderr) = crate::support::texts(&failed);
    assert_eq!(failed.status.code(), Some(1), "{stderr}");
    let named = format!("{}/plots/", out.display());
    assert!(
        stderr.contains(&named) && stderr.contains("cannot write it"),
        "{stderr}"
    );
    assert_eq!(snapshot(&out), before);
    let beside = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(beside, 2, "what was half written is removed");
    let killed = limited("", &out);
    assert!(killed.status.signal().is_some(), "{:?}", killed.status);
    assert_eq!(snapshot(&out), before);
    report(&[&runs], &out, 0);
    assert_ne!(snapshot(&out), before);
    // The same where files of others stand beside the report.
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let before = snapshot(&out);
    assert_eq!(limited("trap '' XFSZ;", &out).status.code(), Some(1));
    assert_eq!(snapshot(&out), before);
}

#[test]
fn a_class_named_like_a_script_is_text_in_every_format() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    report(&[&runs], &out, 0);
    let read = |file: &str| std::fs::read_to_string(out.join(file)).unwrap();
    let html = read("report.html");
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;&amp;_%"));
    // Names of XML namespaces, which nothing is fetched from.
    for address in html
        .split("http://")
        .skip(1)
        .chain(html.split("https://").skip(1))
    {
        assert!(address.starts_with("www.w3.org/"), "{}", &address[..40]);
    }
    assert!(html.contains("<svg ") && !html.contains("(the plot is missing)"));
    let markdown = read("report.md");
    assert!(markdown.contains("| &lt;script&gt;&amp;\\_% |") && markdown.contains("| a\\|b |"));
    let latex = read("report.tex");
    assert!(latex.contains("\\textless{}script\\textgreater{}\\&\\_\\%"));
    assert!(latex.contains("\\textbackslash{}input\\{x\\}") && !latex.contains("\\input{x}"));
    for plot in ["accuracy-mr2.svg", "mistakes.svg"] {
        assert!(
            !std::fs::read_to_string(out.join("plots").join(plot))
                .unwrap()
                .contains("<script")
        );
    }
}

/// The line of a page that begins with `start`, after the line `title`.
fn line_of<'a>(page: &'a str, title: &str, start: &str) -> &'a str {
    let after = page.lines().skip_while(|line| *line != title);
    after
        .skip(1)
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no {start:?} after {title:?} in {page}"))
}

#[test]
fn the_own_minimum_stands_beside_the_worst_class_and_in_the_differences() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    let (stdout, _) = report(&[&runs], &out, 0);
    let head = line_of(&stdout, "Accuracy in %", "method");
    let head: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(
        head[4..9].join(" "),
        "hard worst class own minimum",
        "{stdout}"
    );
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    let (main, differences) = (
        "**Accuracy in %**",
        "**Difference to ERM in percentage points**",
    );
    for title in [main, differences] {
        let head = line_of(&page, title, "| method");
        assert!(
            head.contains("| hard | worst class | own minimum | easy−hard gap |"),
            "{head}"
        );
    }
    // ERM's worst class is `plain`; with MR², `a|b` is as low in every seed.
    let row = line_of(&page, main, "| MR²");
    assert!(row.contains("| 73.3 ± 5.8 (3) | 70.0 ± 0.0 (3) |"), "{row}");
    // The same in every seed: no spread, so no interval, and the note says so.
    let row = line_of(&page, differences, "| MR²");
    assert!(row.contains("| +33.3 [+19.0, +47.7] | +30.0 |"), "{row}");
    assert!(
        page.contains("nor has a difference that is the same in every seed"),
        "{page}"
    );
    // It is no sum over images.
    let images = "**Difference to ERM: interval over test images**";
    assert!(!line_of(&page, images, "| method").contains("own minimum"));
    // Of six classes, a tenth is one.
    let further = line_of(&page, "**Further measures in %**", "| method");
    assert_eq!(
        further,
        "| method | mean per-class recall | macro-F1 | top-5 | ECE |"
    );
}

#[test]
fn the_margins_of_the_method_are_told_apart_from_the_premise() {
    let temporary = folder();
    six_runs(temporary.path());
    let (stdout, _) = expect(mr2().arg("report").arg(temporary.path()), 0);
    // In these runs m + v and γ both rise with the accuracy of the class.
    for line in [
        "The premise: classes that are harder for ERM have the larger m + v: \
         ρ(test accuracy, m + v) = +1.00, p = 0.0028, K = 6 → reversed\n",
        "The margins of MR², made of v/m: classes that are harder for ERM get the larger γ: \
         ρ(test accuracy, γ) = +1.00, p = 0.0028, K = 6 → reversed\n",
    ] {
        assert!(stdout.contains(line), "{line} isn't in {stdout}");
    }
    assert!(!stdout.contains("margins of ERM"), "{stdout}");
}

/// Changes `config.toml` of the runs whose folder begins with `method`.
fn reconfigure(runs: &Path, method: &str, from: &str, to: &str) {
    for seed in 1..=3 {
        let path = runs.join(format!("{method}-seed{seed}/config.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
}

#[test]
fn settings_in_which_the_methods_differ_are_listed_and_those_beside_the_objective_said() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    let training = |more: &str| format!("[training]\n{more}\n");
    let objective =
        training("objective = { kind = \"mr2\", gamma = { source = \"relative_spread\" } }");
    reconfigure(&runs, "MR²", "[training]\n", &objective);
    reconfigure(
        &runs,
        "ERM",
        "[training]\n",
        &training("objective = { kind = \"erm\" }"),
    );
    let (stdout, _) = report(&[&runs], &out, 0);
    let page = || std::fs::read_to_string(out.join("report.md")).unwrap();
    let title = "**Settings that differ between the methods**";
    let text = page();
    assert_eq!(
        line_of(&text, title, "| setting"),
        "| setting | ERM | MR² |"
    );
    let kind = line_of(&text, title, "| training.objective.kind");
    assert_eq!(kind, "| training.objective.kind | erm | mr2 |");
    let source = line_of(&text, title, "| training.objective.gamma");
    assert_eq!(
        source,
        "| training.objective.gamma.source | – | relative\\_spread |"
    );
    assert!(!stdout.contains("Beside their objective"), "{stdout}");
    reconfigure(&runs, "MR²", "[training]\n", &training("epochs = 7"));
    let (stdout, _) = report(&[&runs], &out, 0);
    let said = "Beside their objective the methods differ in training.epochs, so";
    assert!(stdout.contains(said) && page().contains(said), "{stdout}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(
        json["data"]["settings"][0],
        serde_json::json!({ "key": "training.epochs", "values": [null, 7] })
    );
}

#[test]
fn runs_on_different_data_are_refused() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    reconfigure(&runs, "MR²", "\"tiny\"", "\"huge\"");
    let (_, stderr) = report(&[&runs], &out, 1);
    let said = "were trained on different data sets (`tiny` and `huge`)";
    assert!(stderr.contains(said), "{stderr}");
    reconfigure(&runs, "MR²", "\"huge\"", "\"tiny\"");
    let name = |path: &Path| {
        let text = std::fs::read(path).unwrap();
        let renamed = String::from_utf8_lossy(&text).replace("\"ten\"", "\"TEN\"");
        std::fs::write(path, renamed).unwrap();
    };
    let run = runs.join("MR²-seed1");
    name(&run.join("result.json"));
    let other = Predictions {
        class_names: CLASSES.map(|name| name.replace("ten", "TEN")).to_vec(),
        ..Predictions::read(&run.join("predictions.safetensors")).unwrap()
    };
    std::fs::write(
        run.join("predictions.safetensors"),
        other.to_safetensors().unwrap(),
    )
    .unwrap();
    let (_, stderr) = report(&[&runs], &out, 1);
    assert!(
        stderr.contains("name a class differently (`ten` and `TEN`)"),
        "{stderr}"
    );
}

#[test]
fn a_plot_that_leaves_methods_out_says_so() {
    let (_temporary, runs, out) = places();
    for name in ["ERM", "A", "B", "C"] {
        Run {
            name,
            seed: 1,
            correct: [4, 5, 7, 8, 9, 10],
        }
        .write(&runs);
    }
    report(&[&runs], &out, 0);
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(
        page.contains("The first 3 methods; the table has all 4."),
        "{page}"
    );
}

#[test]
fn one_seed_is_marked_optimistic_and_has_no_interval() {
    let (_temporary, runs, out) = places();
    let erm = Run {
        name: "ERM",
        seed: 1,
        correct: [4, 5, 7, 8, 9, 10],
    }
    .write(&runs);
    let other = Run {
        name: "MR²",
        seed: 1,
        correct: [5, 5, 7, 8, 9, 10],
    }
    .write(&runs);
    let (stdout, _) = report(&[&erm, &other], &out, 0);
    assert!(stdout.contains("same run, optimistic"), "{stdout}");
    assert!(
        stdout.contains("MR² against ERM, overall: +1.7 → undecided at n = 1"),
        "{stdout}"
    );
}

#[test]
fn equal_runs_print_identical() {
    let (_temporary, runs, out) = places();
    for seed in [1, 2] {
        for name in ["ERM", "control"] {
            Run {
                name,
                seed,
                correct: [4, 5, 7, 8, 9, 10],
            }
            .write(&runs);
        }
    }
    let (stdout, _) = report(&[&runs], &out, 0);
    assert!(
        stdout.contains("control against ERM, overall: identical → identical"),
        "{stdout}"
    );
}

#[test]
fn seeds_without_a_partner_count_in_means_but_not_in_differences() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    std::fs::remove_dir_all(runs.join("MR²-seed3")).unwrap();
    let (stdout, _) = report(&[&runs], &out, 0);
    let row = stdout
        .lines()
        .find(|line| line.starts_with("ERM "))
        .unwrap();
    assert!(row.contains("(3)"), "{stdout}");
    let row = stdout
        .lines()
        .find(|line| line.starts_with("MR² "))
        .unwrap();
    assert!(row.contains("(2)") && !row.contains("(3)"), "{stdout}");
}

#[test]
fn the_same_runs_give_the_same_report_to_the_byte() {
    let temporary = folder();
    let runs = temporary.path().join("runs");
    six_runs(&runs);
    let written = |name: &str| {
        let out = temporary.path().join(name);
        report(&[&runs], &out, 0);
        [
            "report.json",
            "report.md",
            "report.tex",
            "report.html",
            "plots/gamma-mr2.png",
        ]
        .map(|file| std::fs::read(out.join(file)).unwrap())
    };
    assert!(written("a") == written("b"));
}

#[test]
fn errors_name_the_folder_or_file_and_the_way_out() {
    let temporary = folder();
    let (runs, out) = (
        temporary.path().join("runs"),
        temporary.path().join("report"),
    );
    six_runs(&runs);
    let erm = runs.join("ERM-seed1");
    let refused = |folders: &[&Path], parts: &[&str]| {
        let (_, stderr) = report(folders, &out, 1);
        for part in parts {
            assert!(stderr.contains(part), "no {part:?} in {stderr}");
        }
        assert!(!out.exists(), "nothing is written for {folders:?}");
    };
    refused(
        &[&temporary.path().join("missing")],
        &["missing: no such folder"],
    );
    refused(&[temporary.path()], &["neither a run folder"]);
    refused(
        &[&runs.join("MR²-seed1")],
        &["plain cross-entropy (ERM)", "--reference NAME", "`MR²`"],
    );
    refused(&[&runs, &erm], &["are both seed 1 of `ERM`"]);
    std::fs::write(erm.join("result.json"), "{").unwrap();
    refused(&[&runs], &["ERM-seed1", "result.json"]);
    std::fs::remove_file(erm.join("result.json")).unwrap();
    refused(&[&erm], &["ERM-seed1: the run isn't finished", "--resume"]);
}

#[test]
fn unfinished_runs_beside_finished_ones_are_left_out_and_named() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    std::fs::remove_file(runs.join("MR²-seed2/result.json")).unwrap();
    let (_, stderr) = report(&[&runs], &out, 0);
    assert!(
        stderr.contains("MR²-seed2: not finished, left out"),
        "{stderr}"
    );
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(markdown.contains("Left out, not finished"));
}

#[test]
fn runs_of_one_name_with_different_settings_are_refused() {
    let (_temporary, runs, out) = places();
    six_runs(&runs);
    let config = runs.join("MR²-seed2/config.toml");
    let text = std::fs::read_to_string(&config)
        .unwrap()
        .replace("resnet8", "resnet20");
    std::fs::write(&config, text).unwrap();
    let (_, stderr) = report(&[&runs], &out, 1);
    assert!(
        stderr.contains("both named `MR²` but differ in model.backbone"),
        "{stderr}"
    );
}

#[test]
fn audit_reads_our_own_run_folders_and_files() {
    let temporary = folder();
    let run = Run {
        name: "ERM",
        seed: 1,
        correct: [4, 5, 7, 8, 9, 10],
    }
    .write(temporary.path());
    for path in [
        run.clone(),
        run.join("predictions.safetensors"),
        run.join("predictions.csv"),
    ] {
        let (stdout, _) = expect(mr2().arg("audit").arg("--predictions").arg(&path), 0);
        assert!(
            stdout.contains("worst class: plain"),
            "{}: {stdout}",
            path.display()
        );
        assert!(stdout.contains("60 images, 6 classes"), "{stdout}");
    }
}

#[test]
fn audit_takes_our_own_scores_for_logits_and_given_class_names_for_our_own_files() {
    let temporary = folder();
    let run = Run {
        name: "ERM",
        seed: 1,
        correct: [4, 5, 7, 8, 9, 10],
    };
    let path = run.write(temporary.path());
    let mut predictions = run.predictions();
    // In [0, 1] with sum 1, as probabilities are.
    predictions.logits.iter_mut().for_each(|z| *z /= 2.0);
    let file = path.join("predictions.safetensors");
    std::fs::write(&file, predictions.to_safetensors().unwrap()).unwrap();
    let audit = |file: &Path, arguments: &[&str], status| {
        let mut command = mr2();
        command.arg("audit").arg("--predictions").arg(file);
        expect(command.args(arguments), status)
    };
    let (printed, _) = audit(&file, &["--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json["scores"], "logits");
    let (_, stderr) = audit(&file, &["--scores", "probabilities"], 1);
    assert!(
        stderr.contains("its scores are logits; leave --scores out"),
        "{stderr}"
    );
    for file in [file, path.join("predictions.csv")] {
        let (text, _) = audit(
            &file,
            &["--classes", "ant", "bee", "cow", "doe", "eel", "fox"],
            0,
        );
        assert!(
            text.contains("worst class: ant"),
            "{}: {text}",
            file.display()
        );
    }
}
