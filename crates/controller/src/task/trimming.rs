//! Trimming: records that every consumer has passed leave the intake, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Task, TaskError};
use crate::consume::SAMPLES_CONSUMER;
use crate::intake::{Intake, Trimmed};
use crate::store::Store;

/// How long cursors and definitions are kept after an epoch's last report, ms.
const EPOCHS_KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// Pause between two steps, so that commits of reports come between.
const STEP_PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Trimming {
    intake: Intake,
    samples: Arc<muster_samples::Store>,
    state_applied: watch::Receiver<i64>,
    store: Store,
}

impl Trimming {
    pub(super) const fn new(
        intake: Intake,
        samples: Arc<muster_samples::Store>,
        state_applied: watch::Receiver<i64>,
        store: Store,
    ) -> Self {
        Self {
            intake,
            samples,
            state_applied,
            store,
        }
    }
}

#[async_trait]
impl Task for Trimming {
    fn name(&self) -> &'static str {
        "trim_intake"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn run(&self, now_ms: i64) -> Result<(), TaskError> {
        // Only what is written down counts: the sample store's own position is forgotten with the process.
        let samples_passed = self.store.consumer_position(SAMPLES_CONSUMER).await?;
        let passed = samples_passed
            .min(self.samples.safe_position() - 1)
            .min(*self.state_applied.borrow());
        while self.intake.trim(passed + 1, now_ms - EPOCHS_KEPT_MS).await? != Trimmed::default() {
            tokio::time::sleep(STEP_PAUSE).await;
        }
        Ok(())
    }
}
