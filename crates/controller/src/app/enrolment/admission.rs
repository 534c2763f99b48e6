//! Who may connect: agents whose identity is known, and neither revoked nor in quarantine.

use muster_base::id::{AgentId, ServerId};
use thiserror::Error;

use crate::app::App;
use crate::app::audit::{Actor, Entry};
use crate::identity::PeerCertificate;
use crate::store::{CaughtUp, IdentityRow, Standing, StoreError};

/// An agent that may open a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The agent.
    pub agent: AgentId,
    /// The server it reports for.
    pub server: ServerId,
    /// The server's name.
    pub hostname: String,
    /// Whether it should collect; if not it only sends heartbeats.
    pub monitoring_enabled: bool,
    /// Time between collections that an operator set for this server, in seconds.
    pub collection_interval_s: Option<u32>,
}

/// Why an agent may not open a stream.
#[derive(Debug, Error)]
pub enum AdmitError {
    /// The certificate has expired (within the grace in which it may still be renewed).
    #[error("the client certificate has expired")]
    Expired,
    /// The certificate is ours, the identity is not known, as after a restore of an older state database.
    #[error(
        "the identity is not known here: an admin has to adopt it, or enrol this agent again with a new token"
    )]
    Held,
    /// It was revoked.
    #[error("the identity was revoked")]
    Revoked,
    /// It was seen in two places.
    #[error("the identity is in quarantine: it seems to be in use twice; an admin has to decide")]
    Quarantined,
    /// The identity was renewed, and the newer certificate is in use.
    #[error("the client certificate was replaced by a newer one")]
    Superseded,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdmitError {
    /// The stable code that goes to the peer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired => "certificate_expired",
            Self::Held => "identity_held",
            Self::Revoked => "identity_revoked",
            Self::Quarantined => "identity_quarantined",
            Self::Superseded => "certificate_superseded",
            Self::Store(_) => "internal",
        }
    }
}

/// What stands against an agent, whatever it wants.
#[derive(Debug)]
pub(super) enum Obstacle {
    Held,
    Revoked,
    Quarantined,
}

impl App {
    /// Decides whether the holder of a verified client certificate may open a stream.
    ///
    /// # Errors
    /// [`AdmitError`].
    pub async fn admit(&self, peer: &PeerCertificate) -> Result<Admitted, AdmitError> {
        let decided = self.try_admit(peer).await;
        if let Err(error) = &decided {
            self.refused("agent.connect", error.code(), peer.agent).await;
        }
        decided
    }

    async fn try_admit(&self, peer: &PeerCertificate) -> Result<Admitted, AdmitError> {
        if peer.has_expired(self.clock.now_ms()) {
            return Err(AdmitError::Expired);
        }
        let identity = match self.known(peer).await? {
            Ok(identity) => identity,
            Err(Obstacle::Held) => return Err(AdmitError::Held),
            Err(Obstacle::Revoked) => return Err(AdmitError::Revoked),
            Err(Obstacle::Quarantined) => return Err(AdmitError::Quarantined),
        };
        self.check_generation(peer, &identity).await?;
        // The identities of a deleted server were revoked with it.
        let server = identity.server.ok_or(AdmitError::Revoked)?;
        Ok(Admitted {
            agent: peer.agent,
            server: server.id,
            hostname: server.fields.hostname,
            monitoring_enabled: server.fields.monitoring_enabled,
            collection_interval_s: server.fields.collection_interval_s,
        })
    }

    /// The identity behind a certificate, brought up to the generation that the certificate proves; or what stands
    /// against it.
    pub(super) async fn known(
        &self,
        peer: &PeerCertificate,
    ) -> Result<Result<IdentityRow, Obstacle>, StoreError> {
        // What the file beside the database says counts even if the database was exchanged under it.
        if self.revoked.contains(peer.agent) {
            return Ok(Err(Obstacle::Revoked));
        }
        let Some(identity) = self.store.identity(peer.agent).await? else {
            return Ok(Err(Obstacle::Held));
        };
        match identity.standing {
            Standing::Active => {}
            Standing::Quarantined(_) => return Ok(Err(Obstacle::Quarantined)),
            Standing::Revoked => return Ok(Err(Obstacle::Revoked)),
        }
        match peer.generation {
            Some(generation) if identity.generation < generation => self.catch_up(peer, generation).await,
            _ => Ok(Ok(identity)),
        }
    }

    /// Only we can have issued a generation, so one that is not known here was issued after the state database was
    /// backed up that this one was restored from.
    async fn catch_up(
        &self,
        peer: &PeerCertificate,
        generation: u32,
    ) -> Result<Result<IdentityRow, Obstacle>, StoreError> {
        let shown = CaughtUp {
            agent: peer.agent,
            generation,
            serial: &peer.serial,
            key_sha256: &peer.key_sha256,
            not_after_ms: peer.not_after_ms,
        };
        if self.store.catch_up(&shown).await? {
            tracing::info!(agent.id = %peer.agent, generation, "newer generation of an agent taken over");
            let entry = Entry::allowed(Actor::System, "agent.catch_up", peer.agent.to_string());
            self.audit
                .note(entry.with_detail(format!("generation {generation}")))
                .await;
        }
        Ok(self.store.identity(peer.agent).await?.ok_or(Obstacle::Held))
    }

    /// Lets the newest generation in and, until that was used, the one before: its agent may not have the answer.
    async fn check_generation(
        &self,
        peer: &PeerCertificate,
        identity: &IdentityRow,
    ) -> Result<(), AdmitError> {
        let is_previous = identity.previous_key_sha256.as_deref() == Some(&peer.key_sha256);
        if identity.key_sha256 == peer.key_sha256 {
            if identity.previous_key_sha256.is_some() {
                self.store
                    .forget_previous_key(peer.agent, &peer.key_sha256)
                    .await?;
            }
            return Ok(());
        }
        if is_previous {
            return Ok(());
        }
        tracing::warn!(
            agent.id = %peer.agent,
            serial = peer.serial,
            "a replaced certificate was shown: a clone, a restored disk, or a thief"
        );
        Err(AdmitError::Superseded)
    }
}
