//! Builds the controller from its parts, and owns the order in which they start and end.
//!
//! Start: folder, lock, ports, state and identity, intake, samples, consumers, then everything that answers. Ready is
//! only said once both ports answer and every report that was accepted before is applied. End, within a time that is
//! set:
//! nothing new is taken, agents are told to come again, what was accepted is committed and applied, files are closed.
//! Whatever does not end in time is left: all of it is as safe against being killed.

mod data;
mod password;
mod readiness;
mod serving;
mod tls;

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::shutdown::CancellationToken;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinError;
use tokio::time::Instant;

use self::data::Data;
use self::readiness::Replay;
use self::serving::Serving;
pub use self::tls::HttpTlsError;
use crate::alert::AlertError;
use crate::app::auth::{AuthError, HashCost};
use crate::app::{KeepError, Settings};
use crate::backup::{self, BackupError};
use crate::config::Config;
use crate::control::lock::{DataLock, LockError};
use crate::control::server::SocketError;
use crate::grpc;
use crate::intake::IntakeError;
use crate::store::StoreError;

/// The state database's file in the data folder.
pub const STATE_FILE: &str = "state.db";
/// How long to wait for another process to give up the data folder.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// What each part gets to end, whatever the others have taken.
const LEAST_TIME: Duration = Duration::from_millis(200);
/// How often it is looked at whether anything stands in the way of storing.
const READINESS_EVERY: Duration = Duration::from_millis(500);
/// How often the log says how far a start has come.
const REPLAY_TOLD_EVERY: Duration = Duration::from_secs(5);

/// Why the controller does not run, or ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// The file with the address of signs of life cannot be used.
    #[error("notify.heartbeat_url_file: {0}: {1}")]
    Heartbeat(Utf8PathBuf, String),
    /// The file with authorities of registries cannot be used.
    #[error("registries.ca_file: {0}: {1}")]
    RegistriesCa(Utf8PathBuf, String),
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
    /// A restore that was begun could not be finished.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The state database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Alerts could not be judged.
    #[error("begin to judge alerts")]
    Alerts(#[from] AlertError),
    /// The control socket failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The HTTP port has no certificate.
    #[error(transparent)]
    HttpTls(#[from] HttpTlsError),
    /// The agent port failed.
    #[error(transparent)]
    Agents(#[from] grpc::ServeError),
    /// A part ended that should not have.
    #[error("{0} ended by itself")]
    Ended(&'static str),
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
    let (lock, data, mut serving) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        started = start(&config) => started?,
    };
    let outcome = until(&config, &data, &mut serving, &stop).await;
    tracing::info!("controller ending");
    let deadline = Instant::now() + config.drain;
    serving.end(deadline).await;
    data.close(deadline).await;
    drop(lock);
    outcome
}

async fn start(config: &Config) -> Result<(DataLock, Data, Serving), RunError> {
    for (name, instead) in &config.without_effect {
        tracing::warn!(name, instead, "set in the environment, and means nothing here");
    }
    make_data_dir(&config.data_dir)?;
    let lock = DataLock::take(&config.data_dir, LOCK_WAIT_MAX).await?;
    if backup::finish_restore(&config.data_dir)? {
        tracing::warn!("a restore that was cut short is finished");
    }
    backup::clear_leftovers(&config.data_dir)?;
    // Both ports before anything is opened: an address that is taken is the commonest reason not to start.
    let http = listen(config.http.address, "http.address").await?;
    let agents = listen(config.agents.address, "agents.address").await?;
    let address = agents.local_addr().unwrap_or(config.agents.address);
    let data = Data::open(config, address).await?;
    let serving = Serving::start(config, &data, http, agents)?;
    Ok((lock, data, serving))
}

/// Says when it is ready, and waits for the end.
async fn until(
    config: &Config,
    data: &Data,
    serving: &mut Serving,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let replay = Replay::of(data);
    let caught_up = data.caught_up();
    tokio::pin!(caught_up);
    let mut is_caught_up = false;
    let mut looks = tokio::time::interval(READINESS_EVERY);
    let mut told = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            failed = serving.failed() => return Err(failed),
            () = &mut caught_up, if !is_caught_up => {
                is_caught_up = true;
                serving.tell(readiness::of(data, serving.tasks(), true, &replay));
                announce(config, serving).map_err(RunError::Print)?;
            }
            _ = looks.tick() => {}
        }
        serving.tell(readiness::of(data, serving.tasks(), is_caught_up, &replay));
        if !is_caught_up && REPLAY_TOLD_EVERY < told.elapsed() {
            told = Instant::now();
            let (applied, all) = replay.progress(data);
            tracing::info!(applied, all, "applying reports from before the start");
        }
    }
}

/// What is promised on standard output, and nothing else.
fn announce(config: &Config, serving: &Serving) -> io::Result<()> {
    let (http, agents) = (serving.http_address, serving.agents_address);
    let mut stdout = io::stdout().lock();
    let scheme = if serving.tls.is_some() { "https" } else { "http" };
    writeln!(stdout, "ready: {scheme}://{http} agents: {agents}")?;
    let password = password::path(&config.data_dir);
    if password.exists() {
        writeln!(stdout, "admin password: {password}")?;
    }
    stdout.flush()?;
    tracing::info!(http = %http, agents = %agents, "controller ready");
    Ok(())
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
        hash_cost: HashCost::default(),
        audit_retention: config.audit.retention,
        alert_retention: config.alerts.retention,
        agent_certificate_ttl: config.enrolment.agent_certificate_ttl,
        agent_address: config
            .agents
            .advertised
            .clone()
            .unwrap_or_else(|| reachable(agents)),
    }
}

/// Lets a part end until the deadline, and a moment longer if others have used it up.
async fn until_deadline(deadline: Instant, what: &'static str, work: impl Future<Output = ()>) {
    let deadline = deadline.max(Instant::now() + LEAST_TIME);
    if tokio::time::timeout_at(deadline, work).await.is_err() {
        tracing::warn!(what, "did not end in time");
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

#[cfg(test)]
mod tests;
