//! Containers that are missing, and those of which somebody said that they are meant to be gone.
//!
//! What was said counts for this one absence: a container that comes back and goes again is missing again.

use std::collections::BTreeMap;

use muster_base::id::ResourceId;
use muster_model::ResourceKind;
use serde::{Deserialize, Serialize};

use super::figures::WAITED_FOR_MS;
use super::{Seen, UpdateError, Updates, model};

/// Under which name it is kept.
const FORGOTTEN: &str = "forgotten_containers";
/// Most containers of which it is said at once.
const FORGOTTEN_MAX: usize = 10_000;

/// That a container is meant to be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Since when it is gone, Unix ms: of another absence nothing is said.
    pub gone_ms: i64,
    /// Who said so.
    pub by: String,
    /// When, Unix ms.
    pub at_ms: i64,
}

/// A container that is missing, or would be had nobody said that it is meant to be gone.
#[derive(Debug, Clone)]
pub struct Missing {
    /// It, as it was told last.
    pub seen: Seen,
    /// Since when it is gone, Unix ms.
    pub gone_ms: i64,
    /// What was said of that.
    pub forgotten: Option<Forgotten>,
}

impl Updates {
    /// Of which containers it was said, by their numbers.
    pub(super) async fn forgotten(&self) -> Result<BTreeMap<i64, Forgotten>, UpdateError> {
        match self.app().store().update_setting(FORGOTTEN).await? {
            Some((body, _)) => Ok(model::read("update_setting.body", body)?),
            None => Ok(BTreeMap::new()),
        }
    }

    /// What was said of a container that is gone, if it was said of this absence.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn forgotten_since(&self, id: i64, gone_ms: i64) -> Result<Option<Forgotten>, UpdateError> {
        let said = self.forgotten().await?.remove(&id);
        Ok(said.filter(|said| said.gone_ms == gone_ms))
    }

    /// A container that is gone is meant to be: it is not missing from the next look on, until it comes back.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`], [`UpdateError::State`] if it is there, [`UpdateError::TooMany`], or a failure of the
    /// database.
    pub async fn forget(&self, id: i64, by: &str) -> Result<(Seen, Forgotten), UpdateError> {
        let _only = self.inner.only.lock().await;
        let view = self.app().store().resource(ResourceId(id)).await?;
        let view = view.filter(|view| view.kind == ResourceKind::Container);
        let view = view.ok_or(UpdateError::NotFound {
            what: "container",
            id,
        })?;
        let Some(gone_ms) = view.gone_ms else {
            let words = "the container is there; whoever wants it gone removes it first";
            return Err(UpdateError::State(words.to_owned()));
        };
        let now_ms = self.now_ms();
        let mut all = self.forgotten().await?;
        // What is older nobody waits for anyway.
        all.retain(|_, said| now_ms.saturating_sub(WAITED_FOR_MS) < said.at_ms.max(said.gone_ms));
        if FORGOTTEN_MAX <= all.len() && !all.contains_key(&id) {
            return Err(UpdateError::TooMany(FORGOTTEN_MAX));
        }
        let said = Forgotten {
            gone_ms,
            by: by.to_owned(),
            at_ms: now_ms,
        };
        all.insert(id, said.clone());
        let body = model::write(&all)?;
        let store = self.app().store();
        store.put_update_setting(FORGOTTEN, body, now_ms).await?;
        tracing::info!(container = id, user = by, "a container is meant to be gone");
        Ok((Seen::of(view), said))
    }
}
