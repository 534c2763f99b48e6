//! Updates on a real dockerd and podman with a real registry: version 1 with every kind of option, version 2 under the
//! same tag.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_agent::clocks::ClockReader;
use muster_agent::runtime::{Client, Endpoint, Engine, EngineKind, RegistryAuth};
use muster_agent::update::{Engines, Patience, Tell, TransactionError, Transactions as _, Updater};
use muster_base::shutdown::CancellationToken;
use muster_e2e::engines::{Auth, Behaviour, Docker, Image, Podman, Pushed, Registry};
use muster_model::{Clock, ContainerTarget, LogRange, ResourceKey, UpdatePlan};
use serde_json::{Value, json};
use uuid::Uuid;

struct One(Arc<Client>);

impl Engines for One {
    fn find(&self, _: &ResourceKey) -> Option<Arc<dyn Engine>> {
        Some(Arc::clone(&self.0) as Arc<dyn Engine>)
    }
}

struct Deaf;

impl Tell for Deaf {
    fn step(&self, _: &'static str, _: Option<f64>, _: &str) {}
}

/// Cancels the transaction's task at a step, as a death of the agent would.
struct DiesAt(&'static str, CancellationToken);

impl Tell for DiesAt {
    fn step(&self, step: &'static str, _: Option<f64>, _: &str) {
        if step == self.0 {
            self.1.cancel();
        }
    }
}

fn client(socket: &Path, kind: EngineKind) -> Arc<Client> {
    let key = if kind == EngineKind::Docker {
        "runtime:docker"
    } else {
        "runtime:podman"
    };
    Arc::new(Client::new(&Endpoint {
        key: ResourceKey::new(key),
        kind,
        socket: Utf8PathBuf::from_path_buf(socket.to_owned()).expect("UTF-8"),
    }))
}

fn updater(client: &Arc<Client>, data: &Path) -> Updater {
    let clock = ClockReader::new(|| Clock {
        wall_ms: jiff::Timestamp::now().as_millisecond(),
        boottime_ms: 0,
        boot_id: String::new(),
    });
    let patience = Patience {
        pace: Duration::from_millis(200),
        patience: Duration::from_secs(120),
    };
    let data = Utf8PathBuf::from_path_buf(data.to_owned()).expect("UTF-8");
    Updater::new(
        Arc::new(One(Arc::clone(client))),
        Arc::new(Firm),
        &data,
        clock,
        patience,
    )
}

/// The disk of a machine that builds is often nearly full, which is not what is tried here.
struct Firm;

#[async_trait::async_trait]
impl muster_agent::update::Ground for Firm {
    async fn objection(&self, _: &ContainerTarget, _: &[String]) -> Option<String> {
        None
    }

    async fn room(&self, _: &str) -> Option<muster_agent::update::Room> {
        None
    }
}

fn target(client: &Client, name: &str) -> ContainerTarget {
    ContainerTarget {
        runtime: client.key().clone(),
        name: name.to_owned(),
        container_id: None,
    }
}

fn plan(from: &Value, to: &Pushed) -> UpdatePlan {
    let id = from["Image"].as_str().expect("an image");
    UpdatePlan {
        image: to.reference.clone(),
        from_image_id: if id.contains(':') {
            id.to_owned()
        } else {
            format!("sha256:{id}")
        },
        to_digest: to.digest.clone(),
        platform: None,
        health_timeout_ms: 60_000,
        stable_ms: 3_000,
        grace_ms: 3_600_000,
        dry_run: false,
    }
}

fn auth(registry: &Registry) -> RegistryAuth {
    RegistryAuth {
        registry: registry.address().to_string(),
        username: Auth::BASIC.username.to_owned(),
        password: Auth::BASIC.password.to_owned(),
    }
}

/// Version 1 is here and runs, version 2 is in the registry only, under the same tag.
fn versions(docker: &Docker, registry: &Registry, two: Behaviour, changes: &[&str]) -> (Pushed, Pushed) {
    let of = |version: &'static str, behaviour| Image {
        changes,
        ..Image::new(version, behaviour)
    };
    let second = docker
        .build_and_push(registry, "app", "1", &of("2", two))
        .expect("version 2");
    docker.forget(&[&second.reference]).expect("nobody uses it");
    let first = docker
        .build_and_push(registry, "app", "1", &of("1", Behaviour::Runs))
        .expect("version 1");
    // The tag is to name version 2 there; here it names version 1.
    (first, second)
}

fn push_again(docker: &Docker, registry: &Registry, two: Behaviour, changes: &[&str]) -> Pushed {
    let first = docker
        .inspect(&format!("{}/app:1", registry.address()))
        .expect("version 1");
    let image = Image {
        changes,
        ..Image::new("2", two)
    };
    let pushed = docker
        .build_and_push(registry, "app", "1", &image)
        .expect("version 2");
    let digest = format!("{}/app@{}", registry.address(), pushed.digest);
    docker
        .cli(&["tag", first["Id"].as_str().expect("an id"), &pushed.reference])
        .expect("a tag");
    let _ = docker.cli(&["rmi", "--force", &digest]);
    let _ = docker.cli(&["rmi", &pushed.image_id]);
    pushed
}

const CHANGES: &[&str] = &["VOLUME /anon", "EXPOSE 8080", "ENV FROM_IMAGE=1"];

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

fn unexplained(result: &Value) -> Vec<&Value> {
    let all = result["differences"].as_array().expect("a list");
    all.iter().filter(|one| one["why"].is_null()).collect()
}

fn same_but(before: &Value, after: &Value, part: &str, allowed: &[&str]) {
    let keys = before[part]
        .as_object()
        .expect("an object")
        .keys()
        .chain(after[part].as_object().expect("an object").keys());
    for key in keys {
        if !allowed.contains(&key.as_str()) {
            assert_eq!(before[part][key], after[part][key], "{part}/{key}");
        }
    }
}

async fn update(
    updater: &Updater,
    target: &ContainerTarget,
    plan: &UpdatePlan,
    registry: &Registry,
) -> (Uuid, Result<Value, TransactionError>) {
    let command = Uuid::new_v4();
    let cancel = CancellationToken::new();
    let auth = Some(auth(registry));
    (
        command,
        updater.update(command, target, plan, auth, &Deaf, &cancel).await,
    )
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
        .rollback(Uuid::new_v4(), &target(&client, "web"), command, &Deaf, &cancel)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_versions_that_fail_leave_the_old_container_running_with_its_data() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    docker
        .cli(&[
            "run",
            "--detach",
            "--name",
            "web",
            "--restart",
            "always",
            "--volume",
            "named:/named",
            &first.reference,
        ])
        .expect("it runs");
    docker
        .cli(&[
            "exec",
            "web",
            "sh",
            "-c",
            "echo kept > /named/f; echo kept > /anon/f",
        ])
        .expect("data");
    let before = docker.inspect("web").expect("it runs");
    let dir = tempfile::tempdir().expect("a folder");
    let client = client(&docker.socket(), EngineKind::Docker);
    let updater = updater(&client, dir.path());
    for (behaviour, reason) in [
        (Behaviour::Crashes, "unhealthy"),
        (Behaviour::NeverHealthy, "unhealthy"),
        (Behaviour::BrokenEntrypoint, "start"),
    ] {
        let second = push_again(&docker, &registry, behaviour, CHANGES);
        let (_, result) = update(
            &updater,
            &target(&client, "web"),
            &plan(&before, &second),
            &registry,
        )
        .await;
        failed(&result, reason, Some(&second.digest));
        as_before(&docker, &before);
    }
    let mut gone = push_again(&docker, &registry, Behaviour::Runs, CHANGES);
    gone.digest = format!("sha256:{}", "0".repeat(64));
    let (_, result) = update(
        &updater,
        &target(&client, "web"),
        &plan(&before, &gone),
        &registry,
    )
    .await;
    failed(&result, "pull", None);
    as_before(&docker, &before);
}

fn failed(result: &Result<Value, TransactionError>, reason: &str, bad: Option<&str>) {
    let Err(TransactionError::Failed {
        reason: why,
        message,
        result: Some(told),
    }) = result
    else {
        panic!("{result:?}");
    };
    #[expect(clippy::print_stdout, reason = "figures of a test are printed")]
    {
        println!("{why}: {message}");
    }
    assert_eq!(*why, reason, "{message}");
    assert_eq!(told["bad_digest"].as_str(), bad, "{message}");
}

fn as_before(docker: &Docker, before: &Value) {
    let after = docker.inspect("web").expect("it runs");
    assert_eq!(
        (&after["Id"], &after["State"]["Running"]),
        (&before["Id"], &json!(true))
    );
    same_but(before, &after, "HostConfig", &[]);
    same_but(before, &after, "Config", &[]);
    for place in ["/named/f", "/anon/f"] {
        assert_eq!(docker.cli(&["exec", "web", "cat", place]).expect("data"), "kept");
    }
    let all = docker
        .cli(&["ps", "--all", "--format", "{{.Names}}"])
        .expect("a list");
    assert_eq!(all, "web");
    let tag = docker
        .inspect(after["Config"]["Image"].as_str().expect("a name"))
        .expect("an image");
    assert_eq!(tag["Id"], after["Image"], "the name is the old image's again");
}

/// Somebody else takes the port as soon as the old container has left it, until it is wanted back.
struct Thief {
    port: u16,
    held: std::sync::Mutex<Option<std::net::TcpListener>>,
}

impl Tell for Thief {
    fn step(&self, step: &'static str, _: Option<f64>, _: &str) {
        let mut held = self.held.lock().expect("nobody panics");
        match step {
            "start" => {
                // Whoever forwards it for the engine may take a moment to let it go.
                for _ in 0..500 {
                    *held = std::net::TcpListener::bind(("127.0.0.1", self.port)).ok();
                    if held.is_some() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                panic!("port {} does not become free", self.port);
            }
            "rollback" => *held = None,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_version_whose_port_somebody_takes_leaves_the_old_container_running_with_its_data() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let publish = format!("127.0.0.1:{port}:8080");
    let volume = ["--volume", "named:/named", "--restart", "always"];
    let mut run = vec!["run", "--detach", "--name", "web", "--publish", publish.as_str()];
    run.extend(volume);
    run.push(first.reference.as_str());
    docker.cli(&run).expect("it runs");
    let data = "echo kept > /named/f; echo kept > /anon/f";
    docker.cli(&["exec", "web", "sh", "-c", data]).expect("data");
    let before = docker.inspect("web").expect("it runs");
    let second = push_again(&docker, &registry, Behaviour::Runs, CHANGES);
    let dir = tempfile::tempdir().expect("a folder");
    let client = client(&docker.socket(), EngineKind::Docker);
    let updater = updater(&client, dir.path());
    let thief = Thief {
        port,
        held: std::sync::Mutex::default(),
    };
    let (target, plan) = (target(&client, "web"), plan(&before, &second));
    let cancel = CancellationToken::new();
    let auth = Some(auth(&registry));
    let result = updater
        .update(Uuid::new_v4(), &target, &plan, auth, &thief, &cancel)
        .await;
    // It is this server's fault, and no other server is kept from trying the image.
    failed(&result, "start", None);
    as_before(&docker, &before);
}

/// The promise is 30 s from when agent and engine run again until exactly one of the two runs; this is what is waited for
/// on a machine that is slow and busy with other things, where Docker alone may take ten times as long as elsewhere.
const LIMIT: Duration = Duration::from_secs(30 * 4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_agent_or_engine_killed_in_the_middle_ends_with_exactly_one_running() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let mut docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    let second = push_again(&docker, &registry, Behaviour::Runs, CHANGES);
    let client = client(&docker.socket(), EngineKind::Docker);
    for (round, (step, engine_too)) in [
        ("create", false),
        ("stop", false),
        ("start", false),
        ("health", false),
        ("stop", true),
    ]
    .into_iter()
    .enumerate()
    {
        docker
            .cli(&["tag", &first.image_id, &first.reference])
            .expect("a tag");
        docker
            .cli(&[
                "run",
                "--detach",
                "--name",
                "web",
                "--volume",
                "named:/named",
                &first.image_id,
            ])
            .expect("it runs");
        let before = docker.inspect("web").expect("it runs");
        let dir = tempfile::tempdir().expect("a folder");
        let dead = CancellationToken::new();
        let (command, cancel) = (Uuid::new_v4(), CancellationToken::new());
        {
            let updater = updater(&client, dir.path());
            let tell = DiesAt(step, dead.clone());
            let (target, plan) = (target(&client, "web"), plan(&before, &second));
            tokio::select! {
                biased;
                () = dead.cancelled() => {}
                result = updater.update(command, &target, &plan, Some(auth(&registry)), &tell, &cancel) => panic!("{result:?}"),
            }
        }
        if engine_too {
            docker.kill().expect("dockerd");
            docker.start_again().expect("dockerd");
        }
        let began = std::time::Instant::now();
        let told = updater(&client, dir.path()).reconcile().await;
        let took = began.elapsed();
        println!("round {round}, {step}: exactly one within {took:?}: {told:?}");
        assert!(took <= LIMIT, "round {round}: {took:?}");
        assert_eq!(told.len(), 1);
        let names = docker.cli(&["ps", "--format", "{{.Names}}"]).expect("a list");
        assert_eq!(names, "web", "round {round}");
        for name in docker
            .cli(&["ps", "--all", "--format", "{{.Names}}"])
            .expect("a list")
            .lines()
        {
            docker.cli(&["rm", "--force", name]).expect("removed");
        }
    }
}

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
