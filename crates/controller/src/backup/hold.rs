//! Who may delete: everybody, unless a backup is being made.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Keeps deletion and backup apart. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DeletionHold(Arc<RwLock<()>>);

/// The right to delete, for as long as it is kept.
#[derive(Debug)]
pub struct MayDelete(#[expect(dead_code, reason = "kept for its drop")] OwnedRwLockReadGuard<()>);

/// Nothing is deleted while this is kept.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "kept for its drop")] OwnedRwLockWriteGuard<()>);

impl DeletionHold {
    /// The right to delete until it is dropped; `None` while a backup is being made. What is due is deleted the next
    /// time.
    #[must_use]
    pub fn may_delete(&self) -> Option<MayDelete> {
        Arc::clone(&self.0).try_read_owned().ok().map(MayDelete)
    }

    /// Holds all deletion, once what is being deleted right now is through. A second hold waits for the first.
    pub async fn hold(&self) -> Held {
        Held(Arc::clone(&self.0).write_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_deletes_while_a_backup_is_made_and_everybody_does_after() {
        let hold = DeletionHold::default();
        let deleting = (hold.may_delete().unwrap(), hold.may_delete().unwrap());
        let waiting = tokio::spawn({
            let hold = hold.clone();
            async move { hold.hold().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "what is being deleted is waited for");
        drop(deleting);
        let held = waiting.await.unwrap();
        assert!(hold.may_delete().is_none());
        drop(held);
        assert!(hold.may_delete().is_some());
    }
}
