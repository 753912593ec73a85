//! `mr2 gpu` and experiments/gpu/check: without a GPU they say so; on the CPU they rehearse.

use std::process::Command;

use serde_json::Value;

use crate::support::{expect, folder, mr2, root};

/// The exit status where there is no GPU.
const NO_GPU: i32 = 3;
/// All of them: in f32 on the CPU they take seconds.
const OPS: [&str; 4] = ["gpu", "ops", "--device", "cpu"];

/// What a part wrote into its file.
fn results(folder: &std::path::Path, part: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(format!("{part}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn without_a_gpu_every_part_says_so_and_has_its_own_status() {
    for part in [
        &["ops"][..],
        &["curve"],
        &["speed", "--only", "resnet32-step"],
    ] {
        let mut command = mr2();
        command
            .env("CUDA_VISIBLE_DEVICES", "")
            .arg("gpu")
            .args(part);
        let (stdout, _) = expect(&mut command, NO_GPU);
        assert!(stdout.starts_with("no GPU: "), "{stdout}");
    }
}

#[test]
fn without_a_gpu_the_script_says_so_and_has_the_same_status() {
    // The tests promise to need Rust and a C compiler alone; the script needs Python, so without it there is nothing to test.
    if Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let mut command = Command::new("python3");
    command.arg(root().join("experiments/gpu/check"));
    let (stdout, _) = expect(command.env("CUDA_VISIBLE_DEVICES", ""), NO_GPU);
    assert!(stdout.starts_with("no GPU: "), "{stdout}");
}

/// A program that finds no GPU, compressed.
#[cfg(unix)]
fn compressed(folder: &std::path::Path) -> std::path::PathBuf {
    let packed = folder.join("mr2.xz");
    let python = "import lzma, sys; open(sys.argv[1], 'wb').write(lzma.compress(open(sys.argv[2], 'rb').read(), preset=0))";
    let program = folder.join("program");
    let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_mr2"));
    std::fs::write(&program, text).unwrap();
    let status = Command::new("python3")
        .args(["-c", python])
        .args([&packed, &program])
        .status();
    assert!(status.unwrap().success());
    packed
}

#[cfg(unix)]
#[test]
fn the_script_reads_what_nvidia_smi_says_of_the_gpu_that_is_visible() {
    use std::os::unix::fs::PermissionsExt;
    if Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let folder = folder();
    let fake = folder.path().join("nvidia-smi");
    let script = "#!/bin/sh\necho \"$@\" >\"$0.asked\"\necho 'Some GPU, 580.1, 9.0, 1980, 2619, 1980, 700, 46, 81559, [N/A]'\n";
    std::fs::write(&fake, script).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("python3");
    command
        .args([root().join("experiments/gpu/check").as_path()])
        .args(["ops", "--device", "cuda:1", "--out"])
        .arg(folder.path())
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("MR2_BIN", compressed(folder.path()))
        .env("CUDA_VISIBLE_DEVICES", "4,7");
    // This build has no CUDA, so that the program finds none; the script has seen one, and unpacked the program.
    let (stdout, _) = expect(&mut command, NO_GPU);
    assert!(
        stdout.starts_with("name Some GPU, driver_version 580.1, compute_cap 9.0,"),
        "{stdout}"
    );
    assert!(stdout.contains("memory_used [N/A]"), "{stdout}");
    let asked = std::fs::read_to_string(folder.path().join("nvidia-smi.asked")).unwrap();
    assert!(asked.starts_with("-i 7 "), "{asked}");
}

#[test]
fn operations_are_checked_a_row_each_and_resuming_repeats_none() {
    let folder = folder();
    let (stdout, _) = expect(mr2().args(OPS).arg("--out").arg(folder.path()), 0);
    let rows = results(folder.path(), "ops")["rows"].clone();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 100, "{stdout}");
    assert!(rows.iter().all(|row| row["passed"] == true), "{stdout}");
    let last = stdout.lines().last().unwrap();
    assert_eq!(last, format!("{} checks, 0 failed", rows.len()));

    let mut again = mr2();
    again
        .args(OPS)
        .arg("--resume")
        .arg("--out")
        .arg(folder.path());
    let (stdout, _) = expect(&mut again, 0);
    assert!(
        stdout.trim().ends_with(last) && !stdout.contains("ok "),
        "{stdout}"
    );
}

#[test]
fn the_curve_of_the_cpu_agrees_with_itself_and_is_resumed_to_the_bit() {
    let folder = folder();
    let arguments = [
        "gpu",
        "curve",
        "--device",
        "cpu",
        "--steps",
        "120",
        "--memory-steps",
        "120",
    ];
    expect(mr2().args(arguments).arg("--out").arg(folder.path()), 0);
    let results = results(folder.path(), "curve");
    assert_eq!(results["losses"].as_array().unwrap().len(), 120);
    assert_eq!(results["judged"]["agrees"], true);
    assert_eq!(results["resumed"], 0.0);
}

#[test]
fn speed_prints_a_row() {
    let arguments = [
        "gpu", "speed", "--device", "cpu", "--only", "mr2-loss", "--batch", "8",
    ];
    let bounds = ["--steps", "1", "--groups", "3", "--warm-up", "1"];
    let (stdout, _) = expect(mr2().args(arguments).args(bounds), 0);
    let row: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert!(row["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(row["groups_ms"].as_array().unwrap().len(), 3);
}
