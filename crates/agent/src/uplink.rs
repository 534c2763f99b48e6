//! The stream to the controller: connects, greets, sends what the [`Outbox`] holds, and starts over when it breaks.
//!
//! The only module of the agent that knows tonic. It owns the connection and what was sent on it; what is held until
//! it is acknowledged belongs to the outbox, and what the controller asks for (a collection, other intervals) is
//! handed on as [`Control`]. Nothing is sent before TLS has verified the controller, and nothing but `Hello` before
//! the controller's `Welcome`.
//!
//! A certificate that was renewed comes in through [`Credentials`]: the stream is then opened anew with it.
//!
//! What is live goes before what is late, and neither beyond the credit that the controller gives (`outgoing`).

mod connect;
mod credentials;
mod ended;
pub(crate) mod enrolment;
mod outgoing;
mod pace;
pub(crate) mod renewal;
mod session;
mod time;
mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_proto::v1::CloseReason;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use self::ended::{Ended, SessionError};
use self::pace::Pace;
use self::session::Session;
use crate::clocks::ClockReader;
use crate::command::link::Link;
use crate::identity::Identity;
use crate::outbox::{Acked, Outbox};

pub use self::connect::ConnectError;
pub use self::credentials::Credentials;
pub use self::enrolment::CallError;
pub use self::renewal::RenewCallError;
#[cfg(feature = "testing")]
pub use self::session::{Driven, Over};
pub use self::tls::{TlsError, WrongController};

/// The agent's version as it names it to the controller.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long the agent stays away from a controller that has revoked it.
const REVOKED_PAUSE: Duration = Duration::from_secs(60);
/// Longest time that a controller may ask an agent to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What the controller asks of the agent beside reports.
#[derive(Debug)]
pub enum Control {
    /// Collect now, and say when the reports of it have their numbers.
    CollectNow {
        /// Which collectors; empty means all.
        collectors: Vec<String>,
        /// Where the answer goes.
        reply: oneshot::Sender<Collected>,
    },
    /// Collect at other intervals from now on.
    SetCadence(Cadence),
}

/// How often the controller would have the agent collect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cadence {
    /// By collector, where it is named: how often, or `None` for the agent's own choice. An empty name stands for all
    /// that are not named otherwise.
    pub intervals: Vec<(String, Option<Duration>)>,
    /// Nothing is collected at all.
    pub heartbeat_only: bool,
}

/// How a collection went that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Whether every collector brought facts or found nothing to read.
    pub success: bool,
    /// For people: what failed.
    pub message: String,
    /// Highest number of the reports that carry the result.
    pub last_sequence: u64,
}

/// What happens on the stream, for whoever watches.
#[derive(Debug)]
pub enum UplinkEvent {
    /// The controller has welcomed the agent.
    Connected,
    /// The controller has stored reports.
    Acked {
        /// Their epoch.
        epoch: u64,
        /// The reports.
        reports: Vec<Acked>,
    },
    /// A stream that was connected has ended.
    Disconnected,
}

/// Watches a stream. Called from the stream's own task: it must not block for long.
pub trait Observer: Send + Sync {
    /// Takes an event.
    fn on_event(&self, event: &UplinkEvent);
}

/// How the agent presents itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// The controller's agent port, `HOST:PORT`.
    pub controller: String,
    /// The server's name as it calls itself.
    pub hostname: String,
}

/// A verified connection to the controller without a stream on it, for peers that make their own: simulated agents
/// that misbehave.
///
/// # Errors
/// [`DialError`].
pub async fn dial(
    identity: &Identity,
    controller: &str,
    source: Option<IpAddr>,
    clocks: ClockReader,
) -> Result<tonic::transport::Channel, DialError> {
    let tls = tls::of_identity(identity, &time::GoodTime::new(clocks))?;
    Ok(connect::open_from(source, controller, &tls).await?)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The identity's certificates or key are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The controller was not reached or verified.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// The stream to the controller; see the module's documentation.
pub struct Uplink {
    config: Config,
    credentials: Credentials,
    outbox: Arc<Outbox>,
    clocks: ClockReader,
    control_tx: Option<mpsc::Sender<Control>>,
    observer: Option<Arc<dyn Observer>>,
    connections: Arc<AtomicU64>,
    source: Option<IpAddr>,
    commands: Option<Link>,
}

impl Uplink {
    /// An uplink that is not connected yet.
    ///
    /// # Errors
    /// [`TlsError`] if the identity's certificates or key are not usable.
    pub fn new(
        config: Config,
        identity: &Identity,
        outbox: Arc<Outbox>,
        clocks: ClockReader,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            config,
            credentials: Credentials::of(identity, time::GoodTime::new(clocks.clone()))?,
            outbox,
            clocks,
            control_tx: None,
            observer: None,
            connections: Arc::default(),
            source: None,
            commands: None,
        })
    }

    /// Hands what the controller asks for to `control_tx`. Without this, or while it is full, requests are answered
    /// with a refusal.
    #[must_use]
    pub fn with_control(mut self, control_tx: mpsc::Sender<Control>) -> Self {
        self.control_tx = Some(control_tx);
        self
    }

    /// Keeps the last time that a controller has named in `path`, so that a wall clock that is lost with the next boot
    /// does not keep the agent away; `identity` is the one it was made with.
    #[must_use]
    pub fn with_good_time(self, path: Utf8PathBuf, identity: &Identity) -> Self {
        self.credentials.time().keep_in(path, identity.validity());
        self
    }

    /// Hands commands to this executor. Without one, each is answered with a refusal.
    #[must_use]
    pub fn with_commands(mut self, commands: Option<Link>) -> Self {
        self.commands = commands;
        self
    }

    /// Connects from this address of the machine.
    #[must_use]
    pub const fn with_source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// Tells `observer` what happens.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// What the agent shows to the controller, for whoever renews it.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Counts how often a controller has welcomed the agent.
    #[must_use]
    pub fn connections(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.connections)
    }

    /// Keeps a stream to the controller until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pace = Pace::new();
        let mut in_order = false;
        let mut tls = self.credentials.watch();
        loop {
            tls.mark_unchanged();
            let mut session = Session::new(&self, tls.clone(), in_order);
            let Some(ended) = shutdown.run_until_cancelled(session.run()).await else {
                return;
            };
            pace.learn(session.fleet_size());
            if session.was_of_use() {
                pace.reset();
            }
            self.outbox.disconnected();
            if session.is_welcome() {
                self.tell(&UplinkEvent::Disconnected);
            }
            drop(session);
            if matches!(ended, Ok(Ended::Renewed)) {
                info!("stream is opened anew with a renewed certificate");
                continue;
            }
            if ended::is_expired(&ended) {
                self.credentials.hint();
            }
            in_order = ended::wants_order(&ended);
            let delay = pace.pause(retry_after(&ended));
            self.log(&ended, pace.attempt(), delay);
            let pause = async {
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    // With another certificate it may go at once.
                    _ = tls.changed() => {}
                }
            };
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn tell(&self, event: &UplinkEvent) {
        if let Some(observer) = &self.observer {
            observer.on_event(event);
        }
    }

    fn tell_acked(&self, epoch: u64, reports: Vec<Acked>) {
        if !reports.is_empty() {
            self.tell(&UplinkEvent::Acked { epoch, reports });
        }
    }

    fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        info!(controller = self.config.controller, "connected to controller");
        self.tell(&UplinkEvent::Connected);
    }

    fn log(&self, ended: &Result<Ended, SessionError>, attempt: u32, retry_in: Duration) {
        let controller = self.config.controller.as_str();
        match ended {
            Ok(Ended::Closed {
                reason: CloseReason::Revoked,
                message,
                ..
            }) => {
                error!(
                    controller,
                    said = message,
                    ?retry_in,
                    "the controller has revoked this agent's identity"
                );
            }
            Ok(Ended::Closed {
                reason: CloseReason::Quarantined,
                message,
                ..
            }) => {
                error!(
                    controller,
                    said = message,
                    ?retry_in,
                    "the controller has put this agent's identity in quarantine: another machine seems to have a copy"
                );
            }
            Ok(Ended::Closed {
                reason,
                message,
                sequence,
                ..
            }) => {
                let reason = reason.as_str_name();
                warn!(
                    controller,
                    reason,
                    said = message,
                    sequence,
                    ?retry_in,
                    "controller closed the stream"
                );
            }
            Ok(Ended::Renewed) => {}
            Ok(Ended::WithoutReason) => warn!(controller, ?retry_in, "stream to controller ended"),
            Err(error) => {
                warn!(controller, error = %ErrorChain(error), attempt, ?retry_in, "no stream to controller");
            }
        }
    }
}

fn retry_after(ended: &Result<Ended, SessionError>) -> Duration {
    match ended {
        // It will not change its mind soon; trying on costs little and brings the agent back if it does.
        Ok(Ended::Closed {
            reason: CloseReason::Revoked | CloseReason::Quarantined,
            ..
        }) => REVOKED_PAUSE,
        Ok(Ended::Closed { retry_after, .. }) => (*retry_after).min(RETRY_AFTER_MAX),
        Ok(Ended::Renewed | Ended::WithoutReason) | Err(_) => Duration::ZERO,
    }
}
