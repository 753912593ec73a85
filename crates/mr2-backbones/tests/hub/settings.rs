//! What the environment says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mr2_backbones::weights::hub::{HubConfig, Result, Secret};

fn from(variables: &[(&str, &str)]) -> Result<HubConfig> {
    let map: BTreeMap<_, _> = variables.iter().copied().collect();
    HubConfig::from_env(|name| map.get(name).map(|value| value.into()))
}

#[test]
fn the_cache_is_where_python_looks_for_it() {
    let cache = |variables: &[(&str, &str)]| from(variables).unwrap().cache;
    for (variables, expected) in [
        (&[("HOME", "/h")][..], "/h/.cache/huggingface/hub"),
        (
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
            "/x/huggingface/hub",
        ),
        (
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")],
            "/f/hub",
        ),
        (&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")], "/c"),
        (&[("HF_HOME", "/f"), ("HUGGINGFACE_HUB_CACHE", "/c")], "/c"),
        (&[("HOME", "/h"), ("HF_HOME", "~/f")], "/h/f/hub"),
        (
            &[("HOME", "/h"), ("HF_HOME", "")],
            "/h/.cache/huggingface/hub",
        ),
    ] {
        assert_eq!(cache(variables), Path::new(expected), "{variables:?}");
    }
    let record = from(&[("HF_HUB_CACHE", "/big/c")]).unwrap().record;
    assert_eq!(record, Path::new("/big/c.mr2-lock.json"));
    let error = from(&[]).unwrap_err().to_string();
    assert!(error.contains("Set HF_HOME to one"), "{error}");
}

#[test]
fn the_token_comes_from_the_variable_or_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let token = |variables: &[(&str, &str)]| {
        let all: Vec<_> = [&[("HF_HOME", home)], variables].concat();
        from(&all).unwrap().token
    };
    assert_eq!(token(&[]), None);
    std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
    assert_eq!(token(&[]), Secret::new("hf_file"));
    assert_eq!(
        token(&[("HF_TOKEN", " hf_variable\n")]),
        Secret::new("hf_variable")
    );
    assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    let other = folder.path().join("other");
    std::fs::write(&other, "hf_other").unwrap();
    assert_eq!(
        token(&[("HF_TOKEN_PATH", other.to_str().unwrap())]),
        Secret::new("hf_other")
    );
    assert_eq!(Secret::new("two words"), None);
    assert_eq!(Secret::new(" \n"), None);
}

#[test]
fn endpoint_offline_and_time_limits_are_read_and_nonsense_is_refused() {
    let home = ("HOME", "/h");
    assert_eq!(from(&[home]).unwrap().endpoint, "https://huggingface.co");
    let mirror = from(&[home, ("HF_ENDPOINT", "https://mirror.example/hf/")]).unwrap();
    assert_eq!(mirror.endpoint, "https://mirror.example/hf");
    for endpoint in [
        "mirror.example",
        "ftp://mirror.example",
        "https://",
        "https://u:p@m",
    ] {
        let error = from(&[home, ("HF_ENDPOINT", endpoint)])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("HF_ENDPOINT: it must be like") && !error.contains("u:p"));
    }
    for (value, offline) in [
        ("1", true),
        ("TRUE", true),
        ("on", true),
        ("0", false),
        ("", false),
    ] {
        assert_eq!(
            from(&[home, ("HF_HUB_OFFLINE", value)]).unwrap().offline,
            offline
        );
    }
    let patient = from(&[home, ("HF_HUB_DOWNLOAD_TIMEOUT", "90")]).unwrap();
    assert_eq!(patient.read_timeout, Duration::from_secs(90));
    for value in ["0", "-1", "soon", "nan", "inf"] {
        let error = from(&[home, ("HF_HUB_ETAG_TIMEOUT", value)])
            .unwrap_err()
            .to_string();
        assert!(error.contains("HF_HUB_ETAG_TIMEOUT"), "{error}");
    }
    let proxied = from(&[
        home,
        ("HTTPS_PROXY", "http://u:secret@p:3128"),
        ("NO_PROXY", "a, .b"),
    ]);
    let proxied = proxied.unwrap();
    assert_eq!(proxied.no_proxy, ["a", ".b"]);
    assert!(!format!("{proxied:?}").contains("secret"));
}
