//! Renewal of the agent's certificate, half way through its life.
//!
//! Owns when that is, and the order that makes it safe to be interrupted anywhere: the new key is on disk before the
//! call, the answer is checked before it counts, the switch on disk is one rename, and only then do connections use
//! it. Must not know the stream: it puts what is new into [`Credentials`], and the stream opens anew by itself.

use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use muster_proto::EXPIRED_GRACE_MS;
use rcgen::{CertificateParams, KeyPair};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::identity::{Identity, IdentityDir, IdentityError, is_for_key, on_disk, private_key};
use crate::uplink::{Credentials, RenewCallError, TlsError, renewal};

const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Pause after a refusal that only people can lift; asking on costs little and brings the agent back if they do.
const REFUSED_PAUSE: Duration = Duration::from_secs(3_600);
/// How often the wall clock is looked at, which may be set or stand still while the machine sleeps.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// Shortest pause between two renewals, whatever clocks and hints say; or a twentieth of the certificate's life.
const REST_MIN: Duration = Duration::from_secs(10);

/// Why a certificate was not renewed.
#[derive(Debug, Error)]
pub(crate) enum RenewError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("make a certificate request")]
    Request(#[source] rcgen::Error),
    #[error(transparent)]
    Call(#[from] RenewCallError),
    #[error("the controller's answer is of no use: {0}")]
    Answer(&'static str),
    #[error("the controller's answer is of no use")]
    Tls(#[from] TlsError),
}

/// Keeps the certificate fresh.
pub struct Renewer {
    identity: Identity,
    dir: IdentityDir,
    controller: String,
    credentials: Credentials,
    now_ms: Box<dyn Fn() -> i64 + Send + Sync>,
    due_ms: i64,
    /// Not to be renewed before this, so that clocks that disagree do not make a loop.
    rested_at: Instant,
}

impl Renewer {
    /// Renews `identity`, which is the one in `dir` and in `credentials`, with the controller at `HOST:PORT`.
    #[must_use]
    pub fn new(
        identity: Identity,
        dir: IdentityDir,
        controller: String,
        credentials: Credentials,
        now_ms: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            due_ms: due_ms(identity.validity(), fastrand::f64()),
            identity,
            dir,
            controller,
            credentials,
            now_ms: Box::new(now_ms),
            rested_at: Instant::now(),
        }
    }

    /// Renews whenever it is time. Drops `usable` as soon as the certificate may be used: at once, or after the first
    /// try to renew one that has expired.
    pub async fn run(mut self, usable: oneshot::Sender<()>) {
        let mut usable = Some(usable).filter(|_| self.left_ms().is_some_and(|left_ms| left_ms <= 0));
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        loop {
            self.until_due().await;
            let renewed = self.renew().await;
            drop(usable.take());
            let delay = match renewed {
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(RenewError::Call(RenewCallError::Refused { .. })) => REFUSED_PAUSE,
                Err(RenewError::Call(RenewCallError::Later { retry_after, .. })) => {
                    backoff.next_delay().max(retry_after)
                }
                Err(_) => backoff.next_delay(),
            };
            if let Err(error) = renewed {
                self.log(&error, delay);
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Waits until the certificate is to be renewed.
    async fn until_due(&self) {
        tokio::time::sleep_until(self.rested_at).await;
        loop {
            let left_ms = self.due_ms.saturating_sub((self.now_ms)());
            let Some(left_ms) = u64::try_from(left_ms).ok().filter(|&left_ms| 0 < left_ms) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(left_ms).min(CHECK_EVERY)) => {}
                () = self.credentials.hinted() => return,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), RenewError> {
        let key = self.next_key().await?;
        let request = CertificateParams::default()
            .serialize_request(&key)
            .map_err(RenewError::Request)?;
        let answer = renewal::call(&self.controller, &self.credentials, request.der().to_vec()).await?;
        let next = self.next_identity(answer, &key)?;
        // Tried before it counts: an identity that TLS does not take must not replace one that it does.
        let prepared = self.credentials.prepare(&next)?;
        let next = on_disk(self.dir.clone(), move |dir| {
            dir.switch(&next, &key).map(|()| next)
        })
        .await?;
        self.credentials.put(prepared);
        self.identity = next;
        let validity = self.identity.validity();
        self.due_ms = due_ms(validity, fastrand::f64());
        self.rested_at = Instant::now() + rest(validity);
        info!(
            generation = self.identity.generation,
            expires_ms = validity.map(|(_, expires_ms)| expires_ms),
            "certificate renewed"
        );
        Ok(())
    }

    async fn next_key(&self) -> Result<KeyPair, IdentityError> {
        let current = self.identity.key.clone_key();
        on_disk(self.dir.clone(), move |dir| dir.next_key_or_new(&current)).await
    }

    fn next_identity(&self, answer: renewal::Answer, key: &KeyPair) -> Result<Identity, RenewError> {
        let leaf = answer
            .chain
            .first()
            .ok_or(RenewError::Answer("it has no certificate"))?;
        if !is_for_key(leaf, key) {
            return Err(RenewError::Answer("the certificate is not for our key"));
        }
        if answer.roots.is_empty() {
            return Err(RenewError::Answer("it has no root"));
        }
        // Files are named after generations: one that comes again would overwrite what still counts.
        if answer.generation <= self.identity.generation {
            return Err(RenewError::Answer("the generation did not rise"));
        }
        Ok(Identity {
            agent_id: self.identity.agent_id,
            server_id: self.identity.server_id,
            generation: answer.generation,
            controller: self.identity.controller.clone(),
            chain: answer.chain,
            roots: answer.roots,
            command_keys: self.identity.command_keys.clone(),
            key: private_key(key),
        })
    }

    /// Time until the certificate expires; `None` if that can't be read from it.
    fn left_ms(&self) -> Option<i64> {
        let (_, expires_ms) = self.identity.validity()?;
        Some(expires_ms.saturating_sub((self.now_ms)()))
    }

    fn log(&self, failure: &RenewError, retry_in: Duration) {
        let left_ms = self.left_ms().unwrap_or(0);
        let is_dead = left_ms < -EXPIRED_GRACE_MS;
        let hours_left = left_ms / 3_600_000;
        if !is_dead && !matches!(failure, RenewError::Call(RenewCallError::Refused { .. })) {
            warn!(error = %ErrorChain(failure), hours_left, ?retry_in, "certificate is not renewed yet");
            return;
        }
        error!(
            error = %ErrorChain(failure),
            hours_left,
            "certificate can't be renewed: remove {} and enrol again with a new token, made with \
             `muster-controller token create --server {}`",
            self.dir.path(),
            self.identity.server_id
        );
    }
}

/// When to renew: half way through a certificate's life, sooner or later by up to a tenth of that, so that agents
/// that were enrolled together do not all come at once.
fn due_ms(validity: Option<(i64, i64)>, chance: f64) -> i64 {
    // One that can't be read is not renewed before the controller says that it has expired.
    validity.map_or(i64::MAX, |(issued_ms, expires_ms)| {
        let life_ms = expires_ms.saturating_sub(issued_ms) as f64;
        issued_ms.saturating_add((life_ms * chance.mul_add(0.1, 0.45)) as i64)
    })
}

fn rest(validity: Option<(i64, i64)>) -> Duration {
    let life_ms = validity.map_or(0, |(issued_ms, expires_ms)| expires_ms.saturating_sub(issued_ms));
    Duration::from_millis(u64::try_from(life_ms / 20).unwrap_or(0)).max(REST_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn renewal_is_half_way_give_or_take_a_tenth() {
        let week = Some((DAY_MS, 8 * DAY_MS));
        let hours = |chance| (due_ms(week, chance) - DAY_MS) / 3_600_000;
        assert_eq!((hours(0.0), hours(0.5), hours(1.0)), (75, 84, 92));
        assert_eq!(due_ms(None, 0.5), i64::MAX);
    }

    #[test]
    fn clocks_that_disagree_make_no_loop() {
        assert_eq!(rest(Some((0, 60_000))), Duration::from_secs(10));
        assert!(Duration::from_secs(8 * 3_600) < rest(Some((0, 7 * DAY_MS))));
    }
}
