//! What the environment says of the Hub, under the names that Python's `huggingface_hub` reads
//! (<https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>).

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Error, Result, io};

const ENDPOINT: &str = "https://huggingface.co";

/// How the Hub is reached and where files are kept.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Scheme and host of the Hub or of a mirror, without a slash at the end.
    pub endpoint: String,
    /// The cache: `models--ORG--NAME` folders.
    pub cache: PathBuf,
    /// The record of what was fetched under names that may move; beside the cache, because Python's
    /// `scan_cache_dir` warns of files in it.
    pub record: PathBuf,
    /// Who asks.
    pub token: Option<Secret>,
    /// Whether the network may not be used.
    pub offline: bool,
    /// The proxy's URL, which may hold a password.
    pub proxy: Option<Secret>,
    /// Hosts that are reached without the proxy.
    pub no_proxy: Vec<String>,
    /// How long a connection and the head of an answer may take, each.
    pub answer_timeout: Duration,
    /// How long a body may bring nothing.
    pub read_timeout: Duration,
    /// How long another process that holds the lock may bring nothing.
    pub stall_timeout: Duration,
    /// How often in a row a request may fail that brings nothing.
    pub tries: u32,
    /// The pause after the first failure; doubled after each.
    pub first_pause: Duration,
}

/// A secret of the user's; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of visible ASCII, if `text` holds one: spaces and line breaks around it go.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let usable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        usable.then(|| Self(text.to_string()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl HubConfig {
    /// What `env` says: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH and the token file,
    /// HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), HF_HUB_ETAG_TIMEOUT,
    /// HF_HUB_DOWNLOAD_TIMEOUT, XDG_CACHE_HOME, HOME, HTTPS_PROXY, ALL_PROXY, NO_PROXY.
    ///
    /// Usually called with `std::env::var_os`.
    ///
    /// # Errors
    /// When a value can't be used, or no folder for the cache follows from them.
    pub fn from_env(env: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let text = |name: &str| get(name).and_then(|value| value.into_string().ok());
        let home = || {
            get("HOME")
                .or_else(|| get("USERPROFILE"))
                .map(PathBuf::from)
        };
        let folder = |name: &str| get(name).map(|value| expanded(PathBuf::from(value), home()));
        let hf_home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| home().map(|home| home.join(".cache/huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hf_home.as_ref().map(|home| home.join("hub")))
            .ok_or(Error::Setting {
                name: "HF_HOME",
                reason: "neither it nor HF_HUB_CACHE, XDG_CACHE_HOME or HOME is set, so there is no folder for downloads. Set HF_HOME to one".to_string(),
            })?;
        let endpoint = endpoint(text("HF_ENDPOINT"))?;
        let token_path = folder("HF_TOKEN_PATH").or_else(|| hf_home.map(|home| home.join("token")));
        let wanted = !is_true(text("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
        let token = match text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")) {
            _ if !wanted => None,
            Some(token) => Secret::new(&token),
            None => token_path.map_or(Ok(None), |path| token_in(&path))?,
        };
        let seconds = |name: &'static str, usual: u64| match text(name) {
            None => Ok(Duration::from_secs(usual)),
            Some(value) => match value.trim().parse::<f64>() {
                Ok(s) if s > 0.0 && s <= 86_400.0 => Ok(Duration::from_secs_f64(s)),
                _ => Err(Error::Setting {
                    name,
                    reason: format!(
                        "{value:?} is not a number of seconds over 0 and at most 86400"
                    ),
                }),
            },
        };
        let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let no_proxy = text("NO_PROXY")
            .or_else(|| text("no_proxy"))
            .unwrap_or_default();
        let mut record = cache.file_name().unwrap_or_default().to_os_string();
        record.push(".mr2-lock.json");
        Ok(Self {
            endpoint,
            record: cache.with_file_name(record),
            cache,
            token,
            offline: is_true(text("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE"))),
            proxy: proxy
                .into_iter()
                .find_map(text)
                .and_then(|url| Secret::new(&url)),
            no_proxy: no_proxy
                .split(',')
                .map(|host| host.trim().to_string())
                .filter(|host| !host.is_empty())
                .collect(),
            answer_timeout: seconds("HF_HUB_ETAG_TIMEOUT", 10)?,
            read_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT", 30)?,
            stall_timeout: Duration::from_secs(600),
            tries: 6,
            first_pause: Duration::from_secs(1),
        })
    }
}

fn endpoint(value: Option<String>) -> Result<String> {
    let value = value.unwrap_or_else(|| ENDPOINT.to_string());
    let value = value.trim().trim_end_matches('/');
    let host = value
        .strip_prefix("https://")
        .or_else(|| value.strip_prefix("http://"));
    match host {
        // What stands before an @ would be a password, and end up in messages.
        Some(host) if !host.is_empty() && !host.contains(['@', '?', '#', ' ']) => {
            Ok(value.to_string())
        }
        _ => Err(Error::Setting {
            name: "HF_ENDPOINT",
            reason: format!("it must be like {ENDPOINT}, without user name or query"),
        }),
    }
}

fn token_in(path: &Path) -> Result<Option<Secret>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Secret::new(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, "the token can't be read")(error)),
    }
}

fn is_true(value: Option<String>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    ["1", "on", "yes", "true"].contains(&value.as_str())
}

/// A leading `~` is the home folder.
fn expanded(path: PathBuf, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}
