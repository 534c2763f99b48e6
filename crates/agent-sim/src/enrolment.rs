//! Identities of all agents, from disk or from the controller.

use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use muster_agent::enrol::{self, EnrolError};
use muster_agent::identity::{Identity, IdentityDir};
use muster_agent::uplink::CallError;
use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use muster_proto::token::EnrolmentToken;
use tracing::{info, warn};

use crate::cli::Args;

/// Tries of one agent that end in something else than "later".
const TRIES_MAX: u32 = 10;
/// A folder for identities holds so many agents between two lines of progress.
const PROGRESS_EVERY: usize = 500;

/// The name of an agent's server.
pub(crate) fn name(index: u32) -> String {
    format!("sim-{index}")
}

/// The folder of one agent.
pub(crate) fn folder(data_dir: &Utf8Path, index: u32) -> Utf8PathBuf {
    data_dir.join(index.to_string())
}

/// Enrols every agent that has no identity yet.
pub(crate) async fn enrol_all(args: &Args, data_dir: &Utf8Path) -> anyhow::Result<()> {
    let missing: Vec<u32> = (0..args.agents)
        .filter(|&index| !IdentityDir::below(&folder(data_dir, index)).is_enrolled())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let token = enrol::read_token(&args.token_file).context("agents have to be enrolled")?;
    let total = missing.len();
    info!(agents = total, "enrolling");
    let token = &token;
    stream::iter(missing)
        .map(|index| async move {
            let folder = folder(data_dir, index);
            enrol_one(token, &args.controller, &name(index), &folder)
                .await
                .with_context(|| name(index))
        })
        .buffer_unordered(args.enrolments as usize)
        .enumerate()
        .map(|(done, result)| {
            if (done + 1) % PROGRESS_EVERY == 0 {
                info!(enrolled = done + 1, total, "enrolling");
            }
            result
        })
        .try_collect()
        .await
}

/// The identity of an enrolled agent.
pub(crate) fn load(data_dir: &Utf8Path, index: u32) -> anyhow::Result<Identity> {
    IdentityDir::below(&folder(data_dir, index))
        .load()
        .with_context(|| name(index))
}

async fn enrol_one(
    token: &EnrolmentToken,
    controller: &str,
    name: &str,
    folder: &Utf8Path,
) -> Result<(), EnrolError> {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
    loop {
        let delay = match enrol::redeem(token, controller, name, folder).await {
            Ok(_) => return Ok(()),
            // Some spread, or all that were told the same time come back together.
            Err(EnrolError::Call(CallError::Later { retry_after, .. })) => {
                retry_after + retry_after.mul_f64(fastrand::f64())
            }
            Err(EnrolError::Call(error)) if error.is_transient() && backoff.attempt() < TRIES_MAX => {
                let delay = backoff.next_delay();
                warn!(agent = name, error = %ErrorChain(&error), retry_in = ?delay, "not enrolled yet");
                delay
            }
            Err(error) => return Err(error),
        };
        tokio::time::sleep(delay).await;
    }
}
