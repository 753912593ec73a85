//! The name of a file on the Hub.

use std::fmt;

use super::error::{Error, Result};

/// A repository of models on the Hub, at a revision, and a file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    /// `ORG/NAME`.
    pub repo: String,
    /// A branch, a tag or a commit; `main` where there is none.
    pub revision: Option<String>,
    /// The path inside the repository.
    pub file: Option<String>,
}

impl HubId {
    /// Reads `hf:ORG/NAME[@REVISION][:FILE]`.
    ///
    /// # Errors
    /// When it is something else, or a part could lead out of the cache.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason| Error::Id {
            text: text.to_string(),
            reason,
        };
        let rest = text
            .strip_prefix("hf:")
            .ok_or_else(|| wrong("it doesn't begin with hf:"))?;
        // A revision has no colon in it, a file may have an @.
        let (repository, file) = match rest.split_once(':') {
            Some((repository, file)) => (repository, Some(file.to_string())),
            None => (rest, None),
        };
        let (repo, revision) = match repository.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision.to_string())),
            None => (repository, None),
        };
        let id = Self {
            repo: repo.to_string(),
            revision,
            file,
        };
        id.check().map_err(wrong)?;
        Ok(id)
    }

    /// The same repository and revision, and `file`.
    pub fn with_file(&self, file: &str) -> Self {
        Self {
            file: Some(file.to_string()),
            ..self.clone()
        }
    }

    /// The fields are public, so what leads out of the cache is looked for wherever an id comes in.
    pub(super) fn check(&self) -> std::result::Result<(), &'static str> {
        match self.repo.split_once('/') {
            Some((org, name)) if is_name(org) && is_name(name) => {}
            Some(_) => return Err("an organisation and a name are letters, digits and - _ ."),
            None => return Err("the repository must be ORG/NAME"),
        }
        if self.revision.as_deref().is_some_and(|r| !is_inside(r)) {
            return Err("the revision is empty or not a branch, tag or commit");
        }
        if self.file.as_deref().is_some_and(|f| !is_inside(f)) {
            return Err("the file is empty or not a path inside the repository");
        }
        Ok(())
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.file {
            Some(file) => write!(f, ":{file}"),
            None => Ok(()),
        }
    }
}

/// The Hub's rule for organisations and repositories; `--` is what the cache puts for `/`.
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-' && c != '.');
    text.len() <= 96
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().last())
        && !text.contains("--")
        && !text.contains("..")
}

/// Whether a path stays below the folder that it is joined to, on every system.
pub(super) fn is_inside(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= 1024
        && path.split('/').all(part)
        && !path
            .chars()
            .any(|c| c.is_control() || c == '\\' || c == ':')
}

/// Whether a revision is a whole commit, which never changes.
pub(super) fn is_commit(revision: &str) -> bool {
    is_hex(revision, 40)
}

/// Whether `text` is `digits` hexadecimal digits in lower case.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `text` for a URL, with `/` kept only where `keep_slashes`.
pub(super) fn escaped(text: &str, keep_slashes: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let kept =
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep_slashes && byte == b'/';
        match kept {
            true => out.push(char::from(byte)),
            false => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_read_and_written_the_same() {
        for text in [
            "hf:timm/resnet50.a1_in1k",
            "hf:openai/clip-vit-base-patch16@main",
            "hf:a/b@refs/pr/7:sub/model.safetensors",
            "hf:a/b:odd@name.bin",
        ] {
            assert_eq!(HubId::parse(text).unwrap().to_string(), text);
        }
        let id = HubId::parse("hf:a/b:odd@name.bin").unwrap();
        assert_eq!(
            (id.revision, id.file.unwrap().as_str()),
            (None, "odd@name.bin")
        );
    }

    #[test]
    fn what_could_lead_out_of_the_cache_is_no_id() {
        for text in [
            "a/b",
            "hf:",
            "hf:gpt2",
            "hf:a/b/c",
            "hf:../b",
            "hf:a/..",
            "hf:a--b/c",
            "hf:a/b@",
            "hf:a/b@../x",
            "hf:a/b:",
            "hf:a/b:../x",
            "hf:a/b:/etc/passwd",
            "hf:a/b:x/../../y",
            "hf:a/b:x\\y",
            "hf:a/b:c:d",
            "hf:a/b:x\n",
        ] {
            let error = HubId::parse(text).unwrap_err().to_string();
            assert!(error.contains("Write hf:ORG/NAME"), "{error}");
        }
    }

    #[test]
    fn a_branch_with_a_slash_is_one_part_of_a_url() {
        assert_eq!(escaped("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(escaped("a b/ü.bin", true), "a%20b/%C3%BC.bin");
    }
}
