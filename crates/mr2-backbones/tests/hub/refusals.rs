//! 401, 403, 404, and where the token goes.

use mr2_backbones::weights::hub::{HubConfig, Secret};

use crate::server::{Reply, Server};
use crate::world::{MODEL, World, config, get};

const TOKEN: &str = "hf_never_shown";

fn with_token(world: &World) -> HubConfig {
    HubConfig {
        token: Secret::new(TOKEN),
        ..world.config()
    }
}

#[test]
fn the_token_goes_to_the_endpoint_only_and_into_no_message() {
    let world = World::new();
    get(with_token(&world), MODEL).unwrap();
    let header = format!("Bearer {TOKEN}");
    let requests = world.hub.take_requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|r| r.headers.get("authorization") == Some(&header))
    );
    let requests = world.cdn.take_requests();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].headers.contains_key("authorization"));
    let shown = format!("{:?}", with_token(&world));
    assert!(!shown.contains(TOKEN), "{shown}");
    world.hub_answers([Reply::new(401, TOKEN)]);
    let shown = get(with_token(&world), "hf:a/b:x").unwrap_err();
    assert!(!format!("{shown} {shown:?}").contains(TOKEN));
}

#[test]
fn an_address_that_is_signed_is_in_no_message() {
    let world = World::new();
    for _ in 0..6 {
        world.cdn_fault(|_, _| Reply::new(503, ""));
    }
    let error = world.failure(MODEL);
    assert!(
        error.contains("127.0.0.1 answers with status 503"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_refusal_says_what_to_do() {
    let world = World::new();
    let gated = |status| Reply::new(status, "").with("X-Error-Code", "GatedRepo");
    for (reply, token, part) in [
        (
            Reply::new(401, ""),
            false,
            "set HF_TOKEN to a token that may read it",
        ),
        (Reply::new(401, ""), true, "is not valid for it"),
        (
            gated(401),
            false,
            "Accept the licence on the model's page, and set HF_TOKEN",
        ),
        (
            gated(403),
            true,
            "with the account that the token belongs to",
        ),
    ] {
        world.hub_answers([reply]);
        let config = if token {
            with_token(&world)
        } else {
            world.config()
        };
        let error = get(config, MODEL).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(error.contains("hf:a/b@main:model.safetensors"), "{error}");
    }
    let said = Reply::new(403, "").with("X-Error-Message", "Only on weekdays");
    world.hub_answers([said]);
    assert!(
        world
            .failure(MODEL)
            .contains("(status 403): Only on weekdays.")
    );
    world.hub_answers([Reply::new(418, "")]);
    assert!(
        world
            .failure(MODEL)
            .contains("status 418, which is not of the Hub's protocol")
    );
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let world = World::new();
    let error = world.failure("hf:a/b:model.safetensor");
    for part in [
        "no such file: repository a/b, revision main, file model.safetensor",
        "It has 3 files, of like names: model.safetensors, ",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = world.failure("hf:a/b@v2:model.safetensors");
    assert!(
        error.contains("no such revision: repository a/b, revision v2"),
        "{error}"
    );
    let error = world.failure("hf:a/c:model.safetensors");
    assert!(
        error.contains("no such repository: repository a/c"),
        "{error}"
    );
    let error = world.failure("hf:a/b");
    assert!(error.contains("it names no file"), "{error}");
}

#[test]
fn redirects_end() {
    let round = Server::start(|_| Reply::new(307, "").with("Location", "/again"));
    let folder = tempfile::tempdir().unwrap();
    let error = get(config(&round.url, folder.path()), MODEL).unwrap_err();
    assert!(error.to_string().contains("over 10 redirects"), "{error}");
    let nowhere = Server::start(|_| Reply::new(302, "").with("Location", "file:///etc/passwd"));
    let error = get(config(&nowhere.url, folder.path()), MODEL).unwrap_err();
    assert!(
        error.to_string().contains("redirects to nowhere"),
        "{error}"
    );
}
