//! Trimming: records that every consumer has passed leave the intake, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Task, TaskError};
use crate::alert::ALERTS_CONSUMER;
use crate::backup::DeletionHold;
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
    hold: DeletionHold,
}

impl Trimming {
    pub(super) const fn new(
        intake: Intake,
        samples: Arc<muster_samples::Store>,
        state_applied: watch::Receiver<i64>,
        store: Store,
        hold: DeletionHold,
    ) -> Self {
        Self {
            intake,
            samples,
            state_applied,
            store,
            hold,
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
        let Some(_may_delete) = self.hold.may_delete() else {
            return Ok(());
        };
        // Only what is written down counts: the sample store's own position is forgotten with the process.
        let samples_passed = self.store.consumer_position(SAMPLES_CONSUMER).await?;
        let judged = self.store.consumer_position(ALERTS_CONSUMER).await?;
        let passed = samples_passed
            .min(judged)
            .min(self.samples.safe_position() - 1)
            .min(*self.state_applied.borrow());
        while self.intake.trim(passed + 1, now_ms - EPOCHS_KEPT_MS).await? != Trimmed::default() {
            tokio::time::sleep(STEP_PAUSE).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consume::tests::{Whole, dir_of};
    use crate::intake::tests::{EPOCH, NOW, define, report_of, series, submit, with_samples};
    use crate::task::sealing::Sealing;

    const HOUR_MS: i64 = 3_600_000;

    async fn records(intake: &Intake) -> usize {
        intake
            .page_after(0, usize::MAX, usize::MAX)
            .await
            .unwrap()
            .records
            .len()
    }

    #[tokio::test]
    async fn records_go_when_their_samples_are_sealed_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let whole = Whole::open(&dir_of(&folder)).await;
        let sealing = Sealing::new(Arc::clone(&whole.samples), whole.store.clone());
        let trimming = Trimming::new(
            whole.intake.clone(),
            Arc::clone(&whole.samples),
            whole.consumers.state_applied.clone(),
            whole.store.clone(),
            DeletionHold::default(),
        );
        define(&whole.intake, 1, vec![series("test_a")]).await;
        for sequence in 1..=5 {
            let time_ms = NOW - 10_000 + sequence as i64;
            submit(
                &whole.intake,
                with_samples(report_of(EPOCH, sequence), vec![1], time_ms),
            )
            .await;
        }
        whole.caught_up().await;
        // What is only in memory must stay in the log.
        sealing.run(NOW).await.unwrap();
        trimming.run(NOW).await.unwrap();
        assert_eq!(records(&whole.intake).await, 5);
        // What is not judged must stay as well.
        for hours in 1..=3 {
            sealing.run(NOW + hours * HOUR_MS).await.unwrap();
        }
        trimming.run(NOW + 3 * HOUR_MS).await.unwrap();
        assert_eq!(records(&whole.intake).await, 5);
        whole
            .store
            .set_consumer_position(ALERTS_CONSUMER, 5)
            .await
            .unwrap();
        trimming.run(NOW + 3 * HOUR_MS).await.unwrap();
        assert_eq!(records(&whole.intake).await, 0);
        whole.kill().await;
        let again = Whole::open(&dir_of(&folder)).await;
        assert_eq!(again.counts(), [("test_a".to_owned(), 5)]);
        again.kill().await;
    }
}
