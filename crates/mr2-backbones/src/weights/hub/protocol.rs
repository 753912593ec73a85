//! What the Hub says of a file, and what its refusals mean.

use std::io::Read;
use std::time::Duration;

use super::client::{Client, Method, Reply, Trouble};
use super::error::{Error, Result};
use super::id::{HubId, escaped, is_commit};

/// Tries of a request for metadata: a cached file may do instead, so not for long.
const METADATA_TRIES: u32 = 3;
/// The longest list of files that is read.
const LIST_BYTES: u64 = 16 << 20;
/// Characters of a server's message that are shown.
const SHOWN: usize = 300;

/// A file and the revision that it is asked for at.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub id: &'a HubId,
    pub file: &'a str,
    pub revision: &'a str,
}

impl Asked<'_> {
    /// The id with its revision and file, whether or not they were written.
    pub fn name(&self) -> String {
        format!("hf:{}@{}:{}", self.id.repo, self.revision, self.file)
    }

    fn path(&self) -> String {
        let revision = escaped(self.revision, false);
        let file = escaped(self.file, true);
        format!("{}/resolve/{revision}/{file}", self.id.repo)
    }
}

/// The answer to a question for metadata.
pub(super) enum Answer {
    /// The file is still the one whose ETag was sent; its commit, if that is said.
    Same(Option<String>),
    Found(Metadata),
}

/// What the Hub says of a file.
#[derive(Debug)]
pub(super) struct Metadata {
    pub commit: Option<String>,
    /// Without quotes and `W/`; what else it may be is for the caller to check.
    pub etag: Option<String>,
    pub size: Option<u64>,
}

/// Asks what `asked` is; `held` is the ETag of a copy that is here.
///
/// # Errors
/// When the Hub refuses, has no such file, or doesn't answer.
pub(super) fn metadata(client: &Client, asked: Asked<'_>, held: Option<&str>) -> Result<Answer> {
    let url = client.url(&asked.path());
    let held = held.map(|etag| ("if-none-match", format!("\"{etag}\"")));
    let headers = held.as_slice();
    client.with_retries(&asked.name(), client.tries.min(METADATA_TRIES), || {
        let reply = client.ask(Method::Head, &url, headers)?;
        let commit = reply.header("x-repo-commit").filter(|c| is_commit(c));
        let commit = commit.map(str::to_string);
        match reply.status {
            304 => Ok(Answer::Same(commit)),
            status if (200..300).contains(&status) || reply.is_redirect() => {
                let linked = reply.header("x-linked-etag").map(str::to_string);
                // Of a redirect, the plain headers are about the redirect.
                let plain = |name: &str| reply.header(name).filter(|_| !reply.is_redirect());
                let etag = linked.or_else(|| plain("etag").map(str::to_string));
                let length = || plain("content-length").and_then(|n| n.parse().ok());
                Ok(Answer::Found(Metadata {
                    commit,
                    etag: etag.map(|etag| bare(&etag)),
                    size: reply.number("x-linked-size").or_else(length),
                }))
            }
            _ => Err(refusal(client, asked, &reply)),
        }
    })
}

/// Opens the file's bytes from `from` on; the status may be 200 or 206 or 416.
pub(super) fn open(
    client: &Client,
    asked: Asked<'_>,
    from: u64,
) -> std::result::Result<Reply, Trouble> {
    let range = (from > 0).then(|| ("range", format!("bytes={from}-")));
    let reply = client.ask(Method::Get, &client.url(&asked.path()), range.as_slice())?;
    match reply.status {
        200 | 206 | 416 => Ok(reply),
        _ => Err(refusal(client, asked, &reply)),
    }
}

/// The names of the files at a revision.
///
/// # Errors
/// As [`metadata`].
pub(super) fn file_names(client: &Client, asked: Asked<'_>) -> Result<Vec<String>> {
    let revision = escaped(asked.revision, false);
    let url = client.url(&format!("api/models/{}/revision/{revision}", asked.id.repo));
    let name = asked.name();
    let text = client.with_retries(&name, client.tries.min(METADATA_TRIES), || {
        let mut reply = client.ask(Method::Get, &url, &[])?;
        if reply.status != 200 {
            return Err(refusal(client, asked, &reply));
        }
        let mut text = Vec::new();
        let read = reply
            .body
            .as_reader()
            .take(LIST_BYTES)
            .read_to_end(&mut text);
        read.map_err(|error| Trouble::passing(format!("{}: {error}", reply.origin.host)))?;
        Ok(text)
    })?;
    let list: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let files = list["siblings"].as_array().ok_or_else(|| Error::NotAHub {
        id: name,
        host: client.origin.host.clone(),
        reason: "has no list of files".to_string(),
    })?;
    let name = |file: &serde_json::Value| file["rfilename"].as_str().map(str::to_string);
    Ok(files.iter().filter_map(name).collect())
}

/// Without what HTTP puts around an ETag.
fn bare(etag: &str) -> String {
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.trim_matches('"').to_string()
}

fn refusal(client: &Client, asked: Asked<'_>, reply: &Reply) -> Trouble {
    let host = reply.origin.host.clone();
    let foreign = reply.origin != client.origin;
    match reply.status {
        status @ (408 | 429 | 500..=599) => Trouble::Passing {
            why: format!("{host} answers with status {status}"),
            after: reply.number("retry-after").map(Duration::from_secs),
            moved: false,
        },
        // Where files lie, addresses expire; the next try gets a new one.
        status @ (401 | 403 | 404) if foreign => {
            Trouble::passing(format!("{host} answers with status {status}"))
        }
        status @ (401 | 403) => denied(client, asked, reply, status).into(),
        404 => Error::NotFound {
            host,
            what: match reply.header("x-error-code") {
                Some("RepoNotFound") => "such repository",
                Some("RevisionNotFound") => "such revision",
                _ => "such file",
            },
            repo: asked.id.repo.clone(),
            revision: asked.revision.into(),
            file: asked.file.into(),
            near: "".into(),
        }
        .into(),
        status => Error::Status {
            id: asked.name(),
            host,
            status,
        }
        .into(),
    }
}

fn denied(client: &Client, asked: Asked<'_>, reply: &Reply, status: u16) -> Error {
    let said = reply
        .header("x-error-message")
        .or_else(|| reply.header("x-error-code"));
    let gated = reply.header("x-error-code") == Some("GatedRepo");
    Error::Denied {
        id: asked.name(),
        host: reply.origin.host.clone(),
        status,
        said: said
            .unwrap_or("no reason given")
            .chars()
            .take(SHOWN)
            .collect(),
        remedy: match (client.has_token(), gated || status == 403) {
            (false, false) => {
                "If the repository exists, it is private: set HF_TOKEN to a token that may read it (https://huggingface.co/settings/tokens), or log in with `hf auth login`"
            }
            (false, true) => {
                "Accept the licence on the model's page, and set HF_TOKEN to a token of that account (https://huggingface.co/settings/tokens)"
            }
            (true, true) => {
                "Accept the licence on the model's page with the account that the token belongs to, and check that the token may read it"
            }
            (true, false) => {
                "The token that was sent is not valid for it, or the repository doesn't exist: make another at https://huggingface.co/settings/tokens"
            }
        },
    }
}
