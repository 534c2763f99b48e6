//! Upkeep of the installation: certificates that are half over, enrolment tokens that ended long ago.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::app::App;

pub(super) struct Upkeep {
    app: Arc<App>,
}

impl Upkeep {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Task for Upkeep {
    fn name(&self) -> &'static str {
        "upkeep"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        self.app.upkeep().await?;
        Ok(())
    }
}
