//! The version that a file says it has, read before the rest, which another version may lay out
//! differently.

use serde::Deserialize;

#[derive(Deserialize)]
struct Versioned {
    format_version: Option<u64>,
}

/// Compares the `format_version` of a JSON object with the one that is read here; `Err` is a
/// sentence.
pub(crate) fn check(json: &str, expected: u32) -> Result<(), String> {
    let Versioned { format_version } =
        serde_json::from_str(json).map_err(|e| format!("not the JSON that was expected ({e})"))?;
    if format_version == Some(expected.into()) {
        return Ok(());
    }
    let found = format_version.map_or("none".to_string(), |version| version.to_string());
    Err(format!(
        "format version {found}, and this program reads version {expected}"
    ))
}
