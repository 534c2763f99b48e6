//! A container with every kind of option.

use muster_agent::runtime::{Engine as _, EngineKind};
use muster_e2e::engines::{Auth, Behaviour, Docker, Registry};
use muster_model::LogRange;
use serde_json::Value;

use super::stage::{CHANGES, CommandLine as _, Stage, done, is_the_same, push_again, same_but, versions};

/// Where the data are that an update must not lose.
const PLACES: [&str; 3] = ["/named/f", "/anon/f", "/mounted/f"];

/// Every kind of option that this Docker knows and this machine allows.
fn run_with_everything(docker: &Docker, image: &str, name: &str) {
    docker.say("network create --subnet 10.251.31.0/24 front", &[]);
    docker.say("network create --subnet 10.251.32.0/24 back", &[]);
    let args = "--env MINE=1 --env PATH=/bin:/mine --label team=x --label com.docker.compose.project=p \
        --label com.docker.compose.service=s --publish 127.0.0.1::8080 --volume named:/named --volume /tmp:/host:ro \
        --mount type=volume,source=mounted,target=/mounted --mount type=tmpfs,target=/scratch --tmpfs /tf:size=1m \
        --network front --ip 10.251.31.9 --network-alias alias --hostname chosen --cap-add NET_ADMIN --cap-drop MKNOD \
        --ulimit nofile=100:200 --memory 64m --cpus 0.5 --restart always --sysctl net.ipv4.ip_forward=0 \
        --stop-timeout 3 --stop-signal TERM --shm-size 32m --group-add 5 --add-host a:1.2.3.4 --dns 1.1.1.1 \
        --log-opt max-size=1m --user 0 --workdir /tmp --security-opt no-new-privileges --pids-limit 100 --oom-score-adj 5 \
        --device /dev/null:/dev/mine --read-only --health-cmd true --health-interval 1s --health-timeout 20s --expose 99";
    docker.say(&format!("create --name {name} {args}"), &[image]);
    docker.say("network connect --alias second --ip 10.251.32.9 back", &[name]);
    docker.say("start", &[name]);
    docker.put_data(name, &PLACES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_container_with_every_option_differs_after_an_update_only_where_it_should() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    run_with_everything(&docker, &first.reference, "web");
    docker.say(
        "run --detach --name side --network container:web",
        &[&first.reference],
    );
    let second = push_again(
        &docker,
        &registry,
        Behaviour::Runs,
        &["VOLUME /anon", "EXPOSE 8080", "ENV FROM_IMAGE=2"],
    );
    let before = docker.inspect("web").expect("it runs");
    let stage = Stage::over(&docker.socket(), EngineKind::Docker);
    let (command, result) = stage.update(("web", &before), &second, &registry).await;
    done(result);
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
    docker.has_data("web", &PLACES);
    assert_eq!(docker.version_of("web"), "2");
    let side = docker.inspect("side").expect("it was made again");
    assert_eq!(side["State"]["Running"], true);
    let names = docker.say("ps --format {{.Names}}", &[]);
    assert_eq!(
        names.lines().collect::<std::collections::BTreeSet<_>>(),
        ["side", "web"].into()
    );
    let lines = stage
        .client
        .logs("web", &LogRange::default(), 10_000)
        .await
        .expect("a log");
    assert!(
        lines.iter().any(|line| line.text.contains("version 2 started")),
        "{lines:?}"
    );
    // And back.
    stage.roll_back("web", command).await;
    let again = docker.inspect("web").expect("it runs");
    is_the_same(&before, &again);
    same_but(&before, &again, "HostConfig", &[]);
    same_but(&before, &again, "Config", &[]);
}
