//! A container with every kind of option.

use muster_agent::runtime::{Engine as _, EngineKind};
use muster_agent::update::Transactions as _;
use muster_base::shutdown::CancellationToken;
use muster_e2e::engines::{Auth, Behaviour, Docker, Registry};
use muster_model::LogRange;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::{
    CHANGES, Deaf, client, plan, push_again, same_but, target, unexplained, update, updater, versions,
};

/// Every kind of option that this Docker knows and this machine allows.
fn run_with_everything(docker: &Docker, image: &str, name: &str) {
    for network in [["front", "10.251.31.0/24"], ["back", "10.251.32.0/24"]] {
        docker
            .cli(&["network", "create", "--subnet", network[1], network[0]])
            .expect("a network");
    }
    let args = "--env MINE=1 --env PATH=/bin:/mine --label team=x --label com.docker.compose.project=p \
        --label com.docker.compose.service=s --publish 127.0.0.1::8080 --volume named:/named --volume /tmp:/host:ro \
        --mount type=volume,source=mounted,target=/mounted --mount type=tmpfs,target=/scratch --tmpfs /tf:size=1m \
        --network front --ip 10.251.31.9 --network-alias alias --hostname chosen --cap-add NET_ADMIN --cap-drop MKNOD \
        --ulimit nofile=100:200 --memory 64m --cpus 0.5 --restart always --sysctl net.ipv4.ip_forward=0 \
        --stop-timeout 3 --stop-signal TERM --shm-size 32m --group-add 5 --add-host a:1.2.3.4 --dns 1.1.1.1 \
        --log-opt max-size=1m --user 0 --workdir /tmp --security-opt no-new-privileges --pids-limit 100 --oom-score-adj 5 \
        --device /dev/null:/dev/mine --read-only --health-cmd true --health-interval 1s --health-timeout 20s --expose 99";
    let mut all = vec!["create", "--name", name];
    all.extend(args.split_whitespace());
    all.push(image);
    docker.cli(&all).expect("a container");
    docker
        .cli(&[
            "network",
            "connect",
            "--alias",
            "second",
            "--ip",
            "10.251.32.9",
            "back",
            name,
        ])
        .expect("a network");
    docker.cli(&["start", name]).expect("a start");
    docker
        .cli(&[
            "exec",
            name,
            "sh",
            "-c",
            "echo kept > /named/f; echo kept > /anon/f; echo kept > /mounted/f",
        ])
        .expect("data");
}

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_container_with_every_option_differs_after_an_update_only_where_it_should() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    run_with_everything(&docker, &first.reference, "web");
    docker
        .cli(&[
            "run",
            "--detach",
            "--name",
            "side",
            "--network",
            "container:web",
            &first.reference,
        ])
        .expect("a side");
    let second = push_again(
        &docker,
        &registry,
        Behaviour::Runs,
        &["VOLUME /anon", "EXPOSE 8080", "ENV FROM_IMAGE=2"],
    );
    let before = docker.inspect("web").expect("it runs");
    let dir = tempfile::tempdir().expect("a folder");
    let client = client(&docker.socket(), EngineKind::Docker);
    let updater = updater(&client, dir.path());
    let (command, result) = update(
        &updater,
        &target(&client, "web"),
        &plan(&before, &second),
        &registry,
    )
    .await;
    let result = result.expect("an update");
    println!("{:#}", result["differences"]);
    println!("{:#}", result["notes"]);
    assert!(unexplained(&result).is_empty());
    let after = docker.inspect("web").expect("it runs");
    assert_ne!(before["Id"], after["Id"]);
    assert_eq!(after["Image"], second.image_id.as_str());
    same_but(&before, &after, "HostConfig", &["Binds"]);
    same_but(&before, &after, "Config", &["Env", "Labels"]);
    let mut env: Vec<&str> = after["Config"]["Env"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    env.sort_unstable();
    assert_eq!(env, ["FROM_IMAGE=2", "MINE=1", "PATH=/bin:/mine"]);
    assert_eq!(after["Config"]["Labels"]["version"], "2");
    for (network, address) in [("front", "10.251.31.9"), ("back", "10.251.32.9")] {
        assert_eq!(
            after["NetworkSettings"]["Networks"][network]["IPAddress"],
            address
        );
    }
    for place in ["/named/f", "/anon/f", "/mounted/f"] {
        assert_eq!(docker.cli(&["exec", "web", "cat", place]).expect("data"), "kept");
    }
    assert_eq!(
        docker
            .cli(&["exec", "web", "cat", "/version"])
            .expect("a version"),
        "2"
    );
    let side = docker.inspect("side").expect("it was made again");
    assert_eq!(side["State"]["Running"], true);
    let names = docker.cli(&["ps", "--format", "{{.Names}}"]).expect("a list");
    assert_eq!(
        names.lines().collect::<std::collections::BTreeSet<_>>(),
        ["side", "web"].into()
    );
    let lines = client
        .logs("web", &LogRange::default(), 10_000)
        .await
        .expect("a log");
    assert!(
        lines.iter().any(|line| line.text.contains("version 2 started")),
        "{lines:?}"
    );
    // And back.
    let cancel = CancellationToken::new();
    let back = updater
        .rollback(
            Uuid::new_v4(),
            &target(&client, "web"),
            command,
            None,
            &Deaf,
            &cancel,
        )
        .await;
    back.expect("a way back");
    let again = docker.inspect("web").expect("it runs");
    assert_eq!(
        (&again["Id"], &again["State"]["Running"]),
        (&before["Id"], &json!(true))
    );
    same_but(&before, &again, "HostConfig", &[]);
    same_but(&before, &again, "Config", &[]);
}
