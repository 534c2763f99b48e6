//! Renewal: an agent exchanges its certificate for one of the next generation, with a new key.
//!
//! Invariants: who asks is read from the certificate alone; of the request only the public key and the proof of
//! possession are used; a generation is followed once. A certificate whose generation was followed by another key is
//! in two hands, and nobody can tell which of them is the right one: both are put in quarantine. The same new key gets
//! the same generation again, because the answer may have been lost.

use thiserror::Error;

use super::admission::Obstacle;
use crate::app::App;
use crate::app::audit::{Actor, Entry};
use crate::identity::{AgentKey, IdentityError, PeerCertificate};
use crate::store::{IdentityRow, Renewal, RenewalOutcome, StoreError};

/// The action of entries about renewal.
const RENEW: &str = "agent.renew";

/// Why an identity is in quarantine of which two certificates were renewed.
const FORKED: &str = "a certificate that had been replaced asked for renewal: two hold its key";

/// A certificate of the next generation.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// Leaf and issuing certificate, DER.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Roots to trust, DER.
    pub trust_bundle: Vec<Vec<u8>>,
    /// Its generation.
    pub generation: u32,
}

/// Why a certificate was not renewed.
#[derive(Debug, Error)]
pub enum RenewError {
    /// It expired longer ago than is forgiven.
    #[error("the client certificate expired too long ago: enrol this agent again with a new token")]
    Expired,
    /// The identity is not known here.
    #[error(
        "the identity is not known here: an admin has to adopt it, or enrol this agent again with a new token"
    )]
    Held,
    /// It was seen in two places.
    #[error("the identity is in quarantine: it seems to be in use twice; an admin has to decide")]
    Quarantined,
    /// It was revoked.
    #[error("the identity was revoked: enrol this agent again with a new token")]
    Revoked,
    /// Another key has followed the certificate's.
    #[error("the client certificate was replaced by a newer one: enrol this agent again with a new token")]
    Superseded,
    /// The certificate request cannot be taken.
    #[error("the request cannot be taken: {0}")]
    BadRequest(String),
    /// The agent asks again and again.
    #[error("too many renewals, try again in {retry_after_ms} ms")]
    TooMany {
        /// When to try again, in ms.
        retry_after_ms: u64,
    },
    /// A certificate could not be made.
    #[error("make a certificate")]
    Issue(#[source] IdentityError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RenewError {
    /// The stable code that goes to the peer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired => "certificate_expired",
            Self::Held => "identity_held",
            Self::Quarantined => "identity_quarantined",
            Self::Revoked => "identity_revoked",
            Self::Superseded => "certificate_superseded",
            Self::BadRequest(_) => "bad_request",
            Self::TooMany { .. } => "too_many",
            Self::Issue(_) | Self::Store(_) => "internal",
        }
    }
}

impl App {
    /// Exchanges a verified client certificate, perhaps one that has expired a short while ago, for the next one.
    ///
    /// # Errors
    /// [`RenewError`], each with a stable code.
    pub async fn renew(&self, peer: &PeerCertificate, request: &[u8]) -> Result<Renewed, RenewError> {
        let done = self.try_renew(peer, request).await;
        match &done {
            Ok((renewed, is_again)) => {
                tracing::info!(
                    agent.id = %peer.agent,
                    generation = renewed.generation,
                    was_expired = peer.has_expired(self.clock.now_ms()),
                    is_again,
                    "agent certificate renewed"
                );
            }
            Err(error) => {
                self.refused(RENEW, error.code(), peer.agent).await;
                tracing::warn!(agent.id = %peer.agent, code = error.code(), "renewal refused");
            }
        }
        done.map(|(renewed, _)| renewed)
    }

    async fn try_renew(&self, peer: &PeerCertificate, request: &[u8]) -> Result<(Renewed, bool), RenewError> {
        let now_ms = self.clock.now_ms();
        if peer.is_dead(now_ms) {
            return Err(RenewError::Expired);
        }
        self.renewal_limit
            .take(peer.agent, now_ms)
            .map_err(|retry_after_ms| RenewError::TooMany { retry_after_ms })?;
        let mut identity = self.renewable(peer).await?;
        let key =
            AgentKey::from_request(request).map_err(|error| RenewError::BadRequest(error.to_string()))?;
        if *key.sha256() == peer.key_sha256 {
            return Err(RenewError::BadRequest(
                "a renewed certificate needs a new key".to_owned(),
            ));
        }
        loop {
            // The generation stands in the certificate, so it has to be known before the transaction that settles it.
            let expected = next_generation(peer, &key, &identity);
            let issued = self
                .identity
                .issue_agent(peer.agent, expected, &key, self.settings.agent_certificate_ttl)
                .map_err(RenewError::Issue)?;
            let roots_sha256 = self.identity.roots_sha256();
            let renewal = Renewal {
                agent: peer.agent,
                shown_sha256: &peer.key_sha256,
                key_sha256: key.sha256(),
                serial: &issued.serial,
                not_after_ms: issued.not_after_ms,
                roots_sha256: &roots_sha256,
            };
            match self.renew_told(&renewal).await? {
                RenewalOutcome::Done { generation, is_again } if generation == expected => {
                    let renewed = Renewed {
                        certificate_chain: issued.chain,
                        trust_bundle: self.identity.trust_bundle(),
                        generation,
                    };
                    return Ok((renewed, is_again));
                }
                // It was settled in parallel, with this same key. Now it is known, so this ends.
                RenewalOutcome::Done { .. } => identity = self.renewable(peer).await?,
                RenewalOutcome::Superseded => {
                    self.quarantine(peer.agent, FORKED).await?;
                    return Err(RenewError::Superseded);
                }
                // Meanwhile somebody put it in quarantine, revoked or removed it; which of them, the identity says.
                RenewalOutcome::NotActive => identity = self.renewable(peer).await?,
            }
        }
    }

    /// Renews, with its entry in the audit log.
    async fn renew_told(&self, renewal: &Renewal<'_>) -> Result<RenewalOutcome, StoreError> {
        let agent = renewal.agent;
        let entry = Entry::allowed(Actor::Agent(agent), RENEW, agent.to_string());
        let begun = self.audit.begin(&entry).await;
        let outcome = self.store.renew(renewal).await;
        if let Ok(RenewalOutcome::Done { generation, .. }) = &outcome {
            let entry = entry.with_detail(format!("generation {generation}"));
            self.audit.conclude(Some(begun), entry).await;
        } else {
            self.audit.end(begun).await;
        }
        outcome
    }

    /// The identity behind a certificate, if it may be renewed.
    async fn renewable(&self, peer: &PeerCertificate) -> Result<IdentityRow, RenewError> {
        self.known(peer).await?.map_err(|obstacle| match obstacle {
            Obstacle::Held => RenewError::Held,
            Obstacle::Revoked => RenewError::Revoked,
            Obstacle::Quarantined => RenewError::Quarantined,
        })
    }
}

/// The generation that this key has, or will have if it follows the one shown.
fn next_generation(peer: &PeerCertificate, key: &AgentKey, identity: &IdentityRow) -> u32 {
    let is_again = identity.key_sha256 == key.sha256()
        && identity.previous_key_sha256.as_deref() == Some(&peer.key_sha256);
    if is_again {
        identity.generation
    } else {
        identity.generation.saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
