//! `mr2 audit`: anyone's predictions in, the class-wise report out.

use std::path::{Path, PathBuf};

use npyz::WriterBuilder;

use crate::support::{expect, folder, mr2};

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn audit(path: &Path) -> String {
    expect(mr2().arg("audit").arg("--predictions").arg(path), 0).0
}

/// The message for a file that is refused.
fn refusal(name: &str, text: &str) -> String {
    let temporary = folder();
    let path = file(temporary.path(), name, text);
    let (_, stderr) = expect(mr2().arg("audit").arg("--predictions").arg(&path), 1);
    assert!(
        stderr.contains(&path.display().to_string()),
        "the file isn't named: {stderr}"
    );
    stderr
}

/// The line of the table that begins with `name`.
fn row<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn the_example_is_a_file_that_the_command_reads() {
    let temporary = folder();
    let (example, _) = expect(mr2().args(["audit", "--example"]), 0);
    let text = audit(&file(temporary.path(), "example.csv", &example));
    assert!(row(&text, "overall accuracy").contains("75.0"));
    assert!(row(&text, "worst class: cat").contains("50.0"));
    assert!(row(&text, "easy third").contains("100.0"));
    assert!(text.contains("same run, optimistic"));
    assert!(row(&text, "cat    dog").contains("50.0"));
}

#[test]
fn names_and_indices_and_any_column_order_give_the_same_numbers() {
    let temporary = folder();
    let names = file(
        temporary.path(),
        "names.csv",
        "id,prediction,label\n1,b,a\n2,a,a\n3,b,b\n4,c,c\n",
    );
    let indices = file(
        temporary.path(),
        "indices.csv",
        "label,prediction\n0,1\n0,0\n1,1\n2,2\n",
    );
    let tabs = file(
        temporary.path(),
        "indices.tsv",
        "\u{feff}label\tprediction\n0\t1\n0\t0\n1\t1\n2\t2\n",
    );
    for path in [names, indices, tabs] {
        let text = audit(&path);
        assert!(row(&text, "overall accuracy").contains("75.0"), "{text}");
        assert!(
            row(&text, "mean per-class recall").contains("83.3"),
            "{text}"
        );
    }
}

#[test]
fn scores_bring_calibration_and_top_5() {
    let temporary = folder();
    let header = "label,a,b,c,d,e,f\n";
    let probabilities = format!("{header}a,0.5,0.1,0.1,0.1,0.1,0.1\nf,0.3,0.2,0.2,0.1,0.1,0.1\n");
    let text = audit(&file(temporary.path(), "probabilities.csv", &probabilities));
    assert!(row(&text, "overall accuracy").contains("50.0"));
    assert!(row(&text, "top-5 accuracy").contains("50.0"));
    // Confidence 0.5 and right, 0.3 and wrong: (0.5 + 0.3) / 2.
    assert!(row(&text, "ECE").contains("40.0"), "{text}");
    assert!(text.contains("taken as probabilities"));
    let logits = format!("{header}a,3,0,0,0,0,-1\nf,-2,0,0,0,0,9\n");
    let text = audit(&file(temporary.path(), "logits.csv", &logits));
    assert!(text.contains("taken as logits"));
    assert!(row(&text, "overall accuracy").contains("100.0"));
}

fn scored(path: &Path, kind: &str, status: i32) -> (String, String) {
    let mut command = mr2();
    command.arg("audit").arg("--predictions").arg(path);
    expect(command.args(["--scores", kind]), status)
}

#[test]
fn rounded_probabilities_stay_probabilities() {
    let temporary = folder();
    // Sums 0.99, 0.999 and 1.01.
    let rows = "label,a,b,c\na,0.5,0.25,0.24\nb,0.333,0.333,0.333\nc,0.1,0.12,0.79\n";
    let path = file(temporary.path(), "p.csv", rows);
    let text = audit(&path);
    let said = "taken as probabilities: those of an image sum to 0.990 to 1.010";
    assert!(text.contains(said), "{text}");
    // |1 − 0.5/0.99|, |0 − 1/3| and |1 − 0.79/1.01|, each in a bin of its own.
    assert!(row(&text, "ECE").contains("34.9"), "{text}");
    assert_eq!(json(&path)["scores"], "probabilities");
}

#[test]
fn scores_that_may_be_either_are_asked_about_and_the_answer_is_checked() {
    let temporary = folder();
    let path = file(
        temporary.path(),
        "p.csv",
        "label,a,b\na,0.7,0.3\nb,0.6,0.3\n",
    );
    let (_, stderr) = expect(mr2().arg("audit").arg("--predictions").arg(&path), 1);
    assert!(
        stderr.contains("those of image 1 sum to 0.900") && stderr.contains("--scores logits"),
        "{stderr}"
    );
    let (text, _) = scored(&path, "logits", 0);
    assert!(text.contains("taken as logits"), "{text}");
    let (text, _) = scored(&path, "probabilities", 0);
    assert!(text.contains("sum to 0.900 to 1.000"), "{text}");
    let path = file(
        temporary.path(),
        "l.csv",
        "label,a,b\na,0.7,0.3\nb,1.7,0.3\n",
    );
    let (_, stderr) = scored(&path, "probabilities", 1);
    assert!(
        stderr.contains("a score of image 1 is 1.7, outside [0, 1]"),
        "{stderr}"
    );
    let path = file(temporary.path(), "c.csv", "label,prediction\na,b\nb,b\n");
    let (_, stderr) = scored(&path, "logits", 1);
    assert!(stderr.contains("no scores; leave --scores out"), "{stderr}");
}

#[test]
fn predicted_numbers_for_labels_that_are_names_are_refused_until_the_classes_are_named() {
    let temporary = folder();
    let path = file(
        temporary.path(),
        "p.csv",
        "label,prediction\ncat,0\ndog,1\ndog,0\n",
    );
    let (_, stderr) = expect(mr2().arg("audit").arg("--predictions").arg(&path), 1);
    for part in [
        "p.csv: the labels are names, such as `cat`",
        "such as `0`",
        "--classes",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let mut command = mr2();
    command.arg("audit").arg("--predictions").arg(&path);
    let (text, _) = expect(command.args(["--classes", "cat", "dog"]), 0);
    assert!(row(&text, "overall accuracy").contains("66.7"), "{text}");
}

#[test]
fn a_tenth_of_ten_classes_is_not_printed_twice() {
    let temporary = folder();
    let rows = |classes: usize| -> String {
        let line = |k: usize| format!("{k},{}\n", k.max(1));
        let rows: String = (0..classes).map(line).collect();
        format!("label,prediction\n{rows}")
    };
    let path = file(temporary.path(), "ten.csv", &rows(10));
    let text = audit(&path);
    assert!(
        !text.contains("\nCVaR") && !text.contains("\nworst tenth"),
        "{text}"
    );
    assert!(
        text.contains("the worst tenth of them and CVaR are the worst class"),
        "{text}"
    );
    assert_eq!(json(&path)["measures"]["cvar"]["value"], 0.0);
    let text = audit(&file(temporary.path(), "eleven.csv", &rows(11)));
    assert!(
        row(&text, "worst tenth of the classes (2)").contains("50.0"),
        "{text}"
    );
    assert!(row(&text, "CVaR").contains("9.1"), "{text}");
}

#[test]
fn a_class_without_images_has_no_accuracy() {
    let temporary = folder();
    let path = file(
        temporary.path(),
        "p.csv",
        "label,prediction\n0,0\n0,2\n1,1\n",
    );
    let text = audit(&path);
    assert!(text.contains("1 of them without images"));
    assert!(row(&text, "2 ").contains('–'), "{text}");
    assert!(row(&text, "mean per-class recall").contains("75.0"));
}

fn json(path: &Path) -> serde_json::Value {
    let mut command = mr2();
    command.arg("audit").arg("--predictions").arg(path);
    serde_json::from_str(&expect(command.arg("--json"), 0).0).unwrap()
}

#[test]
fn json_has_every_number_and_null_for_classes_without_images() {
    let temporary = folder();
    let header = "label,a,b,c,d,e,f\n";
    let rows =
        "a,0.5,0.1,0.1,0.1,0.1,0.1\na,0.1,0.5,0.1,0.1,0.1,0.1\nb,0,1,0,0,0,0\nc,0,0,1,0,0,0\n";
    let path = file(temporary.path(), "p.csv", &format!("{header}{rows}"));
    let report = json(&path);
    assert_eq!(report["format_version"], 1);
    assert_eq!(report["images"], 4);
    assert_eq!(report["measures"]["overall"]["value"], 0.75);
    // a has 1 of 2 right, b and c all; d, e and f have no images and count nowhere.
    let recall = report["measures"]["mean_recall"]["value"].as_f64().unwrap();
    assert!((recall - 2.5 / 3.0).abs() < 1e-12, "{recall}");
    let interval = &report["measures"]["hard"]["interval"];
    assert!(interval["low"].as_f64().unwrap() <= interval["high"].as_f64().unwrap());
    assert_eq!(report["thirds"]["hard"], serde_json::json!([0]));
    assert_eq!(report["worst_class"], 0);
    assert_eq!(report["chosen_on"], "same_run_optimistic");
    let classes = report["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 6);
    assert_eq!(
        (&classes[0]["name"], &classes[0]["correct"]),
        (&"a".into(), &1.into())
    );
    assert_eq!(
        classes[0]["most_taken_for"],
        serde_json::json!({ "class": 1, "name": "b", "images": 1 })
    );
    for absent in &classes[3..] {
        assert_eq!(absent["images"], 0);
        assert!(absent["accuracy"].is_null() && absent["interval"].is_null());
    }
    let mistake = &report["mistakes"][0];
    assert_eq!(mistake["label_name"], "a");
    assert_eq!(
        (&mistake["images"], &mistake["share"]),
        (&1.into(), &0.5.into())
    );
    assert!(report["calibration"]["bins"].as_array().unwrap().len() > 1);
    let ece = report["calibration"]["ece"].as_f64().unwrap();
    assert_eq!(report["measures"]["ece"]["value"].as_f64(), Some(ece));
}

#[test]
fn json_without_scores_or_thirds_says_null_and_help_names_every_key() {
    let temporary = folder();
    let path = file(temporary.path(), "p.csv", "label,prediction\n0,0\n1,0\n");
    let report = json(&path);
    for key in ["thirds", "calibration"] {
        assert!(report[key].is_null(), "{key}: {report}");
    }
    assert!(report["measures"].get("ece").is_none());
    let (help, _) = expect(mr2().args(["audit", "--help"]), 0);
    let word = |key: &str| {
        let mut words = help.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == key)
    };
    let scores = "label,a,b,c,d,e,f\na,5,1,1,1,1,1\na,1,5,1,1,1,1\nb,0,1,0,0,0,0\nc,0,0,1,0,0,0\n";
    let report = json(&file(temporary.path(), "s.csv", scores));
    let mut keys: Vec<String> = Vec::new();
    let mut add =
        |value: &serde_json::Value| keys.extend(value.as_object().unwrap().keys().cloned());
    for value in [
        &report,
        &report["measures"],
        &report["measures"]["overall"],
        &report["measures"]["overall"]["interval"],
        &report["thirds"],
        &report["classes"][0],
        &report["classes"][0]["most_taken_for"],
        &report["mistakes"][0],
        &report["calibration"],
        &report["calibration"]["bins"][0],
        &report["bootstrap"],
    ] {
        add(value);
    }
    for key in keys {
        assert!(word(&key), "`mr2 audit --help` doesn't explain {key}");
    }
}

fn npz(path: &Path, arrays: &[(&str, &[i64])]) {
    let mut archive = npyz::npz::NpzWriter::create(path).unwrap();
    for (name, values) in arrays {
        let options = Default::default();
        let builder = archive.array::<i64>(name, options).unwrap().default_dtype();
        let mut writer = builder.shape(&[values.len() as u64]).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
    }
}

#[test]
fn npz_files_of_predictions_and_of_logits_are_read() {
    let temporary = folder();
    let path = temporary.path().join("p.npz");
    npz(
        &path,
        &[("labels", &[0, 0, 1, 2]), ("predictions", &[1, 0, 1, 2])],
    );
    assert!(row(&audit(&path), "overall accuracy").contains("75.0"));
    let path = temporary.path().join("logits.npz");
    let mut archive = npyz::npz::NpzWriter::create(&path).unwrap();
    let labels = archive.array::<u8>("labels", Default::default()).unwrap();
    let mut labels = labels.default_dtype().shape(&[2]).begin_nd().unwrap();
    labels.extend([0u8, 1]).unwrap();
    labels.finish().unwrap();
    let logits = archive.array::<f32>("logits", Default::default()).unwrap();
    // Column after column, as numpy.asfortranarray stores it: rows (2, 1) and (4, 3).
    let logits = logits
        .default_dtype()
        .order(npyz::Order::Fortran)
        .shape(&[2, 2]);
    let mut logits = logits.begin_nd().unwrap();
    logits.extend([2f32, 4.0, 1.0, 3.0]).unwrap();
    logits.finish().unwrap();
    drop(archive);
    assert!(row(&audit(&path), "overall accuracy").contains("50.0"));
}

#[test]
fn npz_files_with_predictions_and_logits_must_agree() {
    let temporary = folder();
    let path = temporary.path().join("both.npz");
    let both = |predictions: &[i64]| {
        let mut archive = npyz::npz::NpzWriter::create(&path).unwrap();
        let arrays: [(&str, &[u64], &[i64]); 3] = [
            ("labels", &[2], &[0, 1]),
            ("predictions", &[2], predictions),
            ("logits", &[2, 2], &[5, 0, 7, 3]),
        ];
        for (name, shape, values) in arrays {
            let builder = archive.array::<i64>(name, Default::default()).unwrap();
            let mut writer = builder.default_dtype().shape(shape).begin_nd().unwrap();
            writer.extend(values.iter().copied()).unwrap();
            writer.finish().unwrap();
        }
    };
    both(&[0, 0]);
    assert!(row(&audit(&path), "overall accuracy").contains("50.0"));
    both(&[0, 1]);
    let (_, stderr) = expect(mr2().arg("audit").arg("--predictions").arg(&path), 1);
    let said =
        "row 1 of `predictions` is class 1, but the highest of `logits` is class 0; leave one";
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn npz_errors_name_the_array_and_the_row() {
    let temporary = folder();
    let refused = |arrays: &[(&str, &[i64])]| {
        let path = temporary.path().join("refused.npz");
        npz(&path, arrays);
        let (_, stderr) = expect(mr2().arg("audit").arg("--predictions").arg(&path), 1);
        assert!(stderr.contains("refused.npz"), "{stderr}");
        stderr
    };
    let message = refused(&[("y", &[0]), ("predictions", &[0])]);
    assert!(
        message.contains("no array `labels` (arrays: predictions, y)"),
        "{message}"
    );
    let message = refused(&[("labels", &[0, 1]), ("predictions", &[0])]);
    assert!(
        message.contains("`predictions` has 1 rows, `labels` has 2"),
        "{message}"
    );
    let message = refused(&[("labels", &[0, -1]), ("predictions", &[0, 1])]);
    assert!(
        message.contains("`labels`: row 1 is -1; expected a class index"),
        "{message}"
    );
    let message = refused(&[("labels", &[0, 1]), ("logits", &[0, 1])]);
    assert!(
        message.contains("shape [2]; expected (images, classes)"),
        "{message}"
    );
}

#[test]
fn wrong_headers_are_refused_with_the_two_forms() {
    for (text, part) in [
        ("", "the file is empty"),
        ("label\n1\n", "there is one column (`label`)"),
        (
            "lable,prediction\n1,1\n",
            "no column `label` (columns: lable, prediction)",
        ),
        ("label,prediction,extra\n1,1,1\n", "there is extra"),
        (
            "label,id\n1,1\n",
            "neither a column `prediction` nor two score columns",
        ),
        ("label,a,a\na,1,2\n", "both named `a`"),
        ("label,prediction\n", "no line below it"),
    ] {
        let message = refusal("p.csv", text);
        assert!(message.contains(part), "{text:?}: {message}");
    }
    assert!(refusal("p.csv", "label\n1\n").contains("label,prediction[,id]"));
}

#[test]
fn wrong_values_are_refused_with_line_and_column() {
    for (text, place, part) in [
        (
            "label,prediction\n0,0\n1,x\n",
            "line 3, column `prediction`",
            "`x` is not a class index",
        ),
        (
            "label,prediction\n0,0\n\n-1,0\n",
            "line 4, column `label`",
            "whole number from 0",
        ),
        (
            "label,prediction\r\n0,0\r\n1,x\r\n",
            "line 3, column `prediction`",
            "`x` is not",
        ),
        (
            "label,prediction\n0,0\n1\n",
            "line 3",
            "1 fields, the header has 2",
        ),
        (
            "label,prediction\na,\n",
            "line 2, column `prediction`",
            "is empty",
        ),
        (
            "label,a,b\na,1,2\nb,nan,2\n",
            "line 3, column `a`",
            "the score is NaN",
        ),
        (
            "label,a,b\na,1,2\nb,1,inf\n",
            "line 3, column `b`",
            "the score is inf",
        ),
        (
            "label,a,b\na,1,\"2,5\"\n",
            "line 2, column `b`",
            "`2,5` is not a number",
        ),
        (
            "label,cat,dog\ncta,1,2\n",
            "line 2, column `label`",
            "did you mean `cat`?",
        ),
        (
            "label,cat,dog\n2,1,2\n",
            "line 2, column `label`",
            "there are 2 classes (0 to 1)",
        ),
    ] {
        let message = refusal("p.csv", text);
        assert!(
            message.contains(place) && message.contains(part),
            "{text:?}: {message}"
        );
    }
}

#[test]
fn unknown_files_are_refused_with_what_would_do() {
    let temporary = folder();
    let (_, stderr) = expect(mr2().args(["audit", "--predictions", "missing.csv"]), 1);
    assert!(stderr.contains("missing.csv: no such file"), "{stderr}");
    assert!(refusal("p.parquet", "x").contains("use .csv, .tsv, .npz"));
    let (_, stderr) = expect(
        mr2()
            .arg("audit")
            .arg("--predictions")
            .arg(temporary.path()),
        1,
    );
    assert!(
        stderr.contains("without predictions.safetensors is no finished run"),
        "{stderr}"
    );
}

#[test]
fn given_class_names_are_used_and_checked() {
    let temporary = folder();
    let path = file(
        temporary.path(),
        "p.csv",
        "label,prediction\n0,0\n1,0\n2,2\n",
    );
    let run = |classes: &[&str], status| {
        expect(
            mr2()
                .arg("audit")
                .arg("--predictions")
                .arg(&path)
                .arg("--classes")
                .args(classes),
            status,
        )
    };
    let (text, _) = run(&["ant", "bee", "cow"], 0);
    assert!(row(&text, "worst class: bee").contains("0.0"));
    let (_, stderr) = run(&["ant", "bee"], 1);
    assert!(
        stderr.contains("line 4") && stderr.contains("there are 2 classes"),
        "{stderr}"
    );
    let list = file(
        temporary.path(),
        "names.txt",
        "\u{feff}ant \r\nbee\t\n cow\n",
    );
    let (text, _) = run(&[&format!("@{}", list.display())], 0);
    assert!(text.contains("worst class: bee"));
    let named = file(
        temporary.path(),
        "named.csv",
        "label,prediction\nant,ant\nbee,cow\n",
    );
    let mut command = mr2();
    command.arg("audit").arg("--predictions").arg(&named);
    let (text, _) = expect(
        command.args(["--classes", &format!("@{}", list.display())]),
        0,
    );
    assert!(row(&text, "overall accuracy").contains("50.0"), "{text}");
}

#[test]
fn the_report_escapes_names_and_repeats_to_the_byte() {
    let temporary = folder();
    let text = "label,prediction\n<script>&_%,b|c\nb|c,b|c\nd,d\nd,<script>&_%\n";
    let path = file(temporary.path(), "p.csv", text);
    let report = |name: &str| {
        let out = temporary.path().join(name);
        expect(
            mr2()
                .arg("audit")
                .arg("--predictions")
                .arg(&path)
                .arg("--out")
                .arg(&out),
            0,
        );
        let read = |file: &str| std::fs::read_to_string(out.join(file)).unwrap();
        [
            read("report.html"),
            read("report.md"),
            read("report.tex"),
            read("report.json"),
        ]
    };
    let [html, markdown, latex, json] = report("first");
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;&amp;_%"));
    assert!(markdown.contains("&lt;script&gt;&amp;\\_%") && markdown.contains("b\\|c"));
    assert!(latex.contains("\\textless{}script\\textgreater{}\\&\\_\\%"));
    let data: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(data["data"]["images"], 4);
    assert_eq!(report("second"), [html, markdown, latex, json]);
    let png = std::fs::read(temporary.path().join("first/plots/accuracy.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
}

#[test]
fn a_terminal_is_never_sent_control_characters_of_a_file() {
    let temporary = folder();
    let path = file(
        temporary.path(),
        "p.csv",
        "label,prediction\n\u{1b}[31ma,b\nb,b\nc,c\n",
    );
    assert!(!audit(&path).contains('\u{1b}'));
}
