//! Names that move, pins, and whether what is here is still right.

use mr2_backbones::weights::hub::{Hub, HubId, Pin, Verdict};

use crate::world::{FIRST, MODEL, SECOND, SMALL, SMALL_TEXT, World, bytes, sha256};

/// Replaces the model on the Hub.
fn replace(world: &World) -> String {
    let mut state = world.state.lock().unwrap();
    state.commit = SECOND;
    state.model = bytes(1_000_000, 2);
    sha256(&state.model)
}

#[test]
fn weights_that_are_replaced_are_an_error_naming_both_until_they_are_accepted() {
    let world = World::new();
    let first = world.get(MODEL).unwrap();
    let second = replace(&world);
    world.ranges();
    let error = world.failure(MODEL);
    for part in [
        "hf:a/b@main:model.safetensors has changed",
        &format!("commit {FIRST}, SHA-256 {}", first.sha256),
        &format!("commit {SECOND}, ETag {second}"),
        "`mr2 weights accept hf:a/b@main:model.safetensors`",
        "hub.mr2-lock.json",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert!(
        world.ranges().is_empty(),
        "nothing is fetched to find that out"
    );
    let by_commit = world
        .get(&format!("hf:a/b@{FIRST}:model.safetensors"))
        .unwrap();
    assert_eq!(by_commit, first);
    let hub = Hub::new(world.config()).unwrap();
    let forgotten = hub.accept(&HubId::parse(MODEL).unwrap()).unwrap().unwrap();
    assert_eq!(forgotten.sha256, first.sha256);
    let file = world.get(MODEL).unwrap();
    assert_eq!(
        (file.commit.as_str(), file.sha256),
        (SECOND, second.clone())
    );
    let recorded = hub.recorded().unwrap();
    assert_eq!(recorded["hf:a/b@main:model.safetensors"].sha256, second);
    assert_eq!(
        hub.accept(&HubId::parse("hf:a/b:other").unwrap()).unwrap(),
        None
    );
}

#[test]
fn what_others_put_into_the_cache_is_held_to_the_record_too() {
    let world = World::new();
    world.get(SMALL).unwrap();
    let blob = std::fs::canonicalize(world.get(SMALL).unwrap().path).unwrap();
    std::fs::write(&blob, "{\"x\":2}").unwrap();
    let error = world.failure(SMALL);
    assert!(error.contains("has changed"), "{error}");
}

#[test]
fn a_file_that_has_lost_its_end_is_noticed() {
    let world = World::new();
    let file = world.get(MODEL).unwrap();
    let blob = std::fs::canonicalize(&file.path).unwrap();
    std::fs::write(&blob, "short").unwrap();
    let error = world.failure(MODEL);
    let part = "has 5 bytes, 1000000 when hf:a/b@main:model.safetensors was fetched";
    assert!(error.contains(part), "{error}");
    assert!(error.starts_with(&blob.display().to_string()), "{error}");
    // Where its size is said, it is fetched anew.
    std::fs::remove_file(&file.path).unwrap();
    assert_eq!(world.get(MODEL).unwrap(), file);
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let world = World::new();
    world.get(MODEL).unwrap();
    let path = world.path("home/hub.mr2-lock.json");
    for text in ["{", "{\"version\":2,\"files\":{}}", "{\"version\":1}"] {
        std::fs::write(&path, text).unwrap();
        let error = world.failure(MODEL);
        assert!(
            error.contains("hub.mr2-lock.json: is not a record of downloads"),
            "{error}"
        );
    }
}

#[test]
fn a_pin_needs_no_record_and_no_second_request() {
    let world = World::new();
    let pin = Pin {
        commit: FIRST.to_string(),
        size: 1_000_000,
        sha256: sha256(&world.state.lock().unwrap().model),
    };
    let id = HubId::parse(MODEL).unwrap();
    let hub = Hub::new(world.config()).unwrap();
    let get = |pin: &Pin| hub.file(&id, Some(pin), &mut |_| {});
    for (wrong, part) in [
        (
            Pin {
                size: 5,
                ..pin.clone()
            },
            "its size is 1000000, and the registry of pretrained weights says 5",
        ),
        (
            Pin {
                sha256: "0".repeat(64),
                ..pin.clone()
            },
            "its SHA-256 is",
        ),
    ] {
        let error = get(&wrong).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(
        world.ranges().is_empty(),
        "nothing is fetched to find that out"
    );
    assert!(
        get(&Pin {
            sha256: "x".to_string(),
            ..pin.clone()
        })
        .is_err()
    );
    let file = get(&pin).unwrap();
    assert_eq!(file.sha256, pin.sha256);
    world.asked();
    assert_eq!(get(&pin).unwrap(), file);
    assert!(world.asked().is_empty());
    assert!(hub.recorded().unwrap().is_empty());
    // Found in the cache, and still held to the pin.
    assert!(
        get(&Pin {
            size: 5,
            ..pin.clone()
        })
        .is_err()
    );
}

#[test]
fn a_small_file_that_is_not_its_pin_is_not_kept() {
    let world = World::new();
    let pin = Pin {
        commit: FIRST.to_string(),
        size: SMALL_TEXT.len() as u64,
        sha256: "0".repeat(64),
    };
    let hub = Hub::new(world.config()).unwrap();
    let error = hub.file(&HubId::parse(SMALL).unwrap(), Some(&pin), &mut |_| {});
    assert!(error.unwrap_err().to_string().contains("its SHA-256 is"));
    assert_eq!(
        std::fs::read_dir(world.repository("blobs"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn the_cache_is_listed_and_every_byte_of_it_verified() {
    let world = World::new();
    let model = world.get(MODEL).unwrap();
    let small = world.get(SMALL).unwrap();
    let hub = Hub::new(world.config()).unwrap();
    let list = hub.list().unwrap();
    let names: Vec<_> = list
        .iter()
        .map(|f| (f.repo.as_str(), f.file.as_str()))
        .collect();
    assert_eq!(
        names,
        [("a/b", "model.safetensors"), ("a/b", "sub/config.json")]
    );
    assert_eq!((list[0].size, &list[0].path), (1_000_000, &model.path));
    for (file, sum) in list.iter().zip([&model.sha256, &small.sha256]) {
        let right = Verdict::Right {
            sha256: sum.clone(),
        };
        assert_eq!(hub.verify(file).unwrap(), right);
    }
    let id = HubId::parse(MODEL).unwrap();
    assert_eq!(hub.cached(&id, None).unwrap().as_ref(), Some(&list[0]));
    let mut damaged = std::fs::read(&model.path).unwrap();
    damaged[5] ^= 1;
    std::fs::write(std::fs::canonicalize(&model.path).unwrap(), damaged).unwrap();
    assert!(matches!(
        hub.verify(&list[0]).unwrap(),
        Verdict::Wrong { what: "its SHA-256", expected, .. } if expected == model.sha256
    ));
    // A link whose blob is gone is no file.
    std::fs::remove_file(std::fs::canonicalize(&model.path).unwrap()).unwrap();
    assert_eq!(hub.list().unwrap().len(), 1);
    assert_eq!(hub.cached(&id, None).unwrap(), None);
    world.get(MODEL).unwrap();
    assert_eq!(hub.list().unwrap().len(), 2);
}

#[test]
fn an_empty_cache_is_an_empty_list() {
    let world = World::new();
    assert!(Hub::new(world.config()).unwrap().list().unwrap().is_empty());
}
