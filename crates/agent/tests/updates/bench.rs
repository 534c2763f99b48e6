//! A fake engine with a container called `web`, and an updater over it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use futures::StreamExt as _;
use muster_agent::clocks::ClockReader;
use muster_agent::host::Host;
use muster_agent::runtime::{Client, Endpoint, Engine, EngineKind, Limits};
use muster_agent::update::{
    Engines, Ground, HostUnits, Patience, Reconciled, Room, Tell, TransactionError, Transactions as _, Units,
    Updater,
};
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::{Behaviour, FakeEngine, Fault};
use muster_model::{Clock, CommandState, ContainerTarget, ResourceKey, UpdatePlan};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// What the container is called.
pub(crate) const NAME: &str = "web";
/// What it is configured with.
pub(crate) const REFERENCE: &str = "r.test/app:1";
pub(crate) const OLD: u64 = 1;
const NEW: u64 = 2;

/// Digest of what is pulled.
pub(crate) fn digest() -> String {
    format!("sha256:{:064x}", 0xd16_u64)
}

pub(crate) fn image_id(number: u64) -> String {
    format!("sha256:{number:064x}")
}

struct One(Arc<Client>);

impl Engines for One {
    fn find(&self, _: &ResourceKey) -> Option<Arc<dyn Engine>> {
        Some(Arc::clone(&self.0) as Arc<dyn Engine>)
    }
}

/// Ground as a test wants it.
#[derive(Clone, Default)]
pub(crate) struct Firm {
    pub(crate) objection: Option<String>,
    pub(crate) room: Option<Room>,
    /// About which places it was asked last.
    pub(crate) asked: Arc<parking_lot::Mutex<Vec<String>>>,
}

#[async_trait]
impl Ground for Firm {
    async fn objection(&self, _: &ContainerTarget, places: &[String]) -> Option<String> {
        *self.asked.lock() = places.to_vec();
        self.objection.clone()
    }

    async fn room(&self, _: &str) -> Option<Room> {
        self.room
    }
}

/// Nobody listens.
pub(crate) struct Deaf;

impl Tell for Deaf {
    fn step(&self, _: &'static str, _: Option<f64>, _: &str) {}
}

/// An updater over the engine at `socket` with its journal in `data`.
pub(crate) fn updater(socket: &Path, data: &Path, ground: Firm) -> Updater {
    updater_within(Duration::from_secs(3), socket, data, ground)
}

/// The same, with as long for each call.
fn updater_within(limit: Duration, socket: &Path, data: &Path, ground: Firm) -> Updater {
    updater_watching(Duration::ZERO, limit, (socket, data), ground)
}

/// The same, which watches new containers at least so long.
fn updater_watching(watch_min: Duration, limit: Duration, below: (&Path, &Path), ground: Firm) -> Updater {
    // No program is ever run.
    let units = HostUnits(Host::system().with_programs_in(Vec::new()));
    let patience = Patience {
        watch_min,
        ..PATIENCE
    };
    updater_of(
        EngineKind::Docker,
        Arc::new(units),
        (patience, limit),
        below,
        ground,
    )
}

/// How patient the updaters of tests are.
pub(crate) const PATIENCE: Patience = Patience {
    pace: Duration::from_millis(5),
    patience: Duration::from_secs(60),
    watch_min: Duration::ZERO,
};

/// The same of any kind of engine, with units.
pub(crate) fn updater_of(
    kind: EngineKind,
    units: Arc<dyn Units>,
    (patience, limit): (Patience, Duration),
    (socket, data): (&Path, &Path),
    ground: Firm,
) -> Updater {
    let endpoint = Endpoint {
        key: ResourceKey::new("runtime:docker"),
        kind,
        socket: Utf8PathBuf::from_path_buf(socket.to_owned()).expect("UTF-8"),
    };
    let limits = Limits {
        read: limit,
        change: limit,
        pull_idle: limit,
        pull: limit,
    };
    let client = Arc::new(Client::with_limits(&endpoint, limits));
    let clock = ClockReader::new(|| Clock {
        wall_ms: jiff::Timestamp::now().as_millisecond(),
        boottime_ms: 0,
        boot_id: String::new(),
    });
    let data = Utf8PathBuf::from_path_buf(data.to_owned()).expect("UTF-8");
    let below: (Arc<dyn Ground>, Arc<dyn Units>) = (Arc::new(ground), units);
    Updater::new(Arc::new(One(client)), below, &data, clock, patience)
}

pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) engine: FakeEngine,
    pub(crate) old_id: String,
}

/// What ran and what was there before anything was tried.
pub(crate) fn body() -> Value {
    json!({
        "Image": REFERENCE, "Env": ["MINE=1"], "Labels": {"team": "x", "com.docker.compose.image": image_id(OLD)},
        "HostConfig": {
            "NetworkMode": "front", "AutoRemove": false, "Binds": ["named:/named"], "Memory": 5,
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}, "UnknownToAll": {"deep": [1]},
        },
        "NetworkingConfig": {"EndpointsConfig": {"front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}},
    })
}

impl Bench {
    /// With a container of version 1 that runs, and a version 2 that behaves so.
    pub(crate) fn new(version_two: Behaviour) -> Self {
        Self::with(version_two, &body())
    }

    pub(crate) fn with(version_two: Behaviour, body: &Value) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = FakeEngine::start(&dir.path().join("engine.sock")).expect("a socket");
        let config = |version: &str| {
            json!({"Env": [format!("VERSION={version}")], "Cmd": ["/app"], "Volumes": {"/data": {}},
                   "Labels": {"version": version}})
        };
        let old_id = engine.with(|world| {
            world.image(OLD, REFERENCE, config("1"), Behaviour::Runs);
            world.pullable(NEW, &format!("r.test/app@{}", digest()), config("2"), version_two);
            let id = world.run(NAME, body);
            let again = json!({"Container": id, "EndpointConfig": {"Aliases": ["svc"]}});
            world.connect_for_test("back", &again);
            id
        });
        Self { dir, engine, old_id }
    }

    /// For tests in which no call hangs: a machine that is busy is waited for.
    pub(crate) fn patient_updater(&self) -> Updater {
        let socket = self.dir.path().join("engine.sock");
        let limit = Duration::from_secs(120);
        updater_within(limit, &socket, &self.dir.path().join("data"), Firm::default())
    }

    /// Watches new containers at least so long, whatever the plan says.
    pub(crate) fn watchful_updater(&self, watch_min: Duration) -> Updater {
        let socket = self.dir.path().join("engine.sock");
        let limit = Duration::from_secs(120);
        let data = self.dir.path().join("data");
        updater_watching(watch_min, limit, (&socket, &data), Firm::default())
    }

    pub(crate) fn updater(&self) -> Updater {
        self.updater_on(Firm::default())
    }

    pub(crate) fn updater_on(&self, ground: Firm) -> Updater {
        updater(
            &self.dir.path().join("engine.sock"),
            &self.dir.path().join("data"),
            ground,
        )
    }

    pub(crate) fn volumes(&self) -> std::collections::BTreeSet<String> {
        self.engine.with(|world| world.volumes().clone())
    }

    /// Exactly one of the old and the new container runs, under the name, with its volumes and its policy.
    pub(crate) fn check(&self, state: CommandState, because: &str) {
        let violations = self.engine.with(|world| world.violations().to_vec());
        assert!(violations.is_empty(), "{because}: {violations:?}");
        let running = self.engine.with(|world| world.running());
        assert_eq!(running.len(), 1, "{because}: {running:?}");
        let (name, image) = &running[0];
        assert_eq!(name, NAME, "{because}");
        let inspect = self.engine.inspect(NAME).expect("it runs");
        let expected = match state {
            CommandState::Succeeded => image_id(NEW),
            CommandState::Failed | CommandState::Refused | CommandState::Cancelled => image_id(OLD),
            other => panic!("{because}: nobody knows: {other:?}"),
        };
        assert_eq!(*image, expected, "{because}");
        assert_eq!(
            (inspect["Id"] == self.old_id.as_str()),
            state != CommandState::Succeeded,
            "{because}"
        );
        assert_eq!(
            inspect["HostConfig"]["RestartPolicy"]["Name"], "always",
            "{because}"
        );
        assert_eq!(
            inspect["HostConfig"]["UnknownToAll"],
            json!({"deep": [1]}),
            "{because}"
        );
        let mounts = inspect["Mounts"].to_string();
        assert!(
            mounts.contains("named") && mounts.contains(&self.old_id),
            "{because}: {mounts}"
        );
        let networks = &inspect["NetworkSettings"]["Networks"];
        assert_eq!(
            networks["front"]["IPAMConfig"]["IPv4Address"], "10.0.0.9",
            "{because}"
        );
        assert_eq!(networks["back"]["Aliases"], json!(["svc"]), "{because}");
        let others = self.engine.with(|world| world.container_names());
        let most = if state == CommandState::Succeeded { 2 } else { 1 };
        assert!(others.len() <= most, "{because}: {others:?}");
    }
}

pub(crate) fn target() -> ContainerTarget {
    ContainerTarget {
        runtime: ResourceKey::new("runtime:docker"),
        name: NAME.to_owned(),
        container_id: None,
    }
}

pub(crate) fn plan() -> UpdatePlan {
    UpdatePlan {
        image: REFERENCE.to_owned(),
        from_image_id: image_id(OLD),
        to_digest: digest(),
        platform: None,
        health_timeout_ms: 2_000,
        stable_ms: 60,
        grace_ms: 3_600_000,
        dry_run: false,
    }
}

/// Updates; how it ended.
pub(crate) async fn update(updater: &Updater, command: Uuid) -> Result<Value, TransactionError> {
    updater
        .update(
            command,
            &target(),
            &plan(),
            None,
            &Deaf,
            &CancellationToken::new(),
        )
        .await
}

pub(crate) fn state_of(result: &Result<Value, TransactionError>) -> CommandState {
    match result {
        Ok(_) => CommandState::Succeeded,
        Err(TransactionError::Refused { .. }) => CommandState::Refused,
        Err(TransactionError::Failed { .. }) => CommandState::Failed,
        Err(TransactionError::Cancelled { .. }) => CommandState::Cancelled,
        Err(TransactionError::Unknown { .. }) => CommandState::Unknown,
    }
}

/// What a new agent tells of a command; `None`: nothing.
pub(crate) fn told_of(told: &[Reconciled], command: Uuid) -> Option<CommandState> {
    told.iter().find(|one| one.0 == command).map(|one| one.1)
}

/// At once; each has an engine and a folder of its own.
const AT_ONCE: usize = 12;

/// Does it all, some of it at once.
pub(crate) async fn work_off<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures::stream::iter(all)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// Works until the agent dies at the call of its engine with this number, before or after that has its effect; `None`: it
/// died.
pub(crate) async fn until_death<T>(
    engine: &FakeEngine,
    (number, after): (usize, bool),
    work: impl Future<Output = T>,
) -> Option<T> {
    let dead = CancellationToken::new();
    let bell = dead.clone();
    let act = Arc::new(move || bell.cancel());
    engine.break_call(number, Fault::Do { after, act });
    tokio::select! {
        biased;
        () = dead.cancelled() => None,
        ended = work => Some(ended),
    }
}

/// Works on while the engine dies, and comes back with what it had.
pub(crate) async fn even_if_it_dies<T>(engine: &FakeEngine, work: impl Future<Output = T>) -> T {
    let come_back = async {
        while !engine.is_dead() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        engine.come_back().expect("the socket");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = work => ended,
        () = come_back => unreachable!("it never ends"),
    }
}

/// Counts the calls of an update that nothing breaks.
pub(crate) async fn calls() -> Vec<String> {
    let bench = Bench::new(Behaviour::Runs);
    bench.engine.break_call(usize::MAX, Fault::Refuse);
    update(&bench.updater(), Uuid::new_v4()).await.expect("an update");
    let calls = bench.engine.calls();
    // How often health is looked at depends on time: once is enough.
    let start = calls
        .iter()
        .position(|call| call.ends_with("/start"))
        .expect("a start");
    calls[..start + 3].to_vec()
}
