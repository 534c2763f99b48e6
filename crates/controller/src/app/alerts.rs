//! Looking at alerts. What changes them is the engine's.

use std::collections::{BTreeSet, HashMap};

use muster_alert::Alert;

use super::{App, AppError};
use crate::store::{AlertCounts, AlertFilter, EstateRow};

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

    /// How many alerts there are that are not over, and how many were over at `since_ms` or later.
    pub(crate) async fn alert_counts(&self, since_ms: i64) -> Result<AlertCounts, AppError> {
        Ok(self.store.alert_counts(since_ms).await?)
    }

    /// What these numbers are of, gone ones included.
    pub(crate) async fn named(&self, ids: &BTreeSet<i64>) -> Result<Vec<EstateRow>, AppError> {
        Ok(self.store.named(ids).await?)
    }

    /// When a channel last took news of each of these alerts, Unix ms; of those of which none did there is nothing.
    pub(crate) async fn told(&self, alerts: &[i64]) -> Result<HashMap<i64, i64>, AppError> {
        Ok(self.store.told(alerts).await?)
    }

    /// Forgets alerts that were over long ago, and who was told long ago.
    pub(crate) async fn retain_alerts(&self) -> Result<(), AppError> {
        let now_ms = self.clock.now_ms();
        let kept_ms = i64::try_from(self.settings.alert_retention.as_millis()).unwrap_or(i64::MAX);
        let gone = self.store.forget_alerts(now_ms.saturating_sub(kept_ms)).await?;
        if 0 < gone {
            tracing::info!(alerts = gone, "alerts that were over long ago are forgotten");
        }
        self.store.forget_deliveries(now_ms).await?;
        Ok(())
    }

    /// One alert.
    pub(crate) async fn alert(&self, id: i64) -> Result<Alert, AppError> {
        let found = self.store.alert(id).await?;
        found.ok_or(AppError::NotFound { what: "alert", id })
    }
}
