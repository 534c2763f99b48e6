//! The whole way of an update: a container of a real engine is seen by the agent, its image is found to be old in a real
//! registry, a person asks, the server's own policy is asked, and the container runs the new image.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::engines::{Behaviour, Docker, Image, Pushed, Registry};
use muster_e2e::{Api, Process, World, run_to_end};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// How long anything may take on a machine that does much else.
const LONG: Duration = Duration::from_secs(120);

struct Stage {
    world: World,
    docker: Docker,
    registry: Registry,
    api: Api,
    agent: Process,
}

impl Stage {
    /// A controller, an agent that reads an engine of its own, and a registry that the controller may ask without TLS.
    async fn set() -> Result<Self> {
        let docker = Docker::start()?;
        let registry = Registry::start(None)?;
        let mut world = World::prepare()?;
        world.settings = "[registries]\nallow_loopback = true\n".to_owned();
        world.start_controller().await?;
        let settings = format!(
            "policy_file = \"{policy}\"\n[containers]\ndiscover = false\n[[containers.runtime]]\nname = \"docker\"\n\
             type = \"docker\"\nsocket = \"{socket}\"\n",
            policy = world.dir().join("policy.toml").display(),
            socket = docker.socket().display(),
        );
        fs::write(world.dir().join("agent.toml"), settings)?;
        let enrolled = world.enroll("agent", &world.token_file(1)?)?;
        ensure!(
            enrolled.status.success(),
            "{}",
            String::from_utf8_lossy(&enrolled.stderr)
        );
        let config = world.dir().join("agent.toml");
        let agent = world.start_agent("agent", &["--config", config.to_str().context("UTF-8")?])?;
        let api = world.api().await?;
        let mut body =
            json!({"name": "lab", "registry_url": registry.address().to_string(), "allow_http": true});
        body["username"] = Value::Null;
        let (status, answer) = api.ask("POST", "/api/containers/registries", Some(body)).await?;
        ensure!(status == StatusCode::CREATED, "{status}: {answer}");
        Ok(Self {
            world,
            docker,
            registry,
            api,
            agent,
        })
    }

    fn push(&self, version: &str, behaviour: Behaviour) -> Result<Pushed> {
        self.docker.build_and_push(
            &self.registry,
            "lab/web",
            "latest",
            &Image::new(version, behaviour),
        )
    }

    /// The container, once `is_as_wanted` says so.
    async fn container(&self, is_as_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let started = Instant::now();
        let mut last = Value::Null;
        while started.elapsed() < LONG {
            let all = self.api.items("/api/containers").await?;
            if let Some(web) = all.into_iter().find(|container| container["name"] == "web") {
                if is_as_wanted(&web) {
                    return Ok(web);
                }
                last = web;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("the container never became as wanted: {last}")
    }

    /// What is to be updated, after the registries were asked.
    async fn update(&self, container: &Value) -> Result<Value> {
        let (status, answer) = self
            .api
            .ask("POST", "/api/containers/updates/check", Some(json!({})))
            .await?;
        ensure!(status.is_success(), "{status}: {answer}");
        let started = Instant::now();
        while started.elapsed() < LONG {
            let path = format!(
                "/api/containers/updates?container_id={}&state=pending",
                container["id"]
            );
            if let Some(update) = self.api.items(&path).await?.pop() {
                return Ok(update);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let why = self
            .api
            .get(&format!("/api/containers/{}/explain", container["id"]))
            .await?;
        anyhow::bail!("there is no update: {why:#}")
    }

    /// Waits until the series of what there is for the container has this value, as Prometheus reads it.
    async fn series_says(&self, value: &str) -> Result<()> {
        const NAME: &str = "muster_container_update_available";
        let ask = format!("/federate?match[]=%7B__name__%3D%22{NAME}%22%7D");
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < LONG {
            // What is looked at every five minutes by itself.
            let look = "/api/infrastructure/scheduler/tasks/container_discovery/run";
            let (status, answer) = self.api.ask("POST", look, None).await?;
            ensure!(status == StatusCode::ACCEPTED, "{status}: {answer}");
            let (status, page) = self.api.ask("GET", &ask, None).await?;
            ensure!(status == StatusCode::OK, "{status}: {page}");
            let of_web = page
                .lines()
                .find(|line| line.starts_with(NAME) && line.contains("name=\"web\""));
            let rest = of_web.and_then(|line| line.rsplit_once('}'));
            if rest.is_some_and(|(_, rest)| rest.split_whitespace().next() == Some(value)) {
                return Ok(());
            }
            last = page;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        anyhow::bail!("{NAME} of web never became {value}: {last}")
    }

    /// What became of updates of its container.
    async fn records(&self, update: &Value) -> Result<Vec<Value>> {
        let path = format!(
            "/api/containers/updates/history?container_id={}",
            update["container_id"]
        );
        self.api.items(&path).await
    }

    /// Asks for an update, and waits until its record is over.
    async fn execute(&self, update: &Value) -> Result<Value> {
        let records = self.records(update).await?;
        let before = records
            .iter()
            .filter_map(|record| record["id"].as_i64())
            .max()
            .unwrap_or(0);
        let path = format!("/api/containers/updates/{}/execute", update["id"]);
        let (status, answer) = self.api.ask("POST", &path, None).await?;
        ensure!(status == StatusCode::ACCEPTED, "{status}: {answer}");
        let started = Instant::now();
        while started.elapsed() < LONG {
            let over = self.records(update).await?.into_iter();
            let mut over = over.filter(|record| before < record["id"].as_i64().unwrap_or(0));
            if let Some(record) = over.find(|record| !record["completed_at"].is_null()) {
                return Ok(record);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let commands = self.api.get("/api/commands").await?;
        anyhow::bail!("the update never ended: {commands:#}")
    }

    /// Lets the agent update this container and nothing else, as the server's administrator does.
    fn allow(&self, verb: &str) -> Result<()> {
        let policy = self.world.dir().join("policy.toml");
        let policy = policy.to_str().context("UTF-8")?;
        let words = ["allow", verb, "--container", "web", "--policy", policy];
        let told = run_to_end("muster-agent", &words)?;
        ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        Ok(())
    }

    fn running_version(&self) -> Result<String> {
        let version = self.docker.cli(&["exec", "web", "cat", "/version"])?;
        Ok(version.trim().to_owned())
    }
}

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_updated_only_as_its_server_allows_and_goes_back_from_what_is_not_healthy()
-> Result<()> {
    let mut stage = Stage::set().await?;
    let one = stage.push("1", Behaviour::Healthy)?;
    stage.docker.cli(&[
        "run",
        "--detach",
        "--name",
        "web",
        "--env",
        "MINE=yes",
        "--volume",
        "kept:/data",
        "--restart",
        "always",
        &one.reference,
    ])?;
    stage
        .docker
        .cli(&["exec", "web", "sh", "-c", "echo precious > /data/file"])?;
    let container = stage
        .container(|web| web["status"] == "running" && web["image_id"] == one.image_id.as_str())
        .await?;
    ensure!(
        container["update_available"] != true,
        "nothing is newer yet: {container}"
    );

    let two = stage.push("2", Behaviour::Healthy)?;
    let update = stage.update(&container).await?;
    ensure!(update["to_digest"] == two.digest.as_str(), "{update}");
    stage.series_says("1").await?;

    // Nobody said on the server that this may be done.
    let refused = stage.execute(&update).await?;
    ensure!(refused["status"] != "completed", "{refused}");
    ensure!(stage.running_version()? == "1", "the policy was passed over");
    let commands = stage.api.items("/api/commands").await?;
    ensure!(
        commands.iter().any(|command| command["state"] == "refused"),
        "{commands:?}"
    );

    stage.allow("container.update")?;
    let done = stage.execute(&update).await?;
    ensure!(done["status"] == "completed", "{done:#}");
    ensure!(stage.running_version()? == "2");
    let now = stage.docker.inspect("web")?;
    ensure!(now["Image"] == two.image_id.as_str(), "{}", now["Image"]);
    ensure!(
        now["HostConfig"]["RestartPolicy"]["Name"] == "always",
        "{}",
        now["HostConfig"]["RestartPolicy"]
    );
    ensure!(
        now["Config"]["Env"].to_string().contains("MINE=yes"),
        "{}",
        now["Config"]["Env"]
    );
    ensure!(stage.docker.cli(&["exec", "web", "cat", "/data/file"])?.trim() == "precious");
    stage
        .container(|web| web["image_id"] == two.image_id.as_str() && web["status"] == "running")
        .await?;
    stage.series_says("0").await?;

    // What never becomes healthy is taken back, and its digest is not offered again.
    let three = stage.push("3", Behaviour::NeverHealthy)?;
    let update = stage.update(&container).await?;
    ensure!(update["to_digest"] == three.digest.as_str(), "{update}");
    let failed = stage.execute(&update).await?;
    ensure!(
        failed["status"] == "rolled_back" || failed["status"] == "failed",
        "{failed:#}"
    );
    ensure!(stage.running_version()? == "2", "the old one runs again");
    ensure!(stage.docker.cli(&["exec", "web", "cat", "/data/file"])?.trim() == "precious");
    let bad = stage.api.get("/api/containers/bad-digests").await?;
    ensure!(bad.to_string().contains(&three.digest), "{bad}");
    stage.agent.stop(Duration::from_secs(30))?;
    Ok(())
}
