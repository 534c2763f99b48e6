//! The same on a real podman, and what only podman has: networks whose addresses nobody shows to have been asked for.

use muster_agent::runtime::{Engine as _, EngineKind};
use muster_agent::update::{TransactionError, Transactions as _};
use muster_base::shutdown::CancellationToken;
use muster_e2e::engines::{Behaviour, Image, Podman, Pushed, Registry};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::{CHANGES, Deaf, client, plan, same_but, target, unexplained, update, updater};

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
    let args = [
        "push",
        "--quiet",
        "--tls-verify=false",
        "--digestfile",
        path,
        &reference,
    ];
    podman.cli(&args).expect("pushed");
    let inspect = podman.inspect(&reference).expect("an image");
    Pushed {
        digest: std::fs::read_to_string(file).expect("a digest"),
        image_id: inspect["Id"].as_str().expect("an id").to_owned(),
        reference,
    }
}

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_container_is_updated_and_one_that_fails_is_put_back() {
    let registry = Registry::start(None).expect("a registry");
    let podman = Podman::start_trusting(Some(&registry)).expect("podman");
    let second = push(&podman, &registry, "2", Behaviour::Runs);
    let bad = push(&podman, &registry, "3", Behaviour::Crashes);
    let first = push(&podman, &registry, "1", Behaviour::Runs);
    podman
        .cli(&[
            "run",
            "--detach",
            "--name",
            "web",
            "--env",
            "MINE=1",
            "--label",
            "team=x",
            "--volume",
            "named:/named",
            "--volume",
            "/tmp:/host:ro",
            "--memory",
            "64m",
            "--cpus",
            "0.5",
            "--hostname",
            "chosen",
            "--cap-add",
            "NET_ADMIN",
            "--tmpfs",
            "/tf",
            "--shm-size",
            "32m",
            "--add-host",
            "a:1.2.3.4",
            "--stop-timeout",
            "3",
            &first.reference,
        ])
        .expect("it runs");
    podman
        .cli(&[
            "exec",
            "web",
            "sh",
            "-c",
            "echo kept > /named/f; echo kept > /anon/f",
        ])
        .expect("data");
    let client = client(&podman.socket(), EngineKind::Podman);
    let before = client.inspect("web").await.expect("it runs");
    let dir = tempfile::tempdir().expect("a folder");
    let updater = updater(&client, dir.path());
    let mut crash = plan(&before, &bad);
    crash.to_digest.clone_from(&bad.digest);
    let (_, result) = update(&updater, &target(&client, "web"), &crash, &registry).await;
    println!("{result:?}");
    assert!(matches!(
        result,
        Err(TransactionError::Failed {
            reason: "unhealthy",
            ..
        })
    ));
    assert_eq!(
        podman.cli(&["exec", "web", "cat", "/version"]).expect("it runs"),
        "1"
    );
    let (_, result) = update(
        &updater,
        &target(&client, "web"),
        &plan(&before, &second),
        &registry,
    )
    .await;
    let result = result.expect("an update");
    println!("{:#} {:#}", result["differences"], result["notes"]);
    assert!(unexplained(&result).is_empty());
    let after = client.inspect("web").await.expect("it runs");
    same_but(&before, &after, "HostConfig", &["Binds"]);
    same_but(&before, &after, "Config", &["Env", "Labels", "Hostname"]);
    assert_eq!(
        podman.cli(&["exec", "web", "cat", "/version"]).expect("it runs"),
        "2"
    );
    for place in ["/named/f", "/anon/f"] {
        assert_eq!(podman.cli(&["exec", "web", "cat", place]).expect("data"), "kept");
    }
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

const FIXED: [&str; 3] = ["IPAddress", "GlobalIPv6Address", "MacAddress"];

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_containers_keep_the_addresses_that_were_asked_for_and_only_those() {
    let registry = Registry::start(None).expect("a registry");
    let podman = Podman::start_trusting(Some(&registry)).expect("podman");
    let second = push(&podman, &registry, "2", Behaviour::Runs);
    let bad = push(&podman, &registry, "3", Behaviour::Crashes);
    let first = push(&podman, &registry, "1", Behaviour::Runs);
    for (name, subnet) in [("mine", "10.251.41.0/24"), ("other", "10.251.42.0/24")] {
        podman
            .cli(&["network", "create", "--subnet", subnet, name])
            .expect("a network");
    }
    let run = |name: &str, args: &str| {
        let mut all = vec!["run", "--detach", "--stop-timeout=1", "--name", name];
        all.extend(args.split_whitespace());
        all.push(&first.reference);
        podman.cli(&all).expect("it runs");
    };
    run(
        "fixed",
        "--network mine --ip 10.251.41.9 --mac-address 92:d0:c6:0a:29:33 --network-alias db,base",
    );
    run("chosen", "--network=mine --network-alias=web");
    run(
        "both",
        "--network mine:ip=10.251.41.30,alias=left --network other:alias=right",
    );
    run("usual", "--ip=10.88.0.77");
    let client = client(&podman.socket(), EngineKind::Podman);
    let dir = tempfile::tempdir().expect("a folder");
    let updater = updater(&client, dir.path());
    for (name, version) in [
        ("fixed", &bad),
        ("fixed", &second),
        ("chosen", &second),
        ("both", &second),
        ("usual", &second),
    ] {
        let before = client.inspect(name).await.expect("it runs");
        let of: &[&str] = match name {
            "fixed" => &FIXED,
            "usual" => &["IPAddress"],
            _ => &[],
        };
        podman
            .cli(&["tag", &first.image_id, &first.reference])
            .expect("a tag");
        let plan = plan(&before, version);
        let (command, result) = update(&updater, &target(&client, name), &plan, &registry).await;
        if version.digest == bad.digest {
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
            let after = client.inspect(name).await.expect("it runs");
            assert_eq!(after["Id"], before["Id"]);
            assert_eq!(networks(&after, of), networks(&before, of));
            continue;
        }
        let result = result.expect("an update");
        println!("{name}: {:#} {:#}", result["differences"], result["notes"]);
        assert!(unexplained(&result).is_empty());
        let after = client.inspect(name).await.expect("it runs");
        assert_ne!(after["Id"], before["Id"], "{name}");
        assert_eq!(networks(&after, of), networks(&before, of), "{name}");
        same_but(&before, &after, "HostConfig", &["Binds"]);
        same_but(
            &before,
            &after,
            "Config",
            &["Env", "Labels", "Hostname", "MacAddress"],
        );
        if name == "both" {
            assert_eq!(
                after["NetworkSettings"]["Networks"]["mine"]["IPAddress"],
                "10.251.41.30"
            );
        }
        // What was made has no command line any more, and is known by its label the next time.
        if name == "fixed" {
            let never = CancellationToken::new();
            let back = updater
                .rollback(
                    Uuid::new_v4(),
                    &target(&client, name),
                    command,
                    None,
                    &Deaf,
                    &never,
                )
                .await;
            back.expect("a way back");
            let again = client.inspect(name).await.expect("it runs");
            assert_eq!(again["Id"], before["Id"]);
            assert_eq!(networks(&again, of), networks(&before, of));
        }
    }
    let made = client.inspect("both").await.expect("it runs");
    podman
        .cli(&["tag", &second.image_id, &first.reference])
        .expect("a tag");
    let (_, result) = update(
        &updater,
        &target(&client, "both"),
        &plan(&made, &first),
        &registry,
    )
    .await;
    assert!(unexplained(&result.expect("a second update")).is_empty());
    let after = client.inspect("both").await.expect("it runs");
    assert_eq!(
        after["NetworkSettings"]["Networks"]["mine"]["IPAddress"],
        "10.251.41.30"
    );
    assert_eq!(networks(&after, &[]), networks(&made, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_containers_whose_addresses_cannot_be_known_are_left_alone() {
    let registry = Registry::start(None).expect("a registry");
    let podman = Podman::start_trusting(Some(&registry)).expect("podman");
    let second = push(&podman, &registry, "2", Behaviour::Runs);
    let first = push(&podman, &registry, "1", Behaviour::Runs);
    for (name, subnet) in [("mine", "10.251.43.0/24"), ("late", "10.251.44.0/24")] {
        podman
            .cli(&["network", "create", "--subnet", subnet, name])
            .expect("a network");
    }
    let client = client(&podman.socket(), EngineKind::Podman);
    let args = [
        "run",
        "--detach",
        "--stop-timeout=1",
        "--name",
        "moved",
        "--network=mine",
        &first.reference,
    ];
    podman.cli(&args).expect("it runs");
    podman
        .cli(&["network", "connect", "late", "moved"])
        .expect("connected");
    // As a client of the compatible API, such as docker compose, makes one.
    let body = json!({
        "Image": first.reference, "HostConfig": {"NetworkMode": "mine"}, "StopTimeout": 1,
        "NetworkingConfig": {"EndpointsConfig": {"mine": {"IPAMConfig": {"IPv4Address": "10.251.43.9"}}}},
    });
    let id = client.create("api", None, &body).await.expect("it is made");
    client.start(&id).await.expect("it runs");
    let dir = tempfile::tempdir().expect("a folder");
    let updater = updater(&client, dir.path());
    for name in ["moved", "api"] {
        let before = client.inspect(name).await.expect("it runs");
        let (_, result) = update(
            &updater,
            &target(&client, name),
            &plan(&before, &second),
            &registry,
        )
        .await;
        println!("{name}: {result:?}");
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
        let after = client.inspect(name).await.expect("it runs");
        assert_eq!(
            (&after["Id"], &after["State"]["Running"]),
            (&before["Id"], &json!(true))
        );
    }
}
