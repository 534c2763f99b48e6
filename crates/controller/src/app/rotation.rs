//! Rotation of the root, as an admin does it: one step at a time, each stored before it counts.

use muster_base::id::AgentId;
use thiserror::Error;

use super::App;
use super::audit::{Actor, Entry};
use super::enrolment::Change;
use crate::identity::{IdentityError, Rotation, Step, StepError};
use crate::store::StoreError;

/// Agents named of those that do not trust all roots yet.
const BEHIND_MAX: u64 = 20;

/// Where the rotation is, and how many agents have followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaStatus {
    /// Where it is.
    pub rotation: Rotation,
    /// Agents that may connect.
    pub agents: u64,
    /// Those of them that were given the roots of now and have used the certificate that came with them.
    pub agents_following: u64,
    /// Some of the others.
    pub behind: Vec<AgentId>,
}

/// Why a step was not taken.
#[derive(Debug, Error)]
pub enum CaError {
    /// It does not fit, or a certificate could not be made.
    #[error(transparent)]
    Step(#[from] StepError),
    /// It is stored, but counts only after the next start.
    #[error("the step is stored, but counts only after the next start of the controller")]
    Late(#[source] IdentityError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CaError {
    const fn code(&self) -> &'static str {
        match self {
            Self::Step(StepError::OutOfOrder { .. }) => "out_of_order",
            Self::Step(StepError::TooMany) => "too_many",
            Self::Step(StepError::Identity(_)) | Self::Late(_) | Self::Store(_) => "internal",
        }
    }
}

impl App {
    /// Where the rotation of the root is.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn ca_status(&self) -> Result<CaStatus, StoreError> {
        let roots = self.identity.roots_sha256();
        let (agents, agents_following) = self.store.following(&roots).await?;
        Ok(CaStatus {
            rotation: self.identity.rotation(),
            agents,
            agents_following,
            behind: self.store.behind(&roots, BEHIND_MAX).await?,
        })
    }

    /// Takes a step. Agents that are connected are asked to renew their certificates, a few every second.
    ///
    /// # Errors
    /// [`CaError`].
    pub async fn ca_step(&self, step: Step, by: Actor) -> Result<CaStatus, CaError> {
        let done = self.try_step(step).await;
        let entry = match &done {
            Ok(phase) => Entry::allowed(by, "ca.step", step.as_str()).with_detail(*phase),
            Err(error) => Entry::refused(by, "ca.step", step.as_str(), error.code()),
        };
        self.audit.note(entry).await;
        done?;
        let _ = self.change_tx.send(Change::Roots);
        Ok(self.ca_status().await?)
    }

    async fn try_step(&self, step: Step) -> Result<&'static str, CaError> {
        let _only = self.ca_lock.lock().await;
        let (changes, stepped) = self.identity.step(step)?;
        let now_ms = self.clock.now_ms();
        self.store
            .replace_secrets(&changes.put, &changes.remove, now_ms)
            .await?;
        self.identity.complete(stepped).map_err(CaError::Late)?;
        let phase = self.identity.rotation().phase.as_str();
        tracing::info!(step = step.as_str(), phase, "rotation of the root stepped");
        Ok(phase)
    }
}

#[cfg(test)]
mod tests;
