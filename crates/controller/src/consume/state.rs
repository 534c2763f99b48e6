//! The state consumer: resources, links, outcomes, problems and gaps into the state tables.
//!
//! It comes first, because it gives the ids that others file under.

use std::sync::Arc;

use async_trait::async_trait;

use super::{ConsumeError, Consumer};
use crate::intake::Accepted;
use crate::store::apply::{AppliedReport, STATE_CONSUMER};
use crate::store::{Store, StoreError};

pub(super) struct StateConsumer {
    store: Store,
}

impl StateConsumer {
    pub(super) const fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Consumer for StateConsumer {
    fn name(&self) -> &'static str {
        STATE_CONSUMER
    }

    async fn apply(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError> {
        let batch: Vec<AppliedReport> = records
            .iter()
            .map(|record| AppliedReport {
                position: record.position,
                server: record.server,
                report: Arc::clone(&record.report),
                received_ms: record.received_ms,
            })
            .collect();
        self.store
            .apply_reports(&batch)
            .await
            .map_err(|error| classify("apply reports to the state", error))?;
        Ok(())
    }

    async fn pass(&mut self, position: i64) -> Result<(), ConsumeError> {
        let passed = self.store.set_consumer_position(STATE_CONSUMER, position).await;
        passed.map_err(|error| classify("store the position of the state", error))
    }
}

/// Whose fault an error of the state tables is.
pub(super) fn classify(attempted: &'static str, error: StoreError) -> ConsumeError {
    let is_transient = error.is_transient();
    let source = Box::new(error);
    if is_transient {
        ConsumeError::Transient { attempted, source }
    } else {
        ConsumeError::Record { attempted, source }
    }
}
