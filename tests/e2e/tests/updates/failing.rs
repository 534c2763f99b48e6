//! Versions that cannot take the place of the old one.

use std::time::Duration;

use muster_agent::runtime::EngineKind;
use muster_agent::update::{Tell, TransactionError};
use muster_e2e::engines::{Auth, Behaviour, Docker, Registry};
use serde_json::Value;

use super::stage::{CHANGES, CommandLine as _, Stage, is_the_same, push_again, same_but, versions};

/// Where the data are that no update may lose.
const PLACES: [&str; 2] = ["/named/f", "/anon/f"];
/// How the container is run, beside what a test adds.
const RUN: &str = "run --detach --name web --restart always --volume named:/named";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_versions_that_fail_leave_the_old_container_running_with_its_data() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    docker.say(RUN, &[&first.reference]);
    docker.put_data("web", &PLACES);
    let before = docker.inspect("web").expect("it runs");
    let stage = Stage::over(&docker.socket(), EngineKind::Docker);
    for (behaviour, reason) in [
        (Behaviour::Crashes, "unhealthy"),
        (Behaviour::NeverHealthy, "unhealthy"),
        (Behaviour::BrokenEntrypoint, "start"),
    ] {
        let second = push_again(&docker, &registry, behaviour, CHANGES);
        let (_, result) = stage.update(("web", &before), &second, &registry).await;
        failed(&result, reason, Some(&second.digest));
        as_before(&docker, &before);
    }
    let mut gone = push_again(&docker, &registry, Behaviour::Runs, CHANGES);
    gone.digest = format!("sha256:{}", "0".repeat(64));
    let (_, result) = stage.update(("web", &before), &gone, &registry).await;
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
    is_the_same(before, &after);
    same_but(before, &after, "HostConfig", &[]);
    same_but(before, &after, "Config", &[]);
    docker.has_data("web", &PLACES);
    assert_eq!(docker.say("ps --all --format {{.Names}}", &[]), "web");
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
    docker.say(RUN, &["--publish", &publish, &first.reference]);
    docker.put_data("web", &PLACES);
    let before = docker.inspect("web").expect("it runs");
    let second = push_again(&docker, &registry, Behaviour::Runs, CHANGES);
    let stage = Stage::over(&docker.socket(), EngineKind::Docker);
    let thief = Thief {
        port,
        held: std::sync::Mutex::default(),
    };
    let (_, result) = stage
        .update_told(("web", &before), &second, &registry, &thief)
        .await;
    // It is this server's fault, and no other server is kept from trying the image.
    failed(&result, "start", None);
    as_before(&docker, &before);
}
