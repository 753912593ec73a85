//! What shows on a terminal: a bar, warnings beside it, and colours unless NO_COLOR asks for none.
#![cfg(unix)]

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::Tiny;

/// What the command shows on a terminal of its own.
fn on_terminal(command: &mut Command) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    command.stdin(Stdio::null()).env("TERM", "xterm");
    command
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    let mut child = command.spawn().unwrap();
    // The command keeps the terminal open, and with it the reading.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (mut controller, mut shown) = (File::from(controller), Vec::new());
    let mut part = [0; 4096];
    // The end of a terminal is an error on Linux.
    while let Ok(length @ 1..) = controller.read(&mut part) {
        shown.extend(&part[..length]);
    }
    let shown = String::from_utf8_lossy(&shown).to_string();
    assert!(child.wait().unwrap().success(), "{shown}");
    shown
}

/// Whether a text sets a colour or weight: `ESC [ numbers m`. The bar's own sequences only move.
fn is_coloured(shown: &str) -> bool {
    shown.split("\u{1b}[").skip(1).any(|sequence| {
        let rest = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest.starts_with('m')
    })
}

#[test]
fn colours_show_on_a_terminal_unless_no_color_is_set() {
    let tiny = Tiny::new();
    let table = || {
        let mut check = tiny.command("data");
        check.args(["check", "tiny"]);
        check
    };
    // An empty value is none, says no-color.org; for the bar, it is a value.
    for (mut command, value, coloured) in [
        (table(), None, true),
        (table(), Some(""), true),
        (table(), Some("1"), false),
        (tiny.train("coloured"), None, true),
        (tiny.train("plain"), Some("1"), false),
    ] {
        match value {
            None => command.env_remove("NO_COLOR"),
            Some(value) => command.env("NO_COLOR", value),
        };
        let shown = on_terminal(&mut command);
        assert_eq!(is_coloured(&shown), coloured, "{command:?}: {shown:?}");
    }
}

#[test]
fn a_warning_does_not_tear_the_bar() {
    let tiny = Tiny::with_preset("official_imagenet");
    let shown = on_terminal(&mut tiny.train("run"));
    let warning = "tiny: warning: epoch 1: 3 of 3 classes had fewer updates";
    assert_eq!(shown.matches(warning).count(), 1, "{shown:?}");
    let (before, _) = shown.split_once(warning).unwrap();
    assert!(before.contains("images/s"), "there was a bar: {shown:?}");
    // The bar's lines are cleared, and the cursor is in the first of them.
    let before = before.trim_end_matches("\u{1b}[1A");
    assert!(before.ends_with("\u{1b}[2K"), "{shown:?}");
}
