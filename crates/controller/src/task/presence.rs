//! When servers were last heard is kept, so that a restart does not forget it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_base::id::ServerId;

use super::{Task, TaskError};
use crate::app::App;

pub(super) struct KeepPresence {
    app: Arc<App>,
    /// What was written last; bounded by the number of servers.
    written: Mutex<HashMap<ServerId, i64>>,
}

impl KeepPresence {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self {
            app,
            written: Mutex::new(HashMap::new()),
        }
    }

    /// Servers that were heard since the last time.
    fn news(&self) -> Vec<(ServerId, i64)> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut heard = self.app.presence().heard();
        heard.retain(|(server, heard_ms)| written.get(server) != Some(heard_ms));
        heard
    }
}

#[async_trait]
impl Task for KeepPresence {
    fn name(&self) -> &'static str {
        "keep_presence"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        let heard = self.news();
        if heard.is_empty() {
            return Ok(());
        }
        self.app.store().note_seen(&heard).await?;
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(heard);
        Ok(())
    }
}
