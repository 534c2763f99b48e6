//! Retention of alerts that are over, and of records of who was told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::app::App;

/// Its name.
pub(super) const NAME: &str = "retain_alerts";
/// Time from one run to the next.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);

pub(super) struct RetainAlerts {
    app: Arc<App>,
}

impl RetainAlerts {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Task for RetainAlerts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        self.app.retain_alerts().await?;
        Ok(())
    }
}
