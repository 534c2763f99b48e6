//! The parts that keep: state, intake, samples, and the consumers between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use tokio::time::Instant;

use super::{RunError, STATE_FILE, app_settings, password, until_deadline};
use crate::alert::{self, Alerts};
use crate::app::{self, App};
use crate::config::Config;
use crate::consume::{self, Consumers, SAMPLES_CONSUMER, StartError};
use crate::intake::{self, Intake};
use crate::registry::Registries;
use crate::run::serving::outbound;
use crate::store::Store;
use crate::task::TaskError;
use crate::update::{ByCommand, Updates};

/// The sample store's folder in the data folder.
const SAMPLES_DIR: &str = "samples";
/// The parts that keep.
pub(super) struct Data {
    pub(super) app: Arc<App>,
    pub(super) intake: Intake,
    pub(super) samples: Arc<muster_samples::Store>,
    pub(super) consumers: Consumers,
    pub(super) alerts: Alerts,
    pub(super) registries: Registries,
    pub(super) updates: Updates,
    judging: alert::Running,
    stop_judging: CancellationToken,
    stop_consumers: CancellationToken,
}

impl Data {
    /// Opens everything; `agents` is where the agent port listens.
    pub(super) async fn open(config: &Config, agents: SocketAddr) -> Result<Self, RunError> {
        let clock = WallClock::system();
        let app = Arc::new(open_app(config, agents, &clock).await?);
        let applied = consume::applied(app.store()).await?;
        let opening = {
            let (data_dir, clock) = (config.data_dir.clone(), clock.clone());
            let options = intake_options(config, applied);
            move || Intake::open(&data_dir, options, clock)
        };
        let intake = tokio::task::spawn_blocking(opening).await??;
        let samples = open_samples(config).await?;
        let stop_judging = CancellationToken::new();
        let (alerts, judging) = Alerts::start(Arc::clone(&app), intake.clone(), stop_judging.clone()).await?;
        let stop_consumers = CancellationToken::new();
        let parts = consume::Parts {
            intake: intake.clone(),
            store: app.store().clone(),
            samples: Arc::clone(&samples),
            alerts: Some(alerts.clone()),
            clock,
        };
        let consumers = consume::spawn(parts, stop_consumers.clone()).await?;
        let registries = Registries::new(Arc::clone(&app), outbound(config)?);
        app.commands().keep_credentials_at(Arc::new(registries.clone()));
        let issue = ByCommand {
            commands: app.commands().clone(),
            registries: Some(registries.clone()),
        };
        let updates = Updates::new(Arc::clone(&app), Arc::new(registries.clone()), Arc::new(issue));
        Ok(Self {
            registries,
            updates,
            app,
            intake,
            samples,
            consumers,
            alerts,
            judging,
            stop_judging,
            stop_consumers,
        })
    }

    /// Waits until everything that is accepted by now is applied.
    pub(super) async fn caught_up(&self) {
        let committed = *self.intake.committed().borrow();
        let mut applied = self.consumers.applied.clone();
        // An error means that the consumers have ended, which they only do when told to.
        let _ = applied.wait_for(|position| committed <= *position).await;
    }

    /// Applies what was accepted, seals it, and closes everything. To be called once nothing more is handed in.
    pub(super) async fn close(self, deadline: Instant) {
        until_deadline(deadline, "applying accepted reports", self.caught_up()).await;
        self.stop_consumers.cancel();
        until_deadline(deadline, "consumers", self.consumers.ended()).await;
        self.stop_judging.cancel();
        until_deadline(deadline, "judging of alerts", self.judging.ended()).await;
        // What is sealed now need not be applied again by the next start.
        let sealing = seal_all(&self.samples, self.app.store());
        until_deadline(deadline, "sealing", async {
            if let Err(error) = sealing.await {
                tracing::warn!(error = %ErrorChain(&*error), "samples not sealed, the next start applies them again");
            }
        })
        .await;
        until_deadline(deadline, "intake", self.intake.close()).await;
        until_deadline(deadline, "audit log", async {
            if let Err(error) = self.app.audit().anchor().await {
                tracing::warn!(error = %ErrorChain(&error), "audit log not anchored");
            }
        })
        .await;
        let store = self.app.store();
        until_deadline(deadline, "state database", async {
            if let Err(error) = store.close().await {
                tracing::warn!(error = %ErrorChain(&error), "state database not closed in order");
            }
        })
        .await;
    }
}

/// Seals everything and writes down that it need not be applied again.
async fn seal_all(samples: &Arc<muster_samples::Store>, store: &Store) -> Result<(), TaskError> {
    let sealed = Arc::clone(samples);
    tokio::task::spawn_blocking(move || sealed.flush_all()).await??;
    let passed = samples.safe_position() - 1;
    if store.consumer_position(SAMPLES_CONSUMER).await? < passed {
        store.set_consumer_position(SAMPLES_CONSUMER, passed).await?;
    }
    Ok(())
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(source) => Self::Store(source),
            StartError::Intake(source) => Self::Intake(source),
        }
    }
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
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let options = muster_samples::Options {
        series: config.samples.series,
        retention_ms: ms(config.samples.retention),
        five_minutes_retention_ms: ms(config.samples.retention_5m),
        hour_retention_ms: ms(config.samples.retention_1h),
        ..muster_samples::Options::default()
    };
    let opened = tokio::task::spawn_blocking(move || muster_samples::Store::open(&folder, options)).await?;
    Ok(Arc::new(opened?))
}

fn intake_options(config: &Config, applied: i64) -> intake::Options {
    intake::Options {
        applied,
        size_bytes_max: config.intake.size_bytes_max,
        free_percent_min: config.intake.free_percent_min,
        ..intake::Options::default()
    }
}
