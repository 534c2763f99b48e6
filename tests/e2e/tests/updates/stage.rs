//! What the tests share: an updater over a real engine, two versions of an image, and how a container is compared.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_agent::clocks::ClockReader;
use muster_agent::runtime::{Client, Endpoint, Engine, EngineKind, RegistryAuth};
use muster_agent::update::{Engines, Patience, Tell, TransactionError, Transactions as _, Updater};
use muster_base::shutdown::CancellationToken;
use muster_e2e::engines::{Auth, Behaviour, Docker, Image, Podman, Pushed, Registry};
use muster_model::{Clock, ContainerTarget, ResourceKey, UpdatePlan};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

/// What every version of the image has.
pub(super) const CHANGES: &[&str] = &["VOLUME /anon", "EXPOSE 8080", "ENV FROM_IMAGE=1"];

pub(super) struct One(Arc<Client>);

impl Engines for One {
    fn find(&self, _: &ResourceKey) -> Option<Arc<dyn Engine>> {
        Some(Arc::clone(&self.0) as Arc<dyn Engine>)
    }
}

struct Deaf;

impl Tell for Deaf {
    fn step(&self, _: &'static str, _: Option<f64>, _: &str) {}
}

/// A real engine by its own command line.
pub(super) trait CommandLine {
    /// Does this; what it says.
    fn cli(&self, args: &[&str]) -> anyhow::Result<String>;

    /// The same, with words divided by spaces, and with these behind them.
    fn say(&self, words: &str, more: &[&str]) -> String {
        let mut args: Vec<&str> = words.split_whitespace().collect();
        args.extend(more);
        self.cli(&args)
            .unwrap_or_else(|error| panic!("{args:?}: {error:#}"))
    }

    /// Writes what an update must not lose.
    fn put_data(&self, container: &str, places: &[&str]) {
        let lines: Vec<String> = places
            .iter()
            .map(|place| format!("echo kept > {place}"))
            .collect();
        self.say("exec", &[container, "sh", "-c", &lines.join("; ")]);
    }

    /// It is there.
    #[track_caller]
    fn has_data(&self, container: &str, places: &[&str]) {
        for place in places {
            assert_eq!(self.say("exec", &[container, "cat", place]), "kept", "{place}");
        }
    }

    /// Which version of the image runs.
    fn version_of(&self, container: &str) -> String {
        self.say("exec", &[container, "cat", "/version"])
    }
}

impl CommandLine for Docker {
    fn cli(&self, args: &[&str]) -> anyhow::Result<String> {
        Self::cli(self, args)
    }
}

impl CommandLine for Podman {
    fn cli(&self, args: &[&str]) -> anyhow::Result<String> {
        Self::cli(self, args)
    }
}

/// An updater over a real engine, with a journal of its own.
pub(super) struct Stage {
    pub(super) client: Arc<Client>,
    pub(super) updater: Updater,
    _dir: TempDir,
}

impl Stage {
    pub(super) fn over(socket: &Path, kind: EngineKind) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let client = client(socket, kind);
        Self {
            updater: updater(&client, dir.path()),
            client,
            _dir: dir,
        }
    }

    /// What the engine says of a container.
    pub(super) async fn inspect(&self, name: &str) -> Value {
        self.client.inspect(name).await.expect("it is there")
    }

    /// Updates a container from what it was to this version.
    pub(super) async fn update(
        &self,
        from: (&str, &Value),
        to: &Pushed,
        registry: &Registry,
    ) -> (Uuid, Result<Value, TransactionError>) {
        self.update_told(from, to, registry, &Deaf).await
    }

    /// The same, told to somebody.
    pub(super) async fn update_told(
        &self,
        (name, before): (&str, &Value),
        to: &Pushed,
        registry: &Registry,
        tell: &dyn Tell,
    ) -> (Uuid, Result<Value, TransactionError>) {
        let command = Uuid::new_v4();
        let never = CancellationToken::new();
        let (target, plan, auth) = (target(&self.client, name), plan(before, to), auth(registry));
        let result = self
            .updater
            .update(command, &target, &plan, Some(auth), tell, &never)
            .await;
        (command, result)
    }

    /// Takes an update back.
    pub(super) async fn roll_back(&self, name: &str, update: Uuid) {
        let (target, never) = (target(&self.client, name), CancellationToken::new());
        self.updater
            .rollback(Uuid::new_v4(), &target, update, None, &Deaf, &never)
            .await
            .expect("a way back");
    }
}

/// An update that was done, in which nothing differs without a reason.
#[track_caller]
pub(super) fn done(result: Result<Value, TransactionError>) {
    let result = result.expect("an update");
    let all = result["differences"].as_array().expect("a list");
    let unexplained: Vec<&Value> = all.iter().filter(|one| one["why"].is_null()).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?} of {result:#}");
}

/// It is the same container, and runs.
#[track_caller]
pub(super) fn is_the_same(before: &Value, after: &Value) {
    assert_eq!(
        (&after["Id"], &after["State"]["Running"]),
        (&before["Id"], &Value::Bool(true))
    );
}

pub(super) fn client(socket: &Path, kind: EngineKind) -> Arc<Client> {
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

pub(super) fn updater(client: &Arc<Client>, data: &Path) -> Updater {
    let clock = ClockReader::new(|| Clock {
        wall_ms: jiff::Timestamp::now().as_millisecond(),
        boottime_ms: 0,
        boot_id: String::new(),
    });
    let patience = Patience {
        pace: Duration::from_millis(200),
        patience: Duration::from_secs(120),
        // The plans of these tests say themselves how long is watched.
        watch_min: Duration::ZERO,
    };
    let data = Utf8PathBuf::from_path_buf(data.to_owned()).expect("UTF-8");
    Updater::new(
        Arc::new(One(Arc::clone(client))),
        (Arc::new(Firm), Arc::new(NoUnits)),
        &data,
        clock,
        patience,
    )
}

/// The disk of a machine that builds is often nearly full, which is not what is tried here.
pub(super) struct Firm;

#[async_trait::async_trait]
impl muster_agent::update::Ground for Firm {
    async fn objection(&self, _: &ContainerTarget, _: &[String]) -> Option<String> {
        None
    }

    async fn room(&self, _: &str) -> Option<muster_agent::update::Room> {
        None
    }
}

/// Nothing here is made by a unit.
struct NoUnits;

#[async_trait::async_trait]
impl muster_agent::update::Units for NoUnits {
    async fn show(
        &self,
        _: &str,
    ) -> Result<muster_agent::update::UnitState, muster_agent::update::UnitError> {
        Ok(muster_agent::update::UnitState::default())
    }

    async fn restart(&self, unit: &str) -> Result<(), muster_agent::update::UnitError> {
        Err(muster_agent::update::UnitError::Failed(format!(
            "there is no {unit}"
        )))
    }
}

pub(super) fn target(client: &Client, name: &str) -> ContainerTarget {
    ContainerTarget {
        runtime: client.key().clone(),
        name: name.to_owned(),
        container_id: None,
    }
}

pub(super) fn plan(from: &Value, to: &Pushed) -> UpdatePlan {
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

pub(super) fn auth(registry: &Registry) -> RegistryAuth {
    RegistryAuth {
        registry: registry.address().to_string(),
        username: Auth::BASIC.username.to_owned(),
        password: Auth::BASIC.password.to_owned(),
    }
}

/// Version 1 is here and runs, version 2 is in the registry only, under the same tag.
pub(super) fn versions(
    docker: &Docker,
    registry: &Registry,
    two: Behaviour,
    changes: &[&str],
) -> (Pushed, Pushed) {
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

pub(super) fn push_again(docker: &Docker, registry: &Registry, two: Behaviour, changes: &[&str]) -> Pushed {
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

/// But for what is named they are equal in this part.
#[track_caller]
pub(super) fn same_but(before: &Value, after: &Value, part: &str, allowed: &[&str]) {
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
