//! Containers of a real dockerd, seen through a whole agent and controller.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::engines::{Behaviour, Docker, Image, Podman};
use muster_e2e::{World, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);
/// What the six panels of Grafana dashboard 14282 ask for, each with a container's name that is not empty.
const OF_DASHBOARD: [&str; 7] = [
    "container_cpu_usage_seconds_total",
    "container_memory_rss",
    "container_memory_cache",
    "container_network_receive_bytes_total",
    "container_network_transmit_bytes_total",
    "container_start_time_seconds",
    "container_last_seen",
];

/// The collector's own turn comes once in an hour here: whatever is seen was seen for the engine's events.
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread")]
async fn containers_come_stop_and_fall_silent_with_their_engine_and_feed_the_dashboard() -> Result<()> {
    let docker = Docker::start()?;
    docker.build("lab/app:1", &Image::new("1", Behaviour::Runs))?;
    let world = World::start().await?;
    let settings = world.dir().join("agent.toml");
    let text = format!(
        "[collect.intervals]\ncontainers = \"1h\"\n[containers]\ndiscover = false\n[[containers.runtime]]\n\
         name = \"docker\"\ntype = \"docker\"\nsocket = \"{}\"\n",
        docker.socket().display()
    );
    std::fs::write(&settings, text)?;
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    ensure!(
        enrolled.status.success(),
        "{}",
        String::from_utf8_lossy(&enrolled.stderr)
    );
    let settings = settings.to_str().context("UTF-8")?;
    let _agent = world.start_agent("agent", &["--config", settings])?;
    let api = world.api().await?;
    eventually(PATIENCE, async || {
        let servers = api.items("/api/infrastructure/servers?limit=10").await?;
        ensure!(servers.len() == 1, "{servers:?}");
        Ok(())
    })
    .await?;
    let status = async |name: &str| {
        let all = api
            .items("/api/infrastructure/servers/1/resources?kind=container&limit=1000")
            .await?;
        let named = all.into_iter().find(|found| found["name"] == name);
        let found = named.with_context(|| format!("no container {name}"))?;
        Ok::<_, anyhow::Error>((found["status"].clone(), found["health"].clone()))
    };
    let is = async |name: &str, expected: (&str, &str)| {
        let begun = std::time::Instant::now();
        eventually(PATIENCE, async || {
            let found = status(name).await?;
            ensure!(
                found.0 == expected.0 && found.1 == expected.1,
                "{name}: {found:?}"
            );
            Ok(())
        })
        .await?;
        println!("{name} {expected:?} after {:?}", begun.elapsed());
        Ok::<_, anyhow::Error>(())
    };
    // The first collection has begun once the engine is there; what is started now is news.
    eventually(PATIENCE, async || {
        let runtimes = api
            .items("/api/infrastructure/servers/1/resources?kind=runtime&limit=10")
            .await?;
        ensure!(
            runtimes.iter().any(|runtime| runtime["health"] == "healthy"),
            "{runtimes:?}"
        );
        Ok(())
    })
    .await?;
    docker.cli(&[
        "run",
        "--detach",
        "--name",
        "app",
        "--volume",
        "data:/data",
        "lab/app:1",
    ])?;
    is("app", ("running", "healthy")).await?;
    let ask = "/federate?match[]=%7B__name__%3D~%22container.%2A%22%2Cname%3D~%22.%2B%22%7D";
    eventually(PATIENCE, async || {
        let (code, text) = api.ask("GET", ask, None).await?;
        ensure!(code == 200, "{code}");
        for name in OF_DASHBOARD {
            let is_it = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains("name=\"app\"");
            let line = text
                .lines()
                .find(is_it)
                .with_context(|| format!("no {name}: {text}"))?;
            ensure!(
                line.contains("job=\"cadvisor\"") && line.contains("instance="),
                "{line}"
            );
        }
        Ok(())
    })
    .await?;
    docker.cli(&["stop", "app"])?;
    is("app", ("exited", "healthy")).await?;
    docker.cli(&["rm", "app"])?;
    eventually(PATIENCE, async || {
        let all = api
            .items("/api/infrastructure/servers/1/resources?kind=container&limit=1000")
            .await?;
        let is_there = all
            .iter()
            .any(|found| found["name"] == "app" && found["gone_at"].is_null());
        ensure!(!is_there, "{all:?}");
        Ok(())
    })
    .await
}

/// The list is Podman's own, which alone tells of pods.
#[tokio::test(flavor = "multi_thread")]
async fn containers_of_podman_are_told_with_their_state_and_their_pod() -> Result<()> {
    let podman = Podman::start()?;
    podman.build("localhost/app:1", &Image::new("1", Behaviour::Runs))?;
    podman.cli(&["pod", "create", "--infra=false", "--name", "web"])?;
    let run =
        |args: &[&str]| podman.cli(&[&["run", "--detach", "--name"], args, &["localhost/app:1"]].concat());
    run(&["alone"])?;
    run(&["together", "--pod", "web"])?;
    run(&["ended"])?;
    podman.cli(&["stop", "--time", "1", "ended"])?;
    let world = World::start().await?;
    let settings = world.dir().join("agent.toml");
    let text = format!(
        "[containers]\ndiscover = false\n[[containers.runtime]]\nname = \"podman\"\ntype = \"podman\"\n\
         socket = \"{}\"\n",
        podman.socket().display()
    );
    std::fs::write(&settings, text)?;
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let settings = settings.to_str().context("UTF-8")?;
    let _agent = world.start_agent("agent", &["--config", settings])?;
    let api = world.api().await?;
    eventually(PATIENCE, async || {
        let all = api
            .items("/api/infrastructure/servers/1/resources?kind=container&limit=1000")
            .await?;
        let told: BTreeMap<_, _> = all
            .iter()
            .map(|found| {
                (
                    found["name"].as_str(),
                    (found["status"].as_str(), found["pod"].as_str()),
                )
            })
            .collect();
        let expected = BTreeMap::from([
            (Some("alone"), (Some("running"), None)),
            (Some("ended"), (Some("exited"), None)),
            (Some("together"), (Some("running"), Some("web"))),
        ]);
        ensure!(told == expected, "{all:?}");
        Ok(())
    })
    .await?;
    podman.cli(&["start", "ended"])?;
    podman.cli(&["rm", "--force", "--time", "1", "alone"])?;
    eventually(PATIENCE, async || {
        let all = api
            .items("/api/infrastructure/servers/1/resources?kind=container&limit=1000")
            .await?;
        let is = |name: &str, field: &str, expected: &Value| {
            let found = all.iter().find(|found| found["name"] == name);
            found.is_some_and(|found| found[field] == *expected)
        };
        ensure!(is("ended", "status", &json!("running")), "{all:?}");
        ensure!(!is("alone", "gone_at", &Value::Null), "{all:?}");
        Ok(())
    })
    .await
}
