//! Every dependency may be used under a permissive licence.

use std::process::Command;

use crate::support::root;

/// SPDX names of licences that ask for no more than a notice.
const PERMISSIVE: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "CC0-1.0",
    // Of data (Mozilla's list of root certificates): the text of the licence goes with it, nothing else is asked.
    "CDLA-Permissive-2.0",
    "Unicode-3.0",
    "Unlicense",
];

/// Whether one alternative of an SPDX expression (old spelling `A/B` too) needs permissive licences only.
fn permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    // `(A OR B) AND C`: every part between the ANDs at the top level must have a permissive alternative.
    expression.split(" AND ").all(|part| {
        part.split(" OR ").any(|name| {
            let name = name.trim().trim_matches(['(', ')']);
            PERMISSIVE.contains(&name)
        })
    })
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    for yes in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
    ] {
        assert!(permissive(yes), "{yes}");
    }
    for no in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "",
        "(MIT OR Apache-2.0) AND LGPL-2.1",
    ] {
        assert!(!permissive(no), "{no}");
    }
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    // For this machine only: packages of other platforms were not downloaded to build the tests.
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--filter-platform", host.unwrap()])
        .args(["--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(output.status.success(), "{stderr}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("");
        assert!(permissive(licence), "{}: {licence:?}", package["name"]);
    }
}
