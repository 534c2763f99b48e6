//! Checks of images: whether registries have something newer than what containers run.

use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};
use crate::registry::Registries;
use crate::update::Updates;

/// Its name.
pub(super) const NAME: &str = "check_images";
/// Time from one run to the next.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);

pub(super) struct CheckImages {
    registries: Registries,
    updates: Updates,
}

impl CheckImages {
    pub(super) const fn new(registries: Registries, updates: Updates) -> Self {
        Self { registries, updates }
    }
}

#[async_trait]
impl Task for CheckImages {
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
        // What registries do not answer is kept beside their images.
        self.registries.check_all().await?;
        self.updates.refresh().await?;
        Ok(())
    }
}
