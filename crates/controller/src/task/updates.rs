//! Updates of containers: looking what there is, beginning and following what may begin, forgetting what is old.

use std::time::Duration;

use async_trait::async_trait;

use super::figures::Figures;
use super::{Task, TaskError};
use crate::update::Updates;

/// Name of looking at every container.
pub(crate) const DISCOVER: &str = "container_discovery";
/// Time from one look to the next.
pub(super) const DISCOVER_EVERY: Duration = Duration::from_secs(300);
/// Name of forgetting.
pub(super) const RETAIN: &str = "retain_updates";
/// Time from one run to the next.
pub(super) const RETAIN_EVERY: Duration = Duration::from_secs(3_600);
/// Time from one look at what may begin to the next; few begin at each, so that never all do in the same minute.
const TICK_EVERY: Duration = Duration::from_secs(15);

/// Looks at every container, and writes down what there is for it.
pub(super) struct Discover {
    pub(super) updates: Updates,
    pub(super) figures: Figures,
}

/// Name of looking how well containers are.
pub(super) const HEALTH: &str = "container_health";
/// Time from one look to the next.
pub(super) const HEALTH_EVERY: Duration = Duration::from_secs(600);

/// Looks how well containers are, and writes down what became unhealthy.
pub(super) struct LookAtHealth(pub(super) Updates);

#[async_trait]
impl Task for LookAtHealth {
    fn name(&self) -> &'static str {
        HEALTH
    }

    fn every(&self) -> Duration {
        HEALTH_EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        let look = self.0.look_at_health().await?;
        tracing::debug!(
            healthy = look.healthy,
            unhealthy = look.unhealthy,
            unknown = look.unknown,
            notices = look.notices,
            "looked how well containers are"
        );
        Ok(())
    }
}

/// Begins what may begin, takes roll-outs further, and follows what was begun.
pub(super) struct Tick(pub(super) Updates);

/// Forgets what is old.
pub(super) struct Retain(pub(super) Updates);

#[async_trait]
impl Task for Discover {
    fn name(&self) -> &'static str {
        DISCOVER
    }

    fn every(&self) -> Duration {
        DISCOVER_EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        let figures = self.updates.refresh().await?;
        self.figures.tell(figures).await
    }
}

#[async_trait]
impl Task for Tick {
    fn name(&self) -> &'static str {
        "container_updates"
    }

    fn every(&self) -> Duration {
        TICK_EVERY
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        Ok(self.0.tick().await?)
    }
}

#[async_trait]
impl Task for Retain {
    fn name(&self) -> &'static str {
        RETAIN
    }

    fn every(&self) -> Duration {
        RETAIN_EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        Ok(self.0.retain().await?)
    }
}
