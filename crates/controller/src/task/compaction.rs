//! Compaction: days that are over become one chunk a group, and roll-ups.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};

pub(super) struct Compaction {
    samples: Arc<muster_samples::Store>,
}

impl Compaction {
    pub(super) const fn new(samples: Arc<muster_samples::Store>) -> Self {
        Self { samples }
    }
}

#[async_trait]
impl Task for Compaction {
    fn name(&self) -> &'static str {
        "compact_samples"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }

    async fn run(&self, now_ms: i64) -> Result<(), TaskError> {
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
