//! Another key signs commands: made, stored together with what waits, and told to agents before the first command that it
//! has signed.
//!
//! A database that fails while it stores the key, or a request that is given up meanwhile, leaves open whether the key is
//! in. It is then kept beside the one that signs, and the database is asked which of them it has before anything is signed
//! or judged again: by the other one, all that waits would look forged.

use muster_base::ErrorChain;
use muster_proto::v1::{CommandEnvelope, CommandKeyStep, CommandKeys};
use prost::Message as _;
use thiserror::Error;
use tokio::sync::watch;

use super::Commands;
use crate::identity::{IdentityError, NextCommandKey};
use crate::store::StoreError;

/// Why the key was not replaced.
#[derive(Debug, Error)]
pub enum RotateError {
    /// None could be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database failed; the key is what it was.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database failed, and does not say whether it has the other key.
    #[error("whether the other key is stored is not known yet, and nothing is signed until it is")]
    Unclear(#[source] StoreError),
}

/// The key that signs commands, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// Its name.
    pub id: String,
    /// When it took the place of another, Unix ms; `None` if it is the first.
    pub since_ms: Option<i64>,
}

impl Commands {
    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> KeyView {
        KeyView {
            id: self.inner.identity.command_key_id(),
            since_ms: self.inner.identity.command_key_since_ms(),
        }
    }

    /// Has another key sign from now on. What waits is signed anew; agents take the new key and refuse the old one from
    /// then on. Returns the one before and the one after.
    ///
    /// # Errors
    /// [`RotateError`]; then the key is what it was, or which one signs is found out before it does.
    pub async fn rotate_key(&self) -> Result<(KeyView, KeyView), RotateError> {
        // Nothing is signed or judged by the old key meanwhile.
        let mut doubtful = self.inner.signing.write().await;
        self.settle_key(&mut doubtful).await?;
        let identity = &self.inner.identity;
        let before = self.key();
        // It stays there if this is given up half way.
        let next = doubtful.insert(identity.next_command_key()?);
        let again = |bytes: &[u8]| {
            let envelope = CommandEnvelope::decode(bytes).ok()?;
            // What is in the database and not ours is not made ours.
            if !identity.has_signed_command(&envelope.command, &envelope.signature) {
                return None;
            }
            let signed = CommandEnvelope {
                signature: next.sign(&envelope.command),
                key_id: next.id(),
                ..envelope
            };
            Some(signed.encode_to_vec())
        };
        let now_ms = self.inner.clock.now_ms();
        let store = &self.inner.store;
        let stored = store.rotate_command_key(next.changes(), again, now_ms).await;
        match stored {
            Ok(()) => self.adopt_key(doubtful.take()),
            // What fails last, the commit, may have been done even so.
            Err(error) => match self.settle_key(&mut doubtful).await {
                Ok(true) => {
                    tracing::warn!(error = %ErrorChain(&error), "a command key was stored in spite of a failure");
                }
                Ok(false) => return Err(error.into()),
                Err(_) => return Err(RotateError::Unclear(error)),
            },
        }
        Ok((before, self.key()))
    }

    /// Has the key sign that the database has, where that was open; whether it is the new one.
    ///
    /// # Errors
    /// A failure of the database; then it stays open.
    pub(super) async fn settle_key(&self, doubtful: &mut Option<NextCommandKey>) -> Result<bool, StoreError> {
        let Some(next) = doubtful else {
            return Ok(false);
        };
        let is_stored = self.inner.store.has_secrets(next.changes()).await?;
        let next = doubtful.take();
        if is_stored {
            self.adopt_key(next);
        }
        Ok(is_stored)
    }

    fn adopt_key(&self, next: Option<NextCommandKey>) {
        let Some(next) = next else { return };
        let before = self.key();
        self.inner.identity.adopt_command_key(next);
        let after = self.key();
        tracing::warn!(before = before.id, after = after.id, "another key signs commands");
        self.inner.rotated_tx.send_modify(|count| *count += 1);
    }

    /// Hears whenever another key signs.
    #[must_use]
    pub fn rotated(&self) -> watch::Receiver<u64> {
        self.inner.rotated_tx.subscribe()
    }

    /// The way to the key that signs, for agents; empty if it is the first.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn key_way(&self) -> Result<CommandKeys, IdentityError> {
        let steps = self.inner.identity.command_key_way()?.into_iter();
        let steps = steps.map(|step| CommandKeyStep {
            step: step.step,
            signed_by_old: step.signed_by_old,
            signed_by_new: step.signed_by_new,
            signed_by_roots: step.signed_by_roots,
        });
        Ok(CommandKeys {
            steps: steps.collect(),
        })
    }
}
