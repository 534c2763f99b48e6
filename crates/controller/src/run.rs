//! Builds the controller from its parts, and owns the order in which they start and end.
//!
//! Start: folder, lock, ports, state and identity, intake, samples, consumers, then everything that answers. Ready is
//! only said once both ports answer and every report that was accepted before is applied. End, within ten seconds:
//! nothing new is taken, agents are told to come again, what was accepted is committed and applied, files are closed.
//! Whatever does not end in time is left: all of it is as safe against being killed.

mod password;

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::app::auth::AuthError;
use crate::app::collect::Collecting;
use crate::app::ingest::{Ingest, Limits};
use crate::app::live::Agents;
use crate::app::series::Series;
use crate::app::{self, App, KeepError, Settings};
use crate::config::Config;
use crate::consume::{self, Consumers};
use crate::control::lock::{DataLock, LockError};
use crate::control::server::{ControlSocket, SocketError};
use crate::grpc::{self, GrpcMetrics};
use crate::http::metrics::{Metrics, Sources, of_the_controller};
use crate::http::{self, Readiness};
use crate::intake::{self, Intake, IntakeError};
use crate::store::StoreError;
use crate::task;

/// The state database's file in the data folder.
pub const STATE_FILE: &str = "state.db";
/// The sample store's folder in the data folder.
const SAMPLES_DIR: &str = "samples";
/// How long to wait for another process to give up the data folder.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long requests and streams may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(6);
/// How long consumers may take to apply what was accepted.
const APPLY_MAX: Duration = Duration::from_secs(2);
/// How long anything else may take to end.
const END_MAX: Duration = Duration::from_secs(1);

/// Why the controller does not run, or ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// The data folder cannot be made.
    #[error("make the data folder {path}")]
    DataDir {
        /// The folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another controller runs on the data.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A port cannot be listened on.
    #[error("listen on {address} ({key})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting it comes from.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// State or identity failed.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The first admin could not be made.
    #[error("make the first admin")]
    FirstAdmin(#[source] AuthError),
    /// The intake failed.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The sample store failed.
    #[error(transparent)]
    Samples(#[from] muster_samples::StoreError),
    /// The state database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control socket failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A part ended that should not have.
    #[error("serve agents")]
    Agents(#[from] grpc::ServeError),
    /// A part panicked.
    #[error("a part of the controller ended in a panic")]
    Part(#[from] JoinError),
    /// Standard output cannot be written.
    #[error("print to standard output")]
    Print(#[source] io::Error),
}

/// Runs until `stop` is cancelled.
///
/// # Errors
/// [`RunError`] if it cannot start, or a part fails for good.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    make_data_dir(&config.data_dir)?;
    let lock = DataLock::take(&config.data_dir, LOCK_WAIT_MAX).await?;
    let http = listen(config.http.address, "http.address").await?;
    let agents = listen(config.agents.address, "agents.address").await?;
    let mut controller = Controller::start(&config, http, agents).await?;
    let outcome = controller.until(&stop).await;
    tracing::info!("controller ending");
    controller.end().await;
    drop(lock);
    outcome
}

/// Settings of the use-cases; `agents` is where the agent port really listens.
#[must_use]
pub fn app_settings(config: &Config, agents: SocketAddr) -> Settings {
    Settings {
        session_ttl: config.auth.session_ttl,
        login_per_min: config.auth.login_per_min,
        enrolment_per_address_per_s: config.enrolment.per_address_per_s,
        enrolment_burst: config.enrolment.burst,
        enrolment_per_s: config.enrolment.per_s,
        token_ttl: config.enrolment.token_ttl,
        agent_address: config
            .agents
            .advertised
            .clone()
            .unwrap_or_else(|| reachable(agents)),
    }
}

/// The running parts.
struct Controller {
    config: Config,
    app: Arc<App>,
    intake: Intake,
    consumers: Consumers,
    readiness: watch::Sender<Readiness>,
    addresses: (SocketAddr, SocketAddr),
    tasks: task::Tasks,
    /// Whether the agent port ended by itself, which is a failure.
    agents_task: JoinHandle<Result<(), grpc::ServeError>>,
    http_task: JoinHandle<()>,
    control_task: JoinHandle<()>,
    stop_serving: CancellationToken,
    stop_tasks: CancellationToken,
    stop_consumers: CancellationToken,
}

impl Controller {
    async fn start(config: &Config, http: TcpListener, agents: TcpListener) -> Result<Self, RunError> {
        let failed = |source| RunError::Listen {
            address: config.http.address,
            key: "http.address",
            source,
        };
        let addresses = (
            http.local_addr().map_err(failed)?,
            agents.local_addr().map_err(failed)?,
        );
        let clock = WallClock::system();
        let app = Arc::new(open_app(config, addresses.1, &clock).await?);
        let intake = Intake::open(&config.data_dir, intake_options(config), clock.clone())?;
        let samples = open_samples(config).await?;
        let stop_consumers = CancellationToken::new();
        let consumer_parts = consume::Parts {
            intake: intake.clone(),
            store: app.store().clone(),
            samples: Arc::clone(&samples),
            clock: clock.clone(),
        };
        let consumers = consume::spawn(consumer_parts, stop_consumers.clone()).await?;
        let stop_tasks = CancellationToken::new();
        let task_parts = task::Parts {
            app: Arc::clone(&app),
            intake: intake.clone(),
            samples: Arc::clone(&samples),
            state_applied: consumers.state_applied.clone(),
        };
        let tasks = task::spawn_all(task_parts, &stop_tasks);
        let live = Agents::default();
        let grpc_metrics = GrpcMetrics::default();
        let sources = Sources {
            intake: intake.clone(),
            state_consumer: Arc::clone(&consumers.state_metrics),
            samples_consumer: Arc::clone(&consumers.samples_metrics),
            samples: Arc::clone(&samples),
            grpc: grpc_metrics.clone(),
            tasks: tasks.statuses(),
        };
        let stop_serving = CancellationToken::new();
        let grpc_parts = grpc::Parts {
            listener: agents,
            app: Arc::clone(&app),
            ingest: Ingest::new(intake.clone(), clock, limits(config)),
            agents: live.clone(),
            options: grpc::Options {
                connections_max: config.agents.connections_max,
                ..grpc::Options::default()
            },
        };
        let (readiness, ready) = http::readiness();
        let router = http::router(http::Parts {
            app: Arc::clone(&app),
            series: Series::new(samples),
            collect: Collecting::new(live, intake.clone(), consumers.applied.clone()),
            metrics: Metrics::new(of_the_controller(sources)),
            ready,
        });
        let control = ControlSocket::bind(&config.data_dir)?;
        Ok(Self {
            config: config.clone(),
            agents_task: tokio::spawn(grpc::serve(grpc_parts, grpc_metrics, stop_serving.clone())),
            http_task: tokio::spawn(http::serve(http, None, router, stop_serving.clone())),
            control_task: tokio::spawn(control.serve(Arc::clone(&app), stop_serving.clone())),
            app,
            intake,
            consumers,
            readiness,
            addresses,
            tasks,
            stop_serving,
            stop_tasks,
            stop_consumers,
        })
    }

    /// Says when it is ready, and waits for the end.
    async fn until(&mut self, stop: &CancellationToken) -> Result<(), RunError> {
        let committed = *self.intake.committed().borrow();
        let mut applied = self.consumers.applied.clone();
        let caught_up = async {
            // An error means that the consumers have ended, which they only do when told to.
            let _ = applied.wait_for(|position| committed <= *position).await;
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = &mut self.agents_task => return ended?.map_err(RunError::from),
            () = caught_up => {}
        }
        self.readiness.send_replace(Readiness::Ready);
        self.announce().map_err(RunError::Print)?;
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = &mut self.agents_task => ended?.map_err(RunError::from),
            ended = &mut self.http_task => ended.map_err(RunError::from),
        }
    }

    /// What is promised on standard output, and nothing else.
    fn announce(&self) -> io::Result<()> {
        let (http, agents) = self.addresses;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "ready: http://{http} agents: {agents}")?;
        let password = password::path(&self.config.data_dir);
        if password.exists() {
            writeln!(stdout, "admin password: {password}")?;
        }
        stdout.flush()?;
        tracing::info!(http = %http, agents = %agents, "controller ready");
        Ok(())
    }

    async fn end(self) {
        self.readiness
            .send_replace(Readiness::NotReady("shutting down".to_owned()));
        self.stop_serving.cancel();
        let serving = async {
            // Polled again after it ended it would panic; a part that ended by itself was seen in `until`.
            for task in [self.http_task, self.control_task] {
                if !task.is_finished() {
                    let _ = task.await;
                }
            }
            if !self.agents_task.is_finished() {
                let _ = self.agents_task.await;
            }
        };
        within(DRAIN_MAX, "requests and streams", serving).await;
        self.stop_tasks.cancel();
        within(END_MAX, "tasks", self.tasks.ended()).await;
        let committed = *self.intake.committed().borrow();
        let mut applied = self.consumers.applied.clone();
        let caught_up = async {
            let _ = applied.wait_for(|position| committed <= *position).await;
        };
        within(APPLY_MAX, "applying accepted reports", caught_up).await;
        self.stop_consumers.cancel();
        within(END_MAX, "consumers", self.consumers.ended()).await;
        within(END_MAX, "intake", self.intake.close()).await;
        if let Ok(Err(error)) = tokio::time::timeout(END_MAX, self.app.store().close()).await {
            tracing::warn!(error = %muster_base::ErrorChain(&error), "state database not closed in order");
        }
    }
}

async fn within(limit: Duration, what: &'static str, work: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::warn!(what, limit = ?limit, "did not end in time");
    }
}

/// Makes the folder with mode 0700; one that is there keeps the mode its owner gave it.
fn make_data_dir(path: &Utf8Path) -> Result<(), RunError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| RunError::DataDir {
        path: path.to_owned(),
        source,
    })
}

async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, key, source })
}

async fn open_app(config: &Config, agents: SocketAddr, clock: &WallClock) -> Result<App, RunError> {
    let database = config.data_dir.join(STATE_FILE);
    let settings = app_settings(config, agents);
    let app = app::open(&database, &config.secret_key_file, clock.clone(), settings).await?;
    let file = password::path(&config.data_dir);
    app.ensure_first_admin(|password| password::keep(&file, password))
        .await
        .map_err(RunError::FirstAdmin)?;
    Ok(app)
}

async fn open_samples(config: &Config) -> Result<Arc<muster_samples::Store>, RunError> {
    let folder = config.data_dir.join(SAMPLES_DIR);
    let options = muster_samples::Options {
        series_per_server_max: config.intake.series_per_agent as usize,
        retention_ms: i64::try_from(config.samples.retention.as_millis()).unwrap_or(i64::MAX),
        ..muster_samples::Options::default()
    };
    let opened = tokio::task::spawn_blocking(move || muster_samples::Store::open(&folder, options)).await?;
    Ok(Arc::new(opened?))
}

fn intake_options(config: &Config) -> intake::Options {
    intake::Options {
        size_bytes_max: config.intake.size_bytes_max,
        free_percent_min: config.intake.free_percent_min,
        ..intake::Options::default()
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        series_per_agent: config.intake.series_per_agent,
        ..Limits::default()
    }
}

/// Where agents elsewhere reach who listens there: on all addresses means under this machine's name.
fn reachable(listening: SocketAddr) -> String {
    let is_everywhere = match listening.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    match name.filter(|_| is_everywhere) {
        Some(name) => format!("{name}:{}", listening.port()),
        None => listening.to_string(),
    }
}
