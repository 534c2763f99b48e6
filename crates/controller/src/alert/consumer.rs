//! The last of the intake's consumers: hands reports to the engine.

use std::sync::Arc;

use async_trait::async_trait;

use super::{ALERTS_CONSUMER, AlertError, Alerts};
use crate::consume::{ConsumeError, Consumer};
use crate::intake::Accepted;

/// Judges what others have applied.
pub struct AlertsConsumer {
    alerts: Alerts,
}

impl AlertsConsumer {
    /// Hands reports to this engine.
    #[must_use]
    pub const fn new(alerts: Alerts) -> Self {
        Self { alerts }
    }
}

#[async_trait]
impl Consumer for AlertsConsumer {
    fn name(&self) -> &'static str {
        ALERTS_CONSUMER
    }

    async fn apply(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError> {
        self.alerts.judge(records.to_vec()).await.map_err(classify)
    }

    async fn pass(&mut self, position: i64) -> Result<(), ConsumeError> {
        self.alerts.pass(position).await.map_err(classify)
    }
}

/// Nothing that the engine fails at is a report's fault, unless the database refuses what was to be stored.
fn classify(error: AlertError) -> ConsumeError {
    let is_records = matches!(&error, AlertError::Store(error) if !error.is_transient());
    let source = Box::new(error);
    if is_records {
        ConsumeError::Record {
            attempted: "judge reports",
            source,
        }
    } else {
        ConsumeError::Transient {
            attempted: "judge reports",
            source,
        }
    }
}
