//! What is fetched, where it lies, and when it is found again without a request.

use std::path::Path;

use mr2_backbones::weights::hub::{Hub, HubConfig, HubId, Progress};

use crate::server::Reply;
use crate::world::{FIRST, MODEL, SECOND, SMALL, SMALL_SHA1, SMALL_TEXT, World, get, sha256};

#[test]
fn a_large_file_is_fetched_from_the_other_host_into_the_layout_that_python_reads() {
    let world = World::new();
    let model = world.state.lock().unwrap().model.clone();
    let file = world.get(MODEL).unwrap();
    assert_eq!(
        file.path,
        world
            .repository("snapshots")
            .join(FIRST)
            .join("model.safetensors")
    );
    assert_eq!(std::fs::read(&file.path).unwrap(), model);
    let link = std::fs::read_link(&file.path).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&model)));
    let reference = std::fs::read_to_string(world.repository("refs/main")).unwrap();
    assert_eq!(reference, FIRST);
    assert_eq!((file.commit.as_str(), file.size), (FIRST, 1_000_000));
    assert_eq!(
        (&file.sha256, &file.etag),
        (&sha256(&model), &sha256(&model))
    );
    // The bytes are asked for at the commit that the first answer named.
    let resolved = format!("GET /a/b/resolve/{FIRST}/model.safetensors");
    assert_eq!(
        world.asked(),
        [
            "HEAD /a/b/resolve/main/model.safetensors",
            resolved.as_str()
        ]
    );
    let blobs = std::fs::read_dir(world.repository("blobs")).unwrap();
    assert_eq!(blobs.count(), 1, "nothing incomplete is left");
}

#[test]
fn a_small_file_in_a_folder_is_known_by_its_git_blob() {
    let world = World::new();
    let file = world.get(SMALL).unwrap();
    assert_eq!(file.etag, SMALL_SHA1);
    assert_eq!(file.sha256, sha256(SMALL_TEXT.as_bytes()));
    let link = std::fs::read_link(&file.path).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(SMALL_SHA1));
    assert_eq!(std::fs::read_to_string(&file.path).unwrap(), SMALL_TEXT);
}

#[test]
fn a_second_time_one_request_is_answered_with_304_and_of_a_commit_none_is_made() {
    let world = World::new();
    let first = world.get(MODEL).unwrap();
    world.asked();
    world.ranges();
    assert_eq!(world.get(MODEL).unwrap(), first);
    let request = &world.hub.take_requests()[..];
    assert_eq!(request.len(), 1);
    assert_eq!(
        request[0].headers["if-none-match"],
        format!("\"{}\"", first.etag)
    );
    let at_commit = world
        .get(&format!("hf:a/b@{FIRST}:model.safetensors"))
        .unwrap();
    assert_eq!(at_commit, first);
    assert!(world.asked().is_empty() && world.ranges().is_empty());
}

#[test]
fn a_commit_that_leaves_the_file_alone_is_noted_without_a_download() {
    let world = World::new();
    let first = world.get(MODEL).unwrap();
    world.state.lock().unwrap().commit = SECOND;
    world.ranges();
    let second = world.get(MODEL).unwrap();
    assert_eq!(
        (second.commit.as_str(), &second.sha256),
        (SECOND, &first.sha256)
    );
    assert_ne!(second.path, first.path);
    assert!(second.path.is_file() && first.path.is_file());
    assert_eq!(
        std::fs::read_to_string(world.repository("refs/main")).unwrap(),
        SECOND
    );
    assert!(world.ranges().is_empty());
}

#[test]
fn a_branch_with_a_slash_is_one_part_of_the_url_and_a_path_among_the_references() {
    let world = World::new();
    world.get("hf:a/b@refs/pr/1:sub/config.json").unwrap();
    assert_eq!(
        world.asked()[0],
        "HEAD /a/b/resolve/refs%2Fpr%2F1/sub/config.json"
    );
    assert!(world.repository("refs/refs/pr/1").is_file());
}

#[test]
fn offline_means_the_cache_or_an_error_and_never_a_request() {
    let world = World::new();
    let offline = || HubConfig {
        offline: true,
        ..world.config()
    };
    let error = get(offline(), MODEL).unwrap_err().to_string();
    for part in [
        "hf:a/b@main:model.safetensors is not in the cache",
        "Unset HF_HUB_OFFLINE",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(world.asked().is_empty());
    let file = world.get(MODEL).unwrap();
    world.asked();
    assert_eq!(get(offline(), MODEL).unwrap(), file);
    let names = Hub::new(offline())
        .unwrap()
        .file_names(&HubId::parse("hf:a/b").unwrap());
    assert!(names.is_err());
    assert!(world.asked().is_empty());
}

#[test]
fn without_the_hub_the_copy_in_the_cache_does() {
    let world = World::new();
    let file = world.get(MODEL).unwrap();
    world.hub_answers((0..3).map(|_| Reply::new(503, "")));
    assert_eq!(world.get(MODEL).unwrap(), file);
}

#[test]
fn a_redirect_inside_the_hub_is_followed_and_its_headers_count() {
    let world = World::new();
    // A repository that was renamed; the last answer's word counts.
    assert_eq!(
        world.get("hf:old/name:model.safetensors").unwrap().commit,
        FIRST
    );
    world.asked();
    // An answer that doesn't repeat the commit is of the commit that was said before.
    let small = |reply: Reply| reply.with("ETag", format!("\"{SMALL_SHA1}\""));
    world.hub_answers([
        small(Reply::new(307, ""))
            .with("Location", "/cache/x")
            .with("X-Repo-Commit", SECOND),
        small(Reply::new(200, SMALL_TEXT)),
    ]);
    assert_eq!(world.get(SMALL).unwrap().commit, SECOND);
}

#[test]
fn progress_says_what_goes_where_and_ends_with_the_check() {
    let world = World::new();
    let mut told = Vec::new();
    let hub = Hub::new(world.config()).unwrap();
    hub.file(&HubId::parse(MODEL).unwrap(), None, &mut |progress| {
        told.push(match progress {
            Progress::Begins {
                from,
                to,
                bytes,
                total,
            } => {
                assert_eq!(from, format!("{}/a/b", world.hub.url));
                assert!(to.to_string_lossy().ends_with(".incomplete"));
                format!("begins {bytes} {total:?}")
            }
            Progress::Fetched { bytes, total } => format!("fetched {bytes} {total:?}"),
            other => format!("{other:?}"),
        });
    })
    .unwrap();
    assert_eq!(told[0], "begins 0 Some(1000000)");
    assert_eq!(told[told.len() - 2], "fetched 1000000 Some(1000000)");
    assert_eq!(told[told.len() - 1], "Checking");
}
