//! From the network to a blob: bytes gather in a file of their own, go on where they stopped, and get their name
//! only when their sums are right.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::cache::{Cache, make_parent};
use super::client::{Client, Reply, Trouble};
use super::digest::{Kind, Sums, sums};
use super::error::{Error, Result, io};
use super::protocol::{Asked, open};
use super::room::{full, room};
use super::{Pin, Progress};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// What is to come.
pub(super) struct Wanted<'a> {
    /// At its commit.
    pub asked: Asked<'a>,
    pub etag: &'a str,
    pub size: Option<u64>,
    pub pin: Option<&'a Pin>,
}

/// What is wrong with bytes that have come.
struct Wrong {
    what: &'static str,
    expected: String,
    found: String,
}

impl Wanted<'_> {
    /// Bytes that are still to come, for a message.
    fn left(&self, have: u64) -> u64 {
        self.size
            .map_or(CHUNK as u64, |size| size.saturating_sub(have))
    }

    fn wrong(&self, found: &Sums) -> Option<Wrong> {
        let differs = |what, expected: &str, found: &str| {
            (expected != found).then(|| Wrong {
                what,
                expected: expected.to_string(),
                found: found.to_string(),
            })
        };
        let size = |size: u64| differs("its size", &size.to_string(), &found.size.to_string());
        let sum = |kind: Kind| differs(kind.name(), self.etag, kind.from(found));
        let pinned = |pin: &Pin| differs(Kind::Sha256.name(), &pin.sha256, &found.sha256);
        self.size
            .and_then(size)
            .or_else(|| Kind::of(self.etag).and_then(sum))
            .or_else(|| self.pin.and_then(pinned))
    }
}

/// Fetches the blob of `wanted` into the cache; the lock of the blob is held by the caller.
///
/// # Errors
/// When it can't be had whole and right; what came of it is kept for the next try, unless it is wrong.
pub(super) fn fetch(
    client: &Client,
    cache: &Cache,
    wanted: &Wanted<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf> {
    let repo = &wanted.asked.id.repo;
    let name = wanted.asked.name();
    let part = cache.incomplete(repo, wanted.etag);
    make_parent(&part)?;
    let mut left_over = length(&part)? > 0;
    loop {
        let host = gather(client, wanted, &part, progress)?;
        progress(Progress::Checking);
        let Some(wrong) = wanted.wrong(&sums(&part)?) else {
            break;
        };
        let looks = looks(&part);
        fs::remove_file(&part)
            .map_err(io(&part, "can't be deleted, though its content is wrong"))?;
        if !left_over {
            return Err(bad_content(name, host, looks, wrong));
        }
        tracing::warn!("{name}: what an earlier download left behind is wrong: fetching it anew");
        left_over = false;
    }
    let blob = cache.blob(repo, wanted.etag);
    fs::rename(&part, &blob).map_err(io(&blob, "can't be put in place"))?;
    Ok(blob)
}

fn bad_content(id: String, host: String, looks: &'static str, wrong: Wrong) -> Error {
    Error::BadContent {
        id,
        host,
        looks,
        what: wrong.what,
        expected: wrong.expected.into(),
        found: wrong.found.into(),
    }
}

/// Fills `part` up to the size that is announced, in as many requests as that takes; returns who sent it.
fn gather(
    client: &Client,
    wanted: &Wanted<'_>,
    part: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<String> {
    let name = wanted.asked.name();
    let mut have = length(part)?;
    if let Some(size) = wanted.size {
        if have > size {
            truncate(part)?;
            have = 0;
        }
        room(&name, part, size - have)?;
    }
    progress(Progress::Begins {
        from: &client.url(&wanted.asked.id.repo),
        to: part,
        bytes: have,
        total: wanted.size,
    });
    let mut host = client.origin.host.clone();
    let mut furthest = have;
    client.with_retries(&name, client.tries, || {
        let from = length(part)?;
        // Nothing is left to ask for; an empty file is made all the same.
        if wanted.size == Some(from) && from > 0 {
            return Ok(());
        }
        let reply = open(client, wanted.asked, from)?;
        host.clone_from(&reply.origin.host);
        let result = receive(wanted, reply, from, part, progress);
        let now = length(part)?;
        let further = now > furthest;
        furthest = furthest.max(now);
        result.map_err(|trouble| match trouble {
            Trouble::Passing { why, after, .. } => Trouble::Passing {
                why,
                after,
                moved: further,
            },
            other => other,
        })
    })?;
    Ok(host)
}

/// Writes the body of one answer behind what is there.
fn receive(
    wanted: &Wanted<'_>,
    reply: Reply,
    from: u64,
    part: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> std::result::Result<(), Trouble> {
    let host = reply.origin.host.clone();
    let mut have = match reply.status {
        206 if starts_at(&reply) == Some(from) => from,
        // The server can't go on there, or doesn't: all of it again.
        206 | 416 => {
            truncate(part)?;
            return Err(Trouble::passing(format!(
                "{host} sends another part than was asked for"
            )));
        }
        _ => 0,
    };
    if let (Some(size), Some(coming)) = (wanted.size, reply.number("content-length"))
        && have + coming != size
    {
        let wrong = Wrong {
            what: "its size",
            expected: size.to_string(),
            found: (have + coming).to_string(),
        };
        let html = reply
            .header("content-type")
            .is_some_and(|kind| kind.contains("html"));
        let looks = if html { " but a web page" } else { "" };
        return Err(bad_content(wanted.asked.name(), host, looks, wrong).into());
    }
    let failed = |error| io(part, "can't be opened")(error);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part);
    let mut file = file.map_err(failed)?;
    file.set_len(have).map_err(failed)?;
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut body = reply.body.into_reader();
    let mut buffer = vec![0; CHUNK];
    let trouble = loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break Some(format!("{host}: {error}")),
        };
        have += read as u64;
        if wanted.size.is_some_and(|size| have > size) {
            truncate(part)?;
            return Err(Trouble::passing(format!(
                "{host} sends more than it announced"
            )));
        }
        file.write_all(&buffer[..read])
            .map_err(|error| full(&wanted.asked.name(), part, wanted.left(have), error))?;
        progress(Progress::Fetched {
            bytes: have,
            total: wanted.size,
        });
    };
    file.sync_all()
        .map_err(|error| full(&wanted.asked.name(), part, wanted.left(have), error))?;
    match (trouble, wanted.size) {
        (Some(why), _) => Err(Trouble::passing(why)),
        (None, Some(size)) if have < size => {
            let why = format!("{host} hung up after {have} of {size} bytes");
            Err(Trouble::passing(why))
        }
        _ => Ok(()),
    }
}

/// The first byte of a part, by its Content-Range: `bytes 100-199/200`.
fn starts_at(reply: &Reply) -> Option<u64> {
    let range = reply.header("content-range")?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// What a file that isn't the right one looks like, as a part of a sentence.
fn looks(path: &Path) -> &'static str {
    let mut head = Vec::new();
    // A file that can't be read looks like nothing.
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
    let text = String::from_utf8_lossy(&head)
        .trim_start()
        .to_ascii_lowercase();
    match text.as_str() {
        _ if read.is_err() => "",
        page if page.starts_with("<!doctype html") || page.starts_with("<html") => {
            " but a web page"
        }
        answer if answer.starts_with("{\"error") => " but an error message",
        pointer if pointer.starts_with("version https://git-lfs") => " but a pointer of Git LFS",
        _ => "",
    }
}

fn length(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Ok(about) => Ok(about.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(io(path, "can't be read")(error)),
    }
}

fn truncate(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io(path, "can't be deleted")(error))
        }
        _ => Ok(()),
    }
}
