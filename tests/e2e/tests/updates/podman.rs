//! The same with Podman.

use muster_agent::runtime::{Engine as _, EngineKind};
use muster_agent::update::TransactionError;
use muster_e2e::engines::{Behaviour, Image, Podman, Pushed, Registry};

use super::stage::{CHANGES, client, plan, same_but, target, unexplained, update, updater};

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_container_is_updated_and_one_that_fails_is_put_back() {
    let registry = Registry::start(None).expect("a registry");
    let podman = Podman::start_trusting(Some(&registry)).expect("podman");
    let reference = format!("{}/app:1", registry.address());
    let make = |version: &'static str, behaviour| {
        podman
            .build(
                &reference,
                &Image {
                    changes: CHANGES,
                    ..Image::new(version, behaviour)
                },
            )
            .expect("an image");
        let file = podman.data_root().with_extension("digest");
        let file = file.to_str().expect("UTF-8");
        podman
            .cli(&[
                "push",
                "--quiet",
                "--tls-verify=false",
                "--digestfile",
                file,
                &reference,
            ])
            .expect("pushed");
        let id = podman.inspect(&reference).expect("an image")["Id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let manifest = std::fs::read_to_string(file).expect("a digest");
        Pushed {
            reference: reference.clone(),
            digest: manifest,
            image_id: id,
        }
    };
    let second = make("2", Behaviour::Runs);
    let bad = make("3", Behaviour::Crashes);
    let first = make("1", Behaviour::Runs);
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
