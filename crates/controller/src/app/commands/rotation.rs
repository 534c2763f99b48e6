//! Another key signs commands: made, stored together with what waits, and told to agents before the first command that it
//! has signed.

use muster_proto::v1::{CommandEnvelope, CommandKeyStep, CommandKeys};
use prost::Message as _;
use thiserror::Error;
use tokio::sync::watch;

use super::Commands;
use crate::identity::IdentityError;
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
    /// [`RotateError`]; then the key is what it was.
    pub async fn rotate_key(&self) -> Result<(KeyView, KeyView), RotateError> {
        // Nothing is signed or judged by the old key meanwhile.
        let _only = self.inner.signing.write().await;
        let identity = &self.inner.identity;
        let before = self.key();
        let next = identity.next_command_key()?;
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
        store.rotate_command_key(next.changes(), again, now_ms).await?;
        identity.adopt_command_key(next);
        let after = self.key();
        tracing::warn!(before = before.id, after = after.id, "another key signs commands");
        self.inner.rotated_tx.send_modify(|count| *count += 1);
        Ok((before, after))
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
