//! Registries: whether there is something newer than what containers run.
//!
//! Owns the talking to registries (`client`), one check per image and platform for the whole fleet (`checks`), and the
//! decision that follows (`decision`, pure). Must not know policies, windows or containers' owners: whoever decides
//! whether an update is done asks here what it would be.
//!
//! Invariants: what could not be told is unknown and never up to date; what a failed check does not know, the last one
//! that succeeded still says; no secret is sent to a host that has nothing to do with the registry.

mod decision;
mod details;

use std::sync::Arc;

use muster_image::{Digest, Platform, Reference};

use self::decision::Known;
pub use self::decision::{Decision, Offer, Wanted};
pub use self::details::Details;
use crate::app::App;
use crate::store::StoreError;

/// What is known of an image for one platform. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageCheck {
    /// The image, in normal form, with its tag.
    pub reference: Reference,
    /// The platform.
    pub platform: Platform,
    /// What the tag named when it was last checked with success.
    pub digest: Option<Digest>,
    /// What of that is for the platform, if somebody had to know.
    pub platform_digest: Option<Digest>,
    /// When it was last checked with success.
    pub checked_ms: Option<i64>,
    /// When a check was last tried.
    pub tried_ms: i64,
    /// Why the last check failed; the rest is what the last one that succeeded found.
    pub error: Option<String>,
    /// How many checks have failed since one succeeded.
    pub failures: u32,
    /// When this digest was first seen.
    pub first_seen_ms: Option<i64>,
    /// What its builder says of it, if somebody had to know.
    pub details: Details,
}

/// What registries say. Clones share everything.
#[derive(Clone)]
pub struct Registries {
    app: Arc<App>,
}

impl Registries {
    /// Over the state database of these use-cases.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// What the last check of an image found; `None` if it was never checked. A reference that names a digest alone is
    /// never checked.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn latest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<ImageCheck>, StoreError> {
        let Some(key) = key(reference) else {
            return Ok(None);
        };
        let store = self.app.store();
        let Some(row) = store.image_check(&key.to_string(), &platform.to_string()).await? else {
            return Ok(None);
        };
        let digests = store.image_digests(&key.name(), &platform.to_string()).await?;
        Ok(Some(decision::image_check(key, platform.clone(), &row, &digests)))
    }

    /// What a container could be updated to, or why not.
    ///
    /// Asks no registry: it judges what checks have found. A track that follows other tags is remembered, and what it
    /// needs is known after the next check.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn candidate(&self, wanted: &Wanted<'_>) -> Result<Decision, StoreError> {
        let Some(key) = key(wanted.reference).filter(|_| wanted.reference.digest().is_none()) else {
            return Ok(Decision::Pinned);
        };
        let store = self.app.store();
        let platform = wanted.platform.to_string();
        let check = store.image_check(&key.to_string(), &platform).await?;
        let digests = store.image_digests(&key.name(), &platform).await?;
        let tags = if wanted.track.needs_tags() {
            store.image_tags(&key.name()).await?
        } else {
            None
        };
        let known = Known {
            check: check.as_ref(),
            digests: &digests,
            tags: tags.as_ref().map(|row| row.tags.as_slice()),
        };
        Ok(decision::decide(wanted, &known))
    }
}

/// What an image is checked as: its repository and tag.
fn key(reference: &Reference) -> Option<Reference> {
    reference.with_tag(reference.effective_tag()?).ok()
}
