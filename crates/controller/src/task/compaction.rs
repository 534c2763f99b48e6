//! Compaction: days that are over become one chunk a group, and roll-ups.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::backup::DeletionHold;

/// Its name.
pub(super) const NAME: &str = "compact_samples";
/// Time from one run to the next.
pub(super) const EVERY: Duration = Duration::from_secs(15 * 60);

pub(super) struct Compaction {
    samples: Arc<muster_samples::Store>,
    hold: DeletionHold,
}

impl Compaction {
    pub(super) const fn new(samples: Arc<muster_samples::Store>, hold: DeletionHold) -> Self {
        Self { samples, hold }
    }
}

#[async_trait]
impl Task for Compaction {
    fn name(&self) -> &'static str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, now_ms: i64) -> Result<(), TaskError> {
        // Files take the place of others: a backup would miss one of them.
        let Some(_may_delete) = self.hold.may_delete() else {
            return Ok(());
        };
        let samples = Arc::clone(&self.samples);
        let done = tokio::task::spawn_blocking(move || samples.compact(now_ms)).await??;
        if 0 < done.groups {
            tracing::info!(
                groups = done.groups,
                samples = done.samples,
                size_bytes = done.bytes,
                "samples compacted and rolled up"
            );
        }
        Ok(())
    }
}
