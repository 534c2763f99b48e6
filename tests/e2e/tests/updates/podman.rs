//! The same on a real podman, and what only podman has: networks whose addresses nobody shows to have been asked for.

use muster_agent::runtime::{Engine as _, EngineKind};
use muster_agent::update::TransactionError;
use muster_e2e::engines::{Behaviour, Image, Podman, Pushed, Registry};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::{CHANGES, CommandLine as _, Stage, done, is_the_same, same_but};

/// A version under the tag of all of them, here and in the registry.
fn push(podman: &Podman, registry: &Registry, version: &'static str, behaviour: Behaviour) -> Pushed {
    let reference = format!("{}/app:1", registry.address());
    let image = Image {
        changes: CHANGES,
        ..Image::new(version, behaviour)
    };
    podman.build(&reference, &image).expect("an image");
    let file = podman.data_root().with_extension("digest");
    let path = file.to_str().expect("UTF-8");
    podman.say(
        "push --quiet --tls-verify=false --digestfile",
        &[path, &reference],
    );
    let inspect = podman.inspect(&reference).expect("an image");
    Pushed {
        digest: std::fs::read_to_string(file).expect("a digest"),
        image_id: inspect["Id"].as_str().expect("an id").to_owned(),
        reference,
    }
}

/// A registry with versions 1, 2 and a 3 that crashes, and a podman whose tag names version 1.
fn begin() -> (Registry, Podman, [Pushed; 3]) {
    let registry = Registry::start(None).expect("a registry");
    let podman = Podman::start_trusting(Some(&registry)).expect("podman");
    let second = push(&podman, &registry, "2", Behaviour::Runs);
    let bad = push(&podman, &registry, "3", Behaviour::Crashes);
    let first = push(&podman, &registry, "1", Behaviour::Runs);
    (registry, podman, [first, second, bad])
}

#[track_caller]
fn is_unhealthy(result: &Result<Value, TransactionError>) {
    assert!(
        matches!(
            result,
            Err(TransactionError::Failed {
                reason: "unhealthy",
                ..
            })
        ),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_container_is_updated_and_one_that_fails_is_put_back() {
    const PLACES: [&str; 2] = ["/named/f", "/anon/f"];
    let (registry, podman, [first, second, bad]) = begin();
    let run = "run --detach --name web --env MINE=1 --label team=x --volume named:/named --volume /tmp:/host:ro \
        --memory 64m --cpus 0.5 --hostname chosen --cap-add NET_ADMIN --tmpfs /tf --shm-size 32m --add-host a:1.2.3.4 \
        --stop-timeout 3";
    podman.say(run, &[&first.reference]);
    podman.put_data("web", &PLACES);
    let stage = Stage::over(&podman.socket(), EngineKind::Podman);
    let before = stage.inspect("web").await;
    let (_, result) = stage.update(("web", &before), &bad, &registry).await;
    is_unhealthy(&result);
    assert_eq!(podman.version_of("web"), "1");
    let (_, result) = stage.update(("web", &before), &second, &registry).await;
    done(result);
    let after = stage.inspect("web").await;
    same_but(&before, &after, "HostConfig", &["Binds"]);
    same_but(&before, &after, "Config", &["Env", "Labels", "Hostname"]);
    assert_eq!(podman.version_of("web"), "2");
    podman.has_data("web", &PLACES);
}

/// Networks of the container that has this name: for each what an engine shows of it that is not of one start alone.
fn networks(inspect: &Value, of: &[&str]) -> Vec<(String, Value)> {
    let id = inspect["Id"].as_str().expect("an id");
    let networks = inspect["NetworkSettings"]["Networks"]
        .as_object()
        .expect("networks");
    let kept = networks.iter().map(|(name, endpoint)| {
        let mut aliases: Vec<&str> = endpoint["Aliases"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        aliases.retain(|alias| !id.starts_with(alias));
        aliases.sort_unstable();
        let mut shown = json!({"aliases": aliases});
        for key in of {
            shown[*key] = endpoint[*key].clone();
        }
        (name.clone(), shown)
    });
    kept.collect()
}

/// How containers are run, beside their networks.
const RUN: &str = "run --detach --stop-timeout=1";

const FIXED: [&str; 3] = ["IPAddress", "GlobalIPv6Address", "MacAddress"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_containers_keep_the_addresses_that_were_asked_for_and_only_those() {
    let (registry, podman, [first, second, bad]) = begin();
    podman.say("network create --subnet 10.251.41.0/24 mine", &[]);
    podman.say("network create --subnet 10.251.42.0/24 other", &[]);
    for (name, networks) in [
        (
            "fixed",
            "--network mine --ip 10.251.41.9 --mac-address 92:d0:c6:0a:29:33 --network-alias db,base",
        ),
        ("chosen", "--network=mine --network-alias=web"),
        (
            "both",
            "--network mine:ip=10.251.41.30,alias=left --network other:alias=right",
        ),
        ("usual", "--ip=10.88.0.77"),
    ] {
        let run = format!("{RUN} --name {name} {networks}");
        podman.say(&run, &[&first.reference]);
    }
    let stage = Stage::over(&podman.socket(), EngineKind::Podman);
    let (_, result) = moved(&stage, "fixed", &FIXED, &bad, &registry).await;
    is_unhealthy(&result);
    for (name, of) in [
        ("fixed", &FIXED[..]),
        ("chosen", &[]),
        ("both", &[]),
        ("usual", &["IPAddress"]),
    ] {
        podman.say("tag", &[&first.image_id, &first.reference]);
        let before = stage.inspect(name).await;
        let (command, result) = moved(&stage, name, of, &second, &registry).await;
        done(result);
        let after = stage.inspect(name).await;
        assert_ne!(after["Id"], before["Id"], "{name}");
        same_but(&before, &after, "HostConfig", &["Binds"]);
        same_but(
            &before,
            &after,
            "Config",
            &["Env", "Labels", "Hostname", "MacAddress"],
        );
        // What was made has no command line any more, and is known by its label the next time.
        if name == "fixed" {
            stage.roll_back(name, command).await;
            let again = stage.inspect(name).await;
            is_the_same(&before, &again);
            assert_eq!(networks(&again, of), networks(&before, of));
        }
    }
    podman.say("tag", &[&second.image_id, &first.reference]);
    let (_, result) = moved(&stage, "both", &[], &first, &registry).await;
    done(result);
    let after = stage.inspect("both").await;
    assert_eq!(
        after["NetworkSettings"]["Networks"]["mine"]["IPAddress"],
        "10.251.41.30"
    );
}

/// An update after which the container of this name, whichever it is, has the networks that it had.
async fn moved(
    stage: &Stage,
    name: &str,
    of: &[&str],
    to: &Pushed,
    registry: &Registry,
) -> (Uuid, Result<Value, TransactionError>) {
    let before = stage.inspect(name).await;
    let ended = stage.update((name, &before), to, registry).await;
    let after = stage.inspect(name).await;
    assert_eq!(networks(&after, of), networks(&before, of), "{name}: {ended:?}");
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_containers_whose_addresses_cannot_be_known_are_left_alone() {
    let (registry, podman, [first, second, _]) = begin();
    podman.say("network create --subnet 10.251.43.0/24 mine", &[]);
    podman.say("network create --subnet 10.251.44.0/24 late", &[]);
    let run = format!("{RUN} --name moved --network=mine");
    podman.say(&run, &[&first.reference]);
    podman.say("network connect late moved", &[]);
    let stage = Stage::over(&podman.socket(), EngineKind::Podman);
    // As a client of the compatible API, such as docker compose, makes one.
    let body = json!({
        "Image": first.reference, "HostConfig": {"NetworkMode": "mine"}, "StopTimeout": 1,
        "NetworkingConfig": {"EndpointsConfig": {"mine": {"IPAMConfig": {"IPv4Address": "10.251.43.9"}}}},
    });
    let id = stage.client.create("api", None, &body).await.expect("it is made");
    stage.client.start(&id).await.expect("it runs");
    for name in ["moved", "api"] {
        let before = stage.inspect(name).await;
        let (_, result) = stage.update((name, &before), &second, &registry).await;
        assert!(
            matches!(
                &result,
                Err(TransactionError::Refused {
                    reason: "podman_network",
                    ..
                })
            ),
            "{name}: {result:?}"
        );
        is_the_same(&before, &stage.inspect(name).await);
    }
}
