//! The run files that tables build on, carried in the program.

use anyhow::{Result, bail};

const BASES: [(&str, &str); 3] = [
    (
        "rehearsal-erm.toml",
        include_str!("../../runs/rehearsal-erm.toml"),
    ),
    (
        "cifar100-resnet32-erm.toml",
        include_str!("../../runs/cifar100-resnet32-erm.toml"),
    ),
    (
        "cifar100-wrn28-10-erm.toml",
        include_str!("../../runs/cifar100-wrn28-10-erm.toml"),
    ),
];

/// The text of a run file in `experiments/runs/`.
///
/// # Errors
/// For an unknown name, naming the valid ones.
pub(super) fn text(name: &str) -> Result<&'static str> {
    match BASES.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Ok(text),
        None => {
            let names: Vec<&str> = BASES.iter().map(|(known, _)| *known).collect();
            bail!("unknown run file `{name}`; valid: {}", names.join(", "))
        }
    }
}
