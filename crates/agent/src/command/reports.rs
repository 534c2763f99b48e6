//! What is to be told of commands: of each the newest word alone, so that however fast a command goes and however long
//! nobody listens, there is never more than one a command.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_proto::convert::CommandReport;
use tokio::sync::Notify;
use uuid::Uuid;

/// Words that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    waiting: Mutex<BTreeMap<Uuid, CommandReport>>,
    changed: Notify,
}

/// Most that wait; journalled commands are fewer, the rest are refusals of what nobody signed.
const WAITING_MAX: usize = 512;

impl Reports {
    /// Puts a word in the place of the one before of the same command. Beyond the bound it is left out: what counts is
    /// in the journal and told again.
    pub(crate) fn put(&self, report: CommandReport) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING_MAX || waiting.contains_key(&report.status.id) {
            waiting.insert(report.status.id, report);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Takes a word, if there is one.
    pub(crate) fn take(&self) -> Option<CommandReport> {
        self.lock().pop_first().map(|(_, report)| report)
    }

    /// Waits until there may be a word.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, CommandReport>> {
        // Nothing in here can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
