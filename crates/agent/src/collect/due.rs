//! What does not wait for its next turn: a collector that learned of a change is run soon.
//!
//! A change that comes while another waits to be looked at is looked at with it, so that no flood of changes becomes a
//! flood of collections. In the privileged process nobody runs collectors by themselves: there, changes are passed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

/// Tells of collectors that have something new to find. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Due {
    waiting: Arc<Mutex<BTreeMap<&'static str, Arc<Notify>>>>,
    passed_on: Option<mpsc::Sender<&'static str>>,
}

impl Due {
    /// One that passes on what it is told; what finds no room there is told already.
    #[must_use]
    pub fn passed_on(names_tx: mpsc::Sender<&'static str>) -> Self {
        Self {
            passed_on: Some(names_tx),
            ..Self::default()
        }
    }

    /// There is something new for this collector.
    pub fn tell(&self, collector: &'static str) {
        match &self.passed_on {
            // Full: as many wait to be passed on as there can be, and this collector is run anyway.
            Some(names_tx) => drop(names_tx.try_send(collector)),
            None => self.of(collector).notify_one(),
        }
    }

    /// Wakes whoever runs this collector; one that comes before anybody waits is kept.
    pub(crate) fn of(&self, collector: &'static str) -> Arc<Notify> {
        Arc::clone(self.waiting.lock().entry(collector).or_default())
    }
}
