//! Looking at alerts. What changes them is the engine's.

use muster_alert::Alert;

use super::{App, AppError};
use crate::store::AlertFilter;

impl App {
    /// Alerts, the newest first, before the number `before`; and how many there are in all.
    pub(crate) async fn alerts(
        &self,
        filter: &AlertFilter,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<Alert>, u64), AppError> {
        Ok(self.store.alerts(filter, before, limit).await?)
    }

    /// One alert.
    pub(crate) async fn alert(&self, id: i64) -> Result<Alert, AppError> {
        let found = self.store.alert(id).await?;
        found.ok_or(AppError::NotFound { what: "alert", id })
    }
}
