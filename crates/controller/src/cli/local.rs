//! Commands for whoever may use the data folder: through the control socket of a running controller, else with the
//! folder's lock and the database itself.

use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_base::clock::WallClock;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::app::{self, App, audit};
use crate::config::Config;
use crate::control::client::{self, ClientError};
use crate::control::lock::{DataLock, LockError};
use crate::control::{MadeToken, Request, Status, Told, Trust, server, trust};
use crate::identity::Seal;
use crate::run::{LOCK_WAIT_MAX, STATE_FILE, app_settings};
use crate::store::Store;

/// Between two tries to reach a controller that is starting or ending.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn create_token(
    config: &Config,
    ttl: Option<Duration>,
    uses: u32,
    server_id: Option<i64>,
) -> anyhow::Result<String> {
    let ttl_s = ttl.map(|ttl| ttl.as_secs());
    let request = Request::TokenCreate {
        ttl_s,
        uses,
        server_id,
    };
    let made = match reach(config, &request).await? {
        Reached::Running(made) => made,
        Reached::Alone(lock) => {
            let app = open(config).await?;
            let made = server::create_token(&app, ttl_s, uses, server_id, own_uid()).await?;
            close(&app, lock).await?;
            made
        }
    };
    Ok(made.token)
}

pub(super) async fn create_session(config: &Config) -> anyhow::Result<String> {
    let made: MadeToken = match reach(config, &Request::SessionCreate).await? {
        Reached::Running(made) => made,
        Reached::Alone(lock) => {
            let app = open(config).await?;
            let session = app.local_session(own_uid()).await?;
            close(&app, lock).await?;
            MadeToken {
                token: session.access_token,
            }
        }
    };
    Ok(made.token)
}

pub(super) async fn trust(config: &Config, asked: Trust) -> anyhow::Result<String> {
    let request = Request::Trust { trust: asked.clone() };
    let told: Told = match reach(config, &request).await? {
        Reached::Running(told) => told,
        Reached::Alone(lock) => {
            let app = open(config).await?;
            let uid = nix::unistd::geteuid().as_raw();
            let told = trust::answer(&app, asked, uid).await;
            close(&app, lock).await?;
            told.map_err(anyhow::Error::msg)?
        }
    };
    Ok(told.text)
}

pub(super) async fn status(config: &Config) -> anyhow::Result<String> {
    let status: Status = client::ask(&config.data_dir, &Request::Status).await?;
    Ok(serde_json::to_string(&status)?)
}

/// Reads the database itself: whoever doubts the log has no reason to ask the controller that writes it.
pub(super) async fn verify_audit(config: &Config) -> anyhow::Result<audit::Verdict> {
    let database = config.data_dir.join(STATE_FILE);
    if !database.exists() {
        bail!("there is no {database}: name the controller's folder with --data-dir");
    }
    let seal = Seal::load_or_make(&config.secret_key_file, true)?;
    let store = Store::open_read_only(&database).await?;
    let verdict = audit::verify(&store, seal.mac_key(audit::KEY_PURPOSE), &config.data_dir).await?;
    store.close().await?;
    Ok(verdict)
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Who does it.
enum Reached<T> {
    /// The running controller, and this is its answer.
    Running(T),
    /// Nobody else: the lock is ours.
    Alone(DataLock),
}

/// Asks the running controller, or makes sure that there is none.
async fn reach<T: DeserializeOwned>(config: &Config, request: &Request) -> anyhow::Result<Reached<T>> {
    let state = config.data_dir.join(STATE_FILE);
    if !state.exists() {
        // Otherwise a mistyped folder would become a new installation.
        bail!("there is no {state}: name the controller's folder with --data-dir, or start it there first");
    }
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match client::ask(&config.data_dir, request).await {
            Ok(answer) => return Ok(Reached::Running(answer)),
            Err(ClientError::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Held without a socket: it is starting or ending.
        match DataLock::take(&config.data_dir, Duration::ZERO).await {
            Ok(lock) => return Ok(Reached::Alone(lock)),
            Err(LockError::Held { .. }) if Instant::now() < deadline => tokio::time::sleep(TRY_AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) async fn open(config: &Config) -> anyhow::Result<App> {
    let database = config.data_dir.join(STATE_FILE);
    let settings = app_settings(config, config.agents.address);
    Ok(app::open(&database, &config.secret_key_file, WallClock::system(), settings).await?)
}

pub(super) async fn close(app: &App, lock: DataLock) -> anyhow::Result<()> {
    app.audit().anchor().await?;
    app.store().close().await.context("store the change")?;
    drop(lock);
    Ok(())
}
