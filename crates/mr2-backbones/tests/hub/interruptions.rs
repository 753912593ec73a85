//! Dropped connections, busy servers, servers that fall silent.

use std::time::{Duration, Instant};

use mr2_backbones::weights::hub::HubConfig;

use crate::server::Reply;
use crate::world::{MODEL, SMALL, World, get, sha256};

fn whole(world: &World) {
    let model = world.state.lock().unwrap().model.clone();
    let file = world.get(MODEL).unwrap();
    assert_eq!(std::fs::read(file.path).unwrap(), model);
}

#[test]
fn a_dropped_connection_is_taken_up_where_it_broke() {
    let world = World::new();
    for cut in [300_000, 200_000] {
        world.cdn_fault(move |_, reply| Reply {
            cut: Some(cut),
            ..reply
        });
    }
    whole(&world);
    let from = |bytes: usize| Some(format!("bytes={bytes}-"));
    assert_eq!(world.ranges(), [None, from(300_000), from(500_000)]);
}

#[test]
fn a_later_process_goes_on_with_what_an_earlier_one_left() {
    let world = World::new();
    let impatient = HubConfig {
        tries: 1,
        ..world.config()
    };
    world.cdn_fault(|_, reply| Reply {
        cut: Some(400_000),
        ..reply
    });
    let error = get(impatient, MODEL).unwrap_err().to_string();
    assert!(error.contains("what has been fetched is kept"), "{error}");
    world.ranges();
    whole(&world);
    assert_eq!(world.ranges(), [Some("bytes=400000-".to_string())]);
}

#[test]
fn a_server_that_ignores_the_range_or_sends_another_begins_anew() {
    let world = World::new();
    let cut = |_: &_, reply| Reply {
        cut: Some(400_000),
        ..reply
    };
    world.cdn_fault(cut);
    let model = world.state.lock().unwrap().model.clone();
    world.cdn_fault(move |_, _| Reply::new(200, model));
    whole(&world);
    let world = World::new();
    world.cdn_fault(cut);
    world.cdn_fault(|_, reply| {
        let mut reply = reply;
        reply.headers = vec![("Content-Range".to_string(), "bytes 0-9/1000000".to_string())];
        reply
    });
    whole(&world);
    assert_eq!(world.ranges().len(), 3);
}

#[test]
fn what_is_left_over_and_wrong_is_fetched_anew() {
    let world = World::new();
    let etag = sha256(&world.state.lock().unwrap().model);
    let blobs = world.repository("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{etag}.incomplete"));
    for left in [500, 1_000_000, 1_000_001] {
        std::fs::write(&part, vec![7; left]).unwrap();
        whole(&world);
        std::fs::remove_file(blobs.join(&etag)).unwrap();
    }
}

#[test]
fn a_busy_server_is_asked_again_after_as_long_as_it_says() {
    let world = World::new();
    world.hub_answers([
        Reply::new(500, ""),
        Reply::new(429, "").with("Retry-After", 1),
    ]);
    world.cdn_fault(|_, _| Reply::new(503, "busy"));
    // An address that has expired.
    world.cdn_fault(|_, _| Reply::new(403, "<Error>expired</Error>"));
    let began = Instant::now();
    whole(&world);
    assert!(began.elapsed() >= Duration::from_secs(1));
    world.hub_answers([Reply::new(429, "").with("Retry-After", 4000)]);
    let error = world.failure(SMALL);
    assert!(
        error.contains("status 429; it asks to wait 4000 s (tried 1 times)"),
        "{error}"
    );
}

#[test]
fn a_server_that_never_gets_further_is_given_up() {
    let world = World::new();
    for _ in 0..20 {
        // Neither a range nor more than the first bytes, ever.
        let model = world.state.lock().unwrap().model.clone();
        world.cdn_fault(move |_, _| Reply {
            cut: Some(1000),
            ..Reply::new(200, model)
        });
    }
    let error = world.failure(MODEL);
    assert!(error.contains("(tried 6 times)"), "{error}");
}

#[test]
fn slow_is_not_silent() {
    let world = World::new();
    let brief = || HubConfig {
        read_timeout: Duration::from_millis(1500),
        tries: 2,
        ..world.config()
    };
    // Longer in all than the time-out, but never silent for as long.
    world.cdn_fault(|_, reply| Reply {
        pause: Some((100_000, Duration::from_millis(200))),
        ..reply
    });
    get(brief(), MODEL).unwrap();
    assert_eq!(world.ranges().len(), 1);
    let world = World::new();
    for _ in 0..2 {
        world.cdn_fault(|_, reply| Reply {
            pause: Some((1000, Duration::from_secs(60))),
            ..reply
        });
    }
    let silent = HubConfig {
        read_timeout: Duration::from_millis(300),
        tries: 1,
        ..world.config()
    };
    let began = Instant::now();
    let error = get(silent, MODEL).unwrap_err().to_string();
    assert!(error.contains("timeout"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}
