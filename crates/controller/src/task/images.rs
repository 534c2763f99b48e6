//! Checks of images: whether registries have something newer than what containers run.

use std::time::Duration;

use async_trait::async_trait;

use super::figures::Figures;
use super::{Task, TaskError};
use crate::registry::Registries;
use crate::update::Updates;

/// Its name.
pub(super) const NAME: &str = "check_images";
/// Time from one run to the next.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);

/// Time from one look at new images to the next.
const NEW_EVERY: Duration = Duration::from_secs(60);

/// Checks what nobody has asked for yet.
pub(super) struct CheckNewImages {
    pub(super) registries: Registries,
    pub(super) updates: Updates,
    pub(super) figures: Figures,
}

#[async_trait]
impl Task for CheckNewImages {
    fn name(&self) -> &'static str {
        "check_new_images"
    }

    fn every(&self) -> Duration {
        NEW_EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        if self.registries.check_new().await? == (0, 0) {
            return Ok(());
        }
        let figures = self.updates.refresh().await?;
        self.figures.tell(figures).await
    }
}

pub(super) struct CheckImages {
    registries: Registries,
    updates: Updates,
    figures: Figures,
}

impl CheckImages {
    pub(super) const fn new(registries: Registries, updates: Updates, figures: Figures) -> Self {
        Self {
            registries,
            updates,
            figures,
        }
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
        let figures = self.updates.refresh().await?;
        self.figures.tell(figures).await
    }
}
