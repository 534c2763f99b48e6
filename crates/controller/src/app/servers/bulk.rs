//! Changing many servers at once.

use muster_base::id::ServerId;

use super::no_server;
use crate::app::{App, AppError};

impl App {
    /// Switches the monitoring of servers on or off, of all or, if one is not there, of none; connected agents are told.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn set_monitoring(
        &self,
        servers: &[ServerId],
        is_monitored: bool,
        by: &str,
    ) -> Result<(), AppError> {
        let now_ms = self.clock.now_ms();
        let rows = self
            .store
            .set_monitoring(servers, is_monitored, now_ms)
            .await?
            .map_err(no_server)?;
        for row in &rows {
            // Nobody listens while the agent port is not served; agents then read it when they connect.
            let _ = self.cadence_tx.send((row.id, row.fields.cadence()));
        }
        tracing::info!(
            servers = rows.len(),
            is_monitored,
            user = by,
            "monitoring switched"
        );
        Ok(())
    }
}
