//! Two at once: one fetches, the other waits and takes what is there.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use mr2_backbones::weights::hub::{Hub, HubConfig, HubId, Progress};

use crate::server::Reply;
use crate::world::{MODEL, World, config, get, sha256};

const ENDPOINT: &str = "MR2_TEST_HUB_ENDPOINT";
const HOME: &str = "MR2_TEST_HUB_HOME";

/// Half a second for the download.
fn slow(world: &World) {
    world.cdn_fault(|_, reply| Reply {
        pause: Some((100_000, Duration::from_millis(50))),
        ..reply
    });
}

#[test]
fn of_two_processes_one_fetches_and_the_other_takes_it() {
    // What the other processes run.
    if let (Ok(endpoint), Some(home)) = (std::env::var(ENDPOINT), std::env::var_os(HOME)) {
        get(config(&endpoint, &PathBuf::from(home)), MODEL).unwrap();
        return;
    }
    let world = World::new();
    slow(&world);
    let this = "processes::of_two_processes_one_fetches_and_the_other_takes_it";
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", this])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .env(ENDPOINT, &world.hub.url)
            .env(HOME, world.path("home"));
        command.spawn().unwrap()
    };
    for child in [start(), start()] {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("1 passed"), "{text}");
    }
    assert_eq!(world.ranges(), [None], "the bytes are sent once");
}

#[test]
fn who_waits_says_so_and_a_holder_without_progress_is_named() {
    let world = World::new();
    let etag = sha256(&world.state.lock().unwrap().model);
    let lock = world
        .path("home/hub/.locks/models--a--b")
        .join(format!("{etag}.lock"));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let holder = std::fs::File::create(&lock).unwrap();
    holder.lock().unwrap();
    let hub = Hub::new(HubConfig {
        stall_timeout: Duration::from_millis(300),
        ..world.config()
    });
    let id = HubId::parse(MODEL).unwrap();
    let mut waited = 0;
    let hub = hub.unwrap();
    let error = hub.file(&id, None, &mut |progress| {
        assert!(matches!(
            progress,
            Progress::Waiting {
                bytes: 0,
                total: Some(1_000_000)
            }
        ));
        waited += 1;
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("another process has been fetching"),
        "{error}"
    );
    assert!(error.contains(&format!("{etag}.lock")), "{error}");
    assert!(waited > 1);
    // A holder that dies gives the lock back.
    drop(holder);
    hub.file(&id, None, &mut |_| {}).unwrap();
}

#[test]
fn threads_with_hubs_of_their_own_agree_on_one_download_and_one_record() {
    let world = World::new();
    slow(&world);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.get(MODEL).unwrap()))
            .collect();
        let files: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(files.iter().all(|file| *file == files[0]));
    });
    assert_eq!(world.ranges(), [None]);
}
