//! Retention: samples beyond their time are removed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::backup::DeletionHold;

/// Its name.
pub(super) const NAME: &str = "retain_samples";
/// Time from one run to the next.
pub(super) const EVERY: Duration = Duration::from_secs(15 * 60);

pub(super) struct Retention {
    samples: Arc<muster_samples::Store>,
    hold: DeletionHold,
}

impl Retention {
    pub(super) const fn new(samples: Arc<muster_samples::Store>, hold: DeletionHold) -> Self {
        Self { samples, hold }
    }
}

#[async_trait]
impl Task for Retention {
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
        let Some(_may_delete) = self.hold.may_delete() else {
            return Ok(());
        };
        let samples = Arc::clone(&self.samples);
        tokio::task::spawn_blocking(move || samples.retain(now_ms)).await??;
        Ok(())
    }
}
