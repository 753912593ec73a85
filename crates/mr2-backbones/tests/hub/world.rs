//! A Hub with one repository, the host that its large files lie on, and an empty cache.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mr2_backbones::weights::hub::{Hub, HubConfig, HubFile, HubId, Result};
use sha2::{Digest, Sha256};

use crate::server::{Reply, Request, Server};

pub const FIRST: &str = "1111111111111111111111111111111111111111";
pub const SECOND: &str = "2222222222222222222222222222222222222222";
/// The large file.
pub const MODEL: &str = "hf:a/b:model.safetensors";
/// A small one, in a folder.
pub const SMALL: &str = "hf:a/b:sub/config.json";
/// What `printf '{"x":1}' | git hash-object --stdin` prints.
pub const SMALL_SHA1: &str = "9758f8161c9652d953d109cac63c71047844cf17";
pub const SMALL_TEXT: &str = "{\"x\":1}";

/// What the repository holds.
pub struct State {
    pub commit: &'static str,
    pub model: Vec<u8>,
    /// Answers of the Hub before its own ones.
    pub hub_faults: VecDeque<Reply>,
    /// What the other host does before it behaves.
    pub cdn_faults: VecDeque<Fault>,
}

/// What happens to an answer.
pub type Fault = Box<dyn FnOnce(&Request, Reply) -> Reply + Send>;

pub struct World {
    pub state: Arc<Mutex<State>>,
    pub hub: Server,
    pub cdn: Server,
    folder: tempfile::TempDir,
}

/// Bytes that no two places of are alike.
pub fn bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

impl World {
    pub fn new() -> Self {
        let state = Arc::new(Mutex::new(State {
            commit: FIRST,
            model: bytes(1_000_000, 1),
            hub_faults: VecDeque::new(),
            cdn_faults: VecDeque::new(),
        }));
        let of_cdn = state.clone();
        let cdn = Server::start(move |request| {
            let mut state = of_cdn.lock().unwrap();
            let reply = Reply::file(request, &state.model);
            match state.cdn_faults.pop_front() {
                Some(fault) => fault(request, reply),
                None => reply,
            }
        });
        let (of_hub, cdn_url) = (state.clone(), cdn.url.clone());
        let hub = Server::start(move |request| {
            let mut state = of_hub.lock().unwrap();
            let fault = state.hub_faults.pop_front();
            fault.unwrap_or_else(|| resolve(&state, &cdn_url, request))
        });
        Self {
            state,
            hub,
            cdn,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Of the cache's only repository.
    pub fn repository(&self, inside: &str) -> PathBuf {
        self.path("home/hub/models--a--b").join(inside)
    }

    pub fn config(&self) -> HubConfig {
        config(&self.hub.url, &self.path("home"))
    }

    pub fn get(&self, id: &str) -> Result<HubFile> {
        get(self.config(), id)
    }

    /// The message of a download that fails.
    pub fn failure(&self, id: &str) -> String {
        self.get(id).unwrap_err().to_string()
    }

    pub fn hub_answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().hub_faults.extend(replies);
    }

    pub fn cdn_fault(&self, fault: impl FnOnce(&Request, Reply) -> Reply + Send + 'static) {
        self.state
            .lock()
            .unwrap()
            .cdn_faults
            .push_back(Box::new(fault));
    }

    /// Methods and paths that the Hub was asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.hub.take_requests();
        requests
            .iter()
            .map(|r| format!("{} {}", r.method, r.path))
            .collect()
    }

    /// The Range headers of the requests to the other host since the last call.
    pub fn ranges(&self) -> Vec<Option<String>> {
        let requests = self.cdn.take_requests();
        requests
            .iter()
            .map(|r| r.headers.get("range").cloned())
            .collect()
    }
}

/// Impatient settings for `endpoint` and the cache below `home`.
pub fn config(endpoint: &str, home: &Path) -> HubConfig {
    let environment = BTreeMap::from([
        ("HF_ENDPOINT", endpoint.into()),
        ("HF_HOME", home.as_os_str().to_os_string()),
    ]);
    HubConfig {
        answer_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_secs(20),
        first_pause: Duration::from_millis(1),
        ..HubConfig::from_env(|name| environment.get(name).cloned()).unwrap()
    }
}

pub fn get(config: HubConfig, id: &str) -> Result<HubFile> {
    Hub::new(config)?.file(&HubId::parse(id)?, None, &mut |_| {})
}

fn resolve(state: &State, cdn: &str, request: &Request) -> Reply {
    let not_found = |code: &str| Reply::new(404, "Entry not found").with("X-Error-Code", code);
    if request.path.starts_with("/api/models/a/b/revision/") {
        let list = r#"{"siblings":[{"rfilename":"README.md"},{"rfilename":"model.safetensors"},{"rfilename":"sub/config.json"}]}"#;
        return Reply::new(200, list);
    }
    if let Some(rest) = request.path.strip_prefix("/old/name/") {
        let moved = Reply::new(307, "").with("Location", format!("/a/b/{rest}"));
        return moved.with("X-Repo-Commit", SECOND);
    }
    let Some(rest) = request.path.strip_prefix("/a/b/resolve/") else {
        return not_found("RepoNotFound");
    };
    let (revision, file) = rest.split_once('/').unwrap();
    if !["main", FIRST, SECOND, "refs%2Fpr%2F1"].contains(&revision) {
        return not_found("RevisionNotFound");
    }
    let (etag, reply) = match file {
        "model.safetensors" => {
            let etag = sha256(&state.model);
            let to = format!("{cdn}/{etag}?Signature=secret");
            let reply = Reply::new(302, "Found. Redirecting")
                .with("Location", to)
                .with("X-Linked-ETag", format!("\"{etag}\""))
                .with("X-Linked-Size", state.model.len())
                .with("ETag", "\"of-the-pointer\"");
            (etag, reply)
        }
        "sub/config.json" => {
            let reply = Reply::file(request, SMALL_TEXT.as_bytes());
            (
                SMALL_SHA1.to_string(),
                reply.with("ETag", format!("W/\"{SMALL_SHA1}\"")),
            )
        }
        _ => return not_found("EntryNotFound"),
    };
    let held = request.headers.get("if-none-match");
    let reply = match held.is_some_and(|held| held.trim_matches('"') == etag) {
        true => Reply::new(304, ""),
        false => reply,
    };
    reply.with("X-Repo-Commit", state.commit)
}
