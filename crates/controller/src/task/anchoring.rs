//! Anchoring of the audit log: what was only counted is written, and the head of the chain goes to its file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::app::App;

pub(super) struct Anchoring {
    app: Arc<App>,
}

impl Anchoring {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Task for Anchoring {
    fn name(&self) -> &'static str {
        "anchor_audit"
    }

    fn every(&self) -> Duration {
        // A minute is promised; a failed run is followed by another one in time.
        Duration::from_secs(20)
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        self.app.audit().anchor().await?;
        Ok(())
    }
}
