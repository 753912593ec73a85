//! Files of the Hugging Face Hub: fetched once, checked, kept in the cache that Python's libraries share.
//!
//! [`Hub::file`] turns a [`HubId`] into a path. The environment is read once, by the caller
//! ([`HubConfig::from_env`]); nothing here is global.
//!
//! ```no_run
//! use mr2_backbones::weights::hub::{Hub, HubConfig, HubId};
//!
//! let hub = Hub::new(HubConfig::from_env(|name| std::env::var_os(name))?)?;
//! let id = HubId::parse("hf:timm/resnet50.a1_in1k:model.safetensors")?;
//! let file = hub.file(&id, None, &mut |_| {})?;
//! println!("{} at {}, SHA-256 {}", file.path.display(), file.commit, file.sha256);
//! # Ok::<(), mr2_backbones::weights::hub::Error>(())
//! ```
//!
//! # What is promised
//! - A file has its name only when its bytes are right: SHA-256 (large files) or git's blob SHA-1 (small ones)
//!   against the Hub's ETag, and the [`Pin`] if there is one. What is wrong is deleted, a web page is never kept.
//! - A name that may move (a branch, a tag) means the same bytes for ever: what it was first is recorded beside the
//!   cache ([`HubConfig::record`]), and another content is [`Error::Changed`] until [`Hub::accept`].
//! - A whole commit or a pin whose file is here needs no network. If the Hub can't be reached, the recorded file
//!   does, with a warning.
//! - A download goes on where it stopped. Of two processes one fetches and the other waits, Python's among them.
//! - The token goes to the endpoint and to no other host, over plain HTTP to none but this machine.
//!
//! # Why a client of our own
//! By the sources of `hf-hub` 0.5.0 and 1.0.0 (crates.io), neither hashes what it has downloaded, reads
//! HF_HUB_OFFLINE, or lets a second process wait for a long download (five tries of 1 s; 10 s). 1.0.0 begins anew
//! after each interruption (huggingface/hf-hub#196), writes a body without a look at its status, and brings an
//! asynchronous runtime. 0.5.0 resumes, but doesn't read HF_TOKEN and locks other files than Python. What we need
//! of the protocol is two requests, so this is `ureq` 3 with `rustls` (Mozilla's roots compiled in) and the sums
//! of RustCrypto.
//!
//! The tests speak to a server on this machine, and `tests/reference/hub_cache.py` lets Python read and fill the
//! same cache; neither has reached the real Hub.
mod access;
mod address;
mod cache;
mod client;
mod config;
mod digest;
mod error;
mod fetch;
mod id;
mod lock;
mod obtain;
mod pin;
mod progress;
mod protocol;
mod record;
mod room;
mod verify;

pub use access::{Hub, HubFile};
pub use cache::CachedFile;
pub use config::{HubConfig, Secret};
pub use error::{Error, Result};
pub use id::HubId;
pub use pin::Pin;
pub use progress::Progress;
pub use record::Recorded;
pub use verify::Verdict;
