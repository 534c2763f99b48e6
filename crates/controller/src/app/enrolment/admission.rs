//! Who may connect: agents whose identity is known and was not revoked.

use muster_base::id::{AgentId, ServerId};
use thiserror::Error;
use tokio::sync::broadcast;

use crate::app::App;
use crate::identity::PeerCertificate;
use crate::store::{IdentityRow, StoreError};

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
    /// No such identity.
    #[error("the identity is not known here")]
    Unknown,
    /// It was revoked.
    #[error("the identity was revoked")]
    Revoked,
    /// The identity was renewed, and the newer certificate is in use.
    #[error("the client certificate was replaced by a newer one")]
    Superseded,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Decides whether the holder of a verified client certificate may open a stream.
    ///
    /// # Errors
    /// [`AdmitError`].
    pub async fn admit(&self, peer: &PeerCertificate) -> Result<Admitted, AdmitError> {
        if peer.has_expired(self.clock.now_ms()) {
            return Err(AdmitError::Expired);
        }
        let identity = self
            .store
            .identity(peer.agent)
            .await?
            .ok_or(AdmitError::Unknown)?;
        if !identity.is_active {
            return Err(AdmitError::Revoked);
        }
        self.check_generation(peer, &identity).await?;
        let fields = identity.server.fields;
        Ok(Admitted {
            agent: peer.agent,
            server: identity.server.id,
            hostname: fields.hostname,
            monitoring_enabled: fields.monitoring_enabled,
            collection_interval_s: fields.collection_interval_s,
        })
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
        tell_possible_clone(peer);
        Err(AdmitError::Superseded)
    }

    /// Tells of each identity at the moment it is revoked; whoever holds its stream closes it.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<AgentId> {
        self.revoked_tx.subscribe()
    }

    pub(in crate::app) fn tell_revoked(&self, agents: &[AgentId]) {
        for &agent in agents {
            tracing::info!(agent.id = %agent, "identity revoked");
            // Nobody listening means that no stream is open.
            let _ = self.revoked_tx.send(agent);
        }
    }
}

/// A certificate that was replaced is only ever shown by a copy: a cloned machine, a restored backup, a thief.
pub(super) fn tell_possible_clone(peer: &PeerCertificate) {
    tracing::warn!(
        agent.id = %peer.agent,
        serial = peer.serial,
        "a replaced certificate was shown: possibly a clone of the agent"
    );
}
