//! `mr2 … | head`: a reader that has gone away is no error.

use std::process::{Command, Stdio};

use crate::support::{Tiny, mr2};

/// Runs the command with nobody at the other end of its stdout.
fn ends_quietly(command: &mut Command) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let piped = command.stdin(Stdio::null()).stdout(writer);
    let output = piped.stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
    assert_eq!(said, "", "{command:?}");
}

#[test]
fn printing_into_a_closed_pipe_ends_quietly() {
    for arguments in [
        &["presets", "--json"][..],
        &["presets"],
        &["presets", "recommended", "--json"],
        &["models", "--json"],
        &["audit", "--example"],
    ] {
        ends_quietly(mr2().args(arguments));
    }
    let bench = ["bench", "loss", "--batch", "8", "--classes", "3"];
    let small = ["--features", "4", "--repetitions", "1", "--json"];
    ends_quietly(mr2().args(bench).args(small));
}

#[test]
fn json_of_a_run_into_a_closed_pipe_ends_quietly() {
    let tiny = Tiny::new();
    let json = ["--json", "--quiet"];
    ends_quietly(tiny.train("run").args(json).arg("--dry-run"));
    ends_quietly(tiny.train("run").args(json));
    let run = tiny.path("run");
    ends_quietly(tiny.command("eval").arg(&run).args(json));
    ends_quietly(tiny.command("data").args(["list", "--json"]));
    ends_quietly(tiny.command("data").args(["check", "tiny", "--json"]));
    ends_quietly(
        mr2()
            .arg("report")
            .arg(&run)
            .args(["--reference", "tiny"])
            .args(json),
    );
    ends_quietly(mr2().args(["audit", "--predictions"]).arg(&run).args(json));
}
