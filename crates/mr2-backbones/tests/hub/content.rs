//! Bytes that are not the file's.

use crate::server::Reply;
use crate::world::{MODEL, SMALL, SMALL_SHA1, World};

/// Nothing may stay that a later run would take for the file, or for the beginning of it.
fn nothing_is_kept(world: &World) {
    let files = std::fs::read_dir(world.repository("blobs"));
    assert_eq!(files.map_or(0, Iterator::count), 0);
    assert!(!world.repository("snapshots").exists());
    assert!(!world.path("home/hub.mr2-lock.json").exists());
}

#[test]
fn a_wrong_byte_is_an_error_and_deleted() {
    let world = World::new();
    world.cdn_fault(|_, mut reply| {
        reply.body[12_345] ^= 1;
        reply
    });
    let error = world.failure(MODEL);
    assert!(error.contains("not the file: its SHA-256 is"), "{error}");
    assert!(error.contains("They have been deleted"), "{error}");
    nothing_is_kept(&world);
    world.get(MODEL).unwrap();
}

#[test]
fn a_web_page_with_status_200_is_never_kept() {
    let world = World::new();
    let page = "<!DOCTYPE html><html>Log in to the network</html>";
    world.cdn_fault(move |_, _| Reply::new(200, page).with("Content-Type", "text/html"));
    let error = world.failure(MODEL);
    assert!(
        error.contains("not the file but a web page: its size is 49"),
        "{error}"
    );
    nothing_is_kept(&world);
    // As long as the file, too.
    world.cdn_fault(move |_, reply| {
        let mut body = page.as_bytes().to_vec();
        body.resize(reply.body.len(), b' ');
        Reply::new(200, body)
    });
    let error = world.failure(MODEL);
    assert!(
        error.contains("not the file but a web page: its SHA-256"),
        "{error}"
    );
    nothing_is_kept(&world);
}

#[test]
fn an_error_in_json_is_not_taken_for_a_small_file() {
    let world = World::new();
    let head = Reply::new(200, "").with("ETag", format!("\"{SMALL_SHA1}\""));
    let mut head = head.with("X-Repo-Commit", crate::world::FIRST);
    head.body = b"{\"error\":1}".to_vec();
    world.hub_answers([head.clone(), head]);
    let error = world.failure(SMALL);
    assert!(
        error.contains("but an error message: the SHA-1 of its git blob is"),
        "{error}"
    );
    nothing_is_kept(&world);
}

#[test]
fn an_answer_without_commit_or_etag_is_no_hub() {
    let world = World::new();
    world.hub_answers([Reply::new(200, "<html>Log in</html>")]);
    let error = world.failure(MODEL);
    assert!(
        error.contains("doesn't say which commit it is of"),
        "{error}"
    );
    assert!(error.contains("no log-in page in between?"), "{error}");
    let commit = |reply: Reply| reply.with("X-Repo-Commit", crate::world::FIRST);
    for etag in [
        "\"../../evil\"",
        "\"\"",
        "\"d41d8cd98f00b204e9800998ecf8427e\"",
    ] {
        world.hub_answers([commit(Reply::new(200, "x")).with("ETag", etag)]);
        let error = world.failure(MODEL);
        assert!(
            error.contains("has no ETag that the file can be checked against"),
            "{error}"
        );
    }
    // A commit that would lead out of the cache.
    world.hub_answers([Reply::new(200, "x").with("X-Repo-Commit", "../../x")]);
    assert!(world.failure(MODEL).contains("doesn't say which commit"));
    nothing_is_kept(&world);
}

#[test]
#[cfg(unix)]
fn a_disk_without_room_is_noticed_before_the_download() {
    let world = World::new();
    let head = Reply::new(302, "")
        .with("Location", "http://127.0.0.1:9/x")
        .with("X-Repo-Commit", crate::world::FIRST)
        .with("X-Linked-ETag", format!("\"{}\"", "a".repeat(64)))
        .with("X-Linked-Size", 1_u64 << 60);
    world.hub_answers([head]);
    let error = world.failure(MODEL);
    assert!(
        error.contains("1152921504606846976 more bytes are needed"),
        "{error}"
    );
    assert!(error.contains("set HF_HUB_CACHE"), "{error}");
    assert_eq!(world.asked().len(), 1);
}
