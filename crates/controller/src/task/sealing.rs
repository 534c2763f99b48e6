//! Sealing: what is due goes from memory into chunks, and what is in chunks is written down as safe.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::consume::SAMPLES_CONSUMER;
use crate::store::Store;

pub(super) struct Sealing {
    samples: Arc<muster_samples::Store>,
    store: Store,
}

impl Sealing {
    pub(super) const fn new(samples: Arc<muster_samples::Store>, store: Store) -> Self {
        Self { samples, store }
    }
}

#[async_trait]
impl Task for Sealing {
    fn name(&self) -> &'static str {
        "seal_samples"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn run(&self, now_ms: i64) -> Result<(), TaskError> {
        let samples = Arc::clone(&self.samples);
        tokio::task::spawn_blocking(move || samples.seal(now_ms)).await??;
        // Records from the safe position on are applied again at the next start.
        let passed = self.samples.safe_position() - 1;
        if self.store.consumer_position(SAMPLES_CONSUMER).await? < passed {
            self.store.set_consumer_position(SAMPLES_CONSUMER, passed).await?;
        }
        Ok(())
    }
}
