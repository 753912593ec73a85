//! Requests to the Hub: nobody but the endpoint sees the token, none waits for ever, what passes is tried again.

use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, Proxy};

use super::address::{Origin, joined};
use super::config::HubConfig;
use super::error::{Error, Result};

/// Redirects that are followed for one request.
const REDIRECTS: usize = 10;
/// The longest pause between two tries; a server that asks for more is told to the user instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Tells the Hub what asks.
const USER_AGENT: &str = concat!("mr2-backbones/", env!("CARGO_PKG_VERSION"));

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another try may do.
    Passing {
        why: String,
        /// What the server asks for.
        after: Option<Duration>,
        /// Whether more of the file is here than ever before.
        moved: bool,
    },
    /// None will.
    Final(Error),
}

impl Trouble {
    pub fn passing(why: impl Into<String>) -> Self {
        Self::Passing {
            why: why.into(),
            after: None,
            moved: false,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Get,
}

/// What came back.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub origin: Origin,
    pub body: Body,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    pub origin: Origin,
    token: Option<String>,
    pub tries: u32,
    first_pause: Duration,
}

impl Client {
    pub fn new(config: &HubConfig) -> Result<Self> {
        let origin = Origin::of(&config.endpoint).ok_or_else(|| Error::Setting {
            name: "HF_ENDPOINT",
            reason: format!("{:?} is not the URL of a host", config.endpoint),
        })?;
        let answer = Some(config.answer_timeout);
        let read = Some(config.read_timeout);
        // Redirects are followed here, where it is known who may see the token; the environment is the caller's.
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy(config)?)
            .user_agent(USER_AGENT)
            .timeout_resolve(answer)
            .timeout_connect(answer)
            .timeout_send_request(answer)
            .timeout_recv_response(answer)
            .timeout_per_read(read)
            .timeout_per_write(read);
        // Over plain HTTP anybody on the way could read it.
        let safe = origin.is_encrypted() || origin.is_loopback();
        let token = config.token.as_ref().filter(|_| safe);
        Ok(Self {
            agent: settings.build().into(),
            endpoint: config.endpoint.clone(),
            token: token.map(|token| format!("Bearer {}", token.reveal())),
            origin,
            tries: config.tries.max(1),
            first_pause: config.first_pause,
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint)
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Sends a request and goes where redirects lead; with [`Method::Head`] only as long as they stay at the
    /// endpoint, whose answer is then the one that sends elsewhere.
    pub fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, String)],
    ) -> std::result::Result<Reply, Trouble> {
        let mut url = url.to_string();
        let mut earlier = HeaderMap::new();
        for _ in 0..REDIRECTS {
            let mut reply = self.send(method, &url, headers)?;
            // A redirect inside the Hub may be all that says of which commit and file the answer is.
            for name in ["x-repo-commit", "x-linked-etag", "x-linked-size"] {
                match (reply.headers.get(name), earlier.get(name)) {
                    (Some(new), _) => drop(earlier.insert(name, new.clone())),
                    (None, Some(old)) => drop(reply.headers.insert(name, old.clone())),
                    (None, None) => {}
                }
            }
            let next = match reply.header("location") {
                Some(location) if reply.is_redirect() => joined(&url, location),
                _ => return Ok(reply),
            };
            let target = next.as_deref().and_then(Origin::of);
            let (Some(next), Some(target)) = (next, target) else {
                return Err(Trouble::passing(format!(
                    "{} redirects to nowhere",
                    reply.origin.host
                )));
            };
            if method == Method::Head && target != self.origin {
                return Ok(reply);
            }
            if reply.origin.is_encrypted() && !target.is_encrypted() {
                let why = format!("{} redirects to unencrypted HTTP", reply.origin.host);
                return Err(Trouble::passing(why));
            }
            url = next;
        }
        Err(Trouble::passing(format!("over {REDIRECTS} redirects")))
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, String)],
    ) -> std::result::Result<Reply, Trouble> {
        let origin = Origin::of(url).ok_or_else(|| Trouble::passing("not a URL"))?;
        let mut request = match method {
            Method::Head => self.agent.head(url),
            Method::Get => self.agent.get(url),
        };
        // Sums and ranges are of the file as it is.
        request = request.header("accept-encoding", "identity");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| origin == self.origin) {
            request = request.header("authorization", token);
        }
        let response: Response<Body> = request.call().map_err(|error| {
            let host = &origin.host;
            // An address may be signed, and then is a secret too.
            Trouble::passing(match error {
                ureq::Error::BadUri(_) => format!("{host} sends to a bad address"),
                error => format!("{host}: {error}"),
            })
        })?;
        let (head, body) = response.into_parts();
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            origin,
            body,
        })
    }

    /// Calls `attempt` until it brings something, with longer and longer pauses; `tries` failures in a row end it.
    pub fn with_retries<T>(
        &self,
        id: &str,
        tries: u32,
        mut attempt: impl FnMut() -> std::result::Result<T, Trouble>,
    ) -> Result<T> {
        let mut failed = 0;
        loop {
            let (why, after, moved) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { why, after, moved }) => (why, after, moved),
            };
            failed = if moved { 1 } else { failed + 1 };
            let doubled = self.first_pause.saturating_mul(1 << (failed - 1).min(16));
            let pause = doubled
                .min(Duration::from_secs(60))
                .max(after.unwrap_or_default());
            if failed >= tries || pause > LONGEST_PAUSE {
                let why = match after {
                    Some(after) => format!("{why}; it asks to wait {} s", after.as_secs()),
                    None => why,
                };
                return Err(Error::Network {
                    id: id.to_string(),
                    why,
                    tries: failed,
                });
            }
            tracing::info!("{id}: {why}; trying again in {:.1} s", pause.as_secs_f64());
            std::thread::sleep(pause);
        }
    }
}

/// The proxy of `config`, with what it isn't for.
fn proxy(config: &HubConfig) -> Result<Option<Proxy>> {
    let Some(url) = &config.proxy else {
        return Ok(None);
    };
    // The URL may hold a password, so the message doesn't repeat it.
    let wrong = |_| Error::Setting {
        name: "HTTPS_PROXY",
        reason: "not the URL of a proxy. Write http://HOST:PORT".to_string(),
    };
    let plain = Proxy::new(url.reveal()).map_err(wrong)?;
    let mut built = Proxy::builder(plain.protocol())
        .host(plain.host())
        .port(plain.port());
    if let (Some(user), Some(password)) = (plain.username(), plain.password()) {
        built = built.username(user).password(password);
    }
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        built = built.no_proxy(host);
    }
    for host in &config.no_proxy {
        built = built.no_proxy(host);
    }
    built.build().map(Some).map_err(wrong)
}
