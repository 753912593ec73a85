//! Where a request goes: what is the same host, and where a redirect leads.

use ureq::http::Uri;

/// Scheme, host and port: what a token is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    pub host: String,
    port: u16,
}

impl Origin {
    /// Of an absolute URL of HTTP or HTTPS.
    pub fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        Some(Self {
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(usual),
            scheme,
        })
    }

    pub fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// The URL that `location` means on a page at `url`.
pub(super) fn joined(url: &str, location: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = path.split(['?', '#']).next()?;
    let joined = match location {
        whole if Origin::of(whole).is_some() => whole.to_string(),
        other if other.contains("://") && !other.starts_with('/') => return None,
        other if other.starts_with("//") => format!("{scheme}:{other}"),
        other if other.starts_with('/') => format!("{scheme}://{host}{other}"),
        other => {
            let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
            format!("{scheme}://{host}{folder}{other}")
        }
    };
    Origin::of(&joined).map(|_| joined)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_or_a_scheme_makes_another_origin() {
        let origin = |url| Origin::of(url).unwrap();
        assert_eq!(origin("https://a.b/x"), origin("https://A.b:443/y?z"));
        assert_ne!(origin("https://a.b/x"), origin("http://a.b/x"));
        assert_ne!(origin("https://a.b/x"), origin("https://a.b:8443/x"));
        assert_ne!(origin("https://a.b/x"), origin("https://a.b.evil/x"));
        assert_eq!(Origin::of("ftp://a.b/x"), None);
        assert_eq!(Origin::of("/x"), None);
        assert!(origin("http://127.0.0.1:8000").is_loopback());
        assert!(origin("http://[::1]:8000").is_loopback());
        assert!(!origin("http://localhost.evil").is_loopback());
    }

    #[test]
    fn a_redirect_is_read_as_browsers_do() {
        let to = |location| joined("https://a.b/c/d?e", location).unwrap();
        assert_eq!(to("/f?g"), "https://a.b/f?g");
        assert_eq!(to("f"), "https://a.b/c/f");
        assert_eq!(to("//cdn/f"), "https://cdn/f");
        assert_eq!(to("http://cdn/f"), "http://cdn/f");
        assert_eq!(joined("https://a.b/c", "file:///etc/passwd"), None);
    }
}
