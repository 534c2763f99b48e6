//! Rounds of checks: each image is asked for once for each platform, however many containers run it.
//!
//! A round reads which images containers of the whole fleet run, asks registries side by side and each of them one image
//! after the other, with a pause between, and writes down what it found. What a tag names is asked for by HEAD, which
//! counts as no pull; only when it names something that some container does not run is that looked into.

mod fresh;
mod gather;
mod progress;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use muster_base::ErrorChain;
use muster_image::{Digest, Platform, Reference};

use self::gather::Pair;
pub use self::progress::Progress;
use super::client::Endpoint;
use super::{Registries, RegistryError};
use crate::store::{CheckRow, DigestRow, StoreError, TagsRow};

/// Registries that are asked side by side.
const REGISTRIES_AT_ONCE: usize = 4;
/// Images that are checked in a round; the rest is told, and unknown.
const PAIRS_MAX: usize = 5_000;
/// How long a round waits for a registry that asks for time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Of the tags that could be next, so many are looked at.
const NEXT_TAGS_MAX: usize = 3;
/// Most characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 500;
/// How long what nothing runs any more stays known.
const FORGOTTEN_AFTER_MS: i64 = 30 * 86_400_000;

/// How a round went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Images and platforms that containers run.
    pub images: usize,
    /// Of these, how many were checked.
    pub checked: usize,
    /// How many could not be.
    pub failed: usize,
    /// How many were not tried, because there are too many.
    pub left_out: usize,
}

impl Registries {
    /// Checks all images that containers run. Rounds follow each other: one that is asked for meanwhile waits.
    ///
    /// # Errors
    /// A failure of the database. What registries do not answer is written down beside their images.
    pub async fn check_all(&self) -> Result<Round, StoreError> {
        let _only = self.shared.round.lock().await;
        let (mut pairs, _) = self.gather().await?;
        let mut round = Round {
            images: pairs.len(),
            ..Round::default()
        };
        round.left_out = pairs.len().saturating_sub(PAIRS_MAX);
        if 0 < round.left_out {
            tracing::warn!(left_out = round.left_out, "too many images, some are not checked");
            pairs.truncate(PAIRS_MAX);
        }
        let repositories: BTreeSet<String> = pairs.iter().map(|pair| pair.reference.name()).collect();
        let (checked, failed) = self.check_pairs(pairs, &Progress::default()).await?;
        (round.checked, round.failed) = (checked, failed);
        let before_ms = self.app.clock().now_ms().saturating_sub(FORGOTTEN_AFTER_MS);
        let store = self.app.store();
        store.forget_image_checks(before_ms).await?;
        let kept: Vec<String> = repositories.into_iter().collect();
        store.forget_images(&kept, before_ms).await?;
        tracing::info!(images = round.images, checked, failed, "images checked");
        Ok(round)
    }

    /// Checks one image for all platforms that containers run it on. Returns how many checks succeeded and how many did
    /// not; both are 0 if nothing runs it.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn check(&self, reference: &Reference) -> Result<(usize, usize), StoreError> {
        let wanted = super::key(reference).into_iter().collect();
        self.check_these(&wanted, &Progress::default()).await
    }

    /// The same for several, in one round, which says how far it is.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn check_these(
        &self,
        wanted: &BTreeSet<Reference>,
        progress: &Progress,
    ) -> Result<(usize, usize), StoreError> {
        if wanted.is_empty() {
            return Ok((0, 0));
        }
        let _only = self.shared.round.lock().await;
        let (mut pairs, _) = self.gather().await?;
        pairs.retain(|pair| wanted.contains(&pair.reference));
        let left_out = pairs.len().saturating_sub(PAIRS_MAX);
        if 0 < left_out {
            tracing::warn!(left_out, "too many images, some are not checked");
            pairs.truncate(PAIRS_MAX);
        }
        self.check_pairs(pairs, progress).await
    }

    async fn check_pairs(&self, pairs: Vec<Pair>, progress: &Progress) -> Result<(usize, usize), StoreError> {
        progress.add(pairs.len());
        let mut by_registry: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
        for pair in pairs {
            let registry = pair.reference.registry().to_owned();
            by_registry.entry(registry).or_default().push(pair);
        }
        let rows = self.app.store().registries().await?;
        let asked = by_registry.into_iter().map(|(registry, pairs)| {
            let at = self.endpoint(&registry, &rows);
            async move { self.ask_registry(at, pairs, progress).await }
        });
        let outcomes: Vec<_> = futures::stream::iter(asked)
            .buffer_unordered(REGISTRIES_AT_ONCE)
            .collect()
            .await;
        let mut sum = (0, 0);
        for outcome in outcomes {
            let (checked, failed) = outcome?;
            sum = (sum.0 + checked, sum.1 + failed);
        }
        Ok(sum)
    }

    /// Checks all images of one registry, one after the other.
    async fn ask_registry(
        &self,
        at: Result<Endpoint, RegistryError>,
        pairs: Vec<Pair>,
        progress: &Progress,
    ) -> Result<(usize, usize), StoreError> {
        let mut by_reference: BTreeMap<Reference, Vec<Pair>> = BTreeMap::new();
        for pair in pairs {
            by_reference.entry(pair.reference.clone()).or_default().push(pair);
        }
        let at = match at {
            Ok(at) => at,
            Err(error) => {
                let why = told(&error);
                let mut failed = 0;
                for pair in by_reference.values().flatten() {
                    self.note_failure(&pair.reference, &pair.platform, &why).await?;
                    progress.asked(false);
                    failed += 1;
                }
                return Ok((0, failed));
            }
        };
        let mut waiting: Vec<String> = by_reference
            .keys()
            .map(|reference| reference.repository().to_owned())
            .collect();
        let (mut checked, mut failed) = (0, 0);
        for (index, (reference, pairs)) in by_reference.iter().enumerate() {
            if 0 < index {
                tokio::time::sleep(self.shared.outbound.pause.mul_f64(fastrand::f64())).await;
            }
            waiting.retain(|repository| repository != reference.repository());
            let found = self.patiently(&at, reference, &waiting).await;
            for pair in pairs {
                let outcome = match &found {
                    Ok(digest) => self.note_digest(&at, pair, digest).await?,
                    Err(error) => Err(told(error)),
                };
                progress.asked(outcome.is_ok());
                match outcome {
                    Ok(()) => checked += 1,
                    Err(why) => {
                        self.note_failure(&pair.reference, &pair.platform, &why).await?;
                        failed += 1;
                    }
                }
            }
        }
        self.follow(&at, &by_reference).await?;
        Ok((checked, failed))
    }

    /// What a tag names; a registry that asks for a little time gets it once.
    async fn patiently(
        &self,
        at: &Endpoint,
        reference: &Reference,
        siblings: &[String],
    ) -> Result<Digest, RegistryError> {
        let tag = reference.effective_tag().unwrap_or_default();
        let client = &self.shared.client;
        let found = client.digest(at, reference.repository(), tag, siblings).await;
        match client.wait(&at.registry) {
            Some(wait) if matches!(found, Err(RegistryError::RateLimited { .. })) && wait <= WAIT_MAX => {
                tokio::time::sleep(wait).await;
                client.digest(at, reference.repository(), tag, siblings).await
            }
            _ => found,
        }
    }

    /// Writes down what a tag names, and looks into it if some container runs something else.
    async fn note_digest(
        &self,
        at: &Endpoint,
        pair: &Pair,
        digest: &Digest,
    ) -> Result<Result<(), String>, StoreError> {
        let tag = pair.reference.effective_tag().unwrap_or_default();
        let row = self.see(&pair.reference, &pair.platform, tag, digest).await?;
        if let Err(error) = self.look_into(at, pair, row).await? {
            return Ok(Err(told(&error)));
        }
        let now_ms = self.app.clock().now_ms();
        let check = CheckRow {
            reference: pair.reference.to_string(),
            platform: pair.platform.to_string(),
            digest: Some(digest.to_string()),
            checked_ms: Some(now_ms),
            tried_ms: now_ms,
            error: None,
            failures: 0,
        };
        self.app.store().put_image_check(&check).await?;
        Ok(Ok(()))
    }

    /// The last good answer stays.
    async fn note_failure(
        &self,
        reference: &Reference,
        platform: &Platform,
        why: &str,
    ) -> Result<(), StoreError> {
        let store = self.app.store();
        let (reference, platform) = (reference.to_string(), platform.to_string());
        let old = store.image_check(&reference, &platform).await?;
        let failures = old.as_ref().map_or(0, |old| old.failures).saturating_add(1);
        tracing::debug!(image = reference, platform, error = why, "image not checked");
        let check = CheckRow {
            digest: old.as_ref().and_then(|old| old.digest.clone()),
            checked_ms: old.and_then(|old| old.checked_ms),
            reference,
            platform,
            tried_ms: self.app.clock().now_ms(),
            error: Some(why.to_owned()),
            failures,
        };
        store.put_image_check(&check).await
    }

    /// Writes down that a tag names a digest now, if it did not before.
    async fn see(
        &self,
        reference: &Reference,
        platform: &Platform,
        tag: &str,
        digest: &Digest,
    ) -> Result<DigestRow, StoreError> {
        let store = self.app.store();
        let rows = store
            .image_digests(&reference.name(), &platform.to_string())
            .await?;
        let newest = rows.iter().find(|row| row.tag == tag);
        if let Some(newest) = newest.filter(|newest| newest.digest == digest.as_str()) {
            return Ok(newest.clone());
        }
        let now_ms = self.app.clock().now_ms();
        // The tag may have come back to what it named before, or another tag may name the same.
        let same = rows
            .iter()
            .find(|row| row.digest == digest.as_str() && row.platform_digest.is_some());
        let row = DigestRow {
            repository: reference.name(),
            platform: platform.to_string(),
            tag: tag.to_owned(),
            digest: digest.to_string(),
            platform_digest: same.and_then(|row| row.platform_digest.clone()),
            config_digest: same.and_then(|row| row.config_digest.clone()),
            is_missing: false,
            first_seen_ms: now_ms,
            // A clock that was set back must not make what is newest look older.
            since_ms: newest.map_or(now_ms, |newest| now_ms.max(newest.since_ms + 1)),
            details: same.and_then(|row| row.details.clone()),
        };
        store.put_image_digest(&row).await?;
        Ok(row)
    }

    /// Looks for other tags where somebody asked for them.
    async fn follow(
        &self,
        at: &Endpoint,
        by_reference: &BTreeMap<Reference, Vec<Pair>>,
    ) -> Result<(), StoreError> {
        let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in by_reference.values().flatten() {
            for track in self.tracks_of(&pair.reference, &pair.platform) {
                let name = pair.reference.name();
                if !listed.contains_key(&name) {
                    let Some(tags) = self.list_tags(at, pair).await? else {
                        continue;
                    };
                    listed.insert(name.clone(), tags);
                }
                let tag = pair.reference.effective_tag().unwrap_or_default();
                let tags = listed[&name].iter().map(String::as_str);
                let Ok(candidates) = track.candidates(tag, tags) else {
                    continue;
                };
                let next = candidates.into_iter().filter(|candidate| candidate.tag != tag);
                for candidate in next.take(NEXT_TAGS_MAX) {
                    self.look_at_tag(at, pair, &candidate.tag).await?;
                }
            }
        }
        Ok(())
    }

    async fn list_tags(&self, at: &Endpoint, pair: &Pair) -> Result<Option<Vec<String>>, StoreError> {
        let tags = match self.shared.client.tags(at, pair.reference.repository()).await {
            Ok(tags) => tags,
            Err(error) => {
                let why = format!("its tags cannot be listed: {}", told(&error));
                self.note_failure(&pair.reference, &pair.platform, &why).await?;
                return Ok(None);
            }
        };
        let row = TagsRow {
            repository: pair.reference.name(),
            tags: tags.tags,
            is_cut: tags.is_cut,
            listed_ms: self.app.clock().now_ms(),
        };
        self.app.store().put_image_tags(&row).await?;
        Ok(Some(row.tags))
    }

    async fn look_at_tag(&self, at: &Endpoint, pair: &Pair, tag: &str) -> Result<(), StoreError> {
        let Ok(reference) = pair.reference.with_tag(tag) else {
            return Ok(());
        };
        let found = match self.patiently(at, &reference, &[]).await {
            Ok(digest) => {
                let row = self.see(&reference, &pair.platform, tag, &digest).await?;
                self.look_into_row(at, pair, row).await?.map(|_| ())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = found {
            let error = told(&error);
            // What is not known of the tag is told by whoever asks whether it may be taken.
            tracing::debug!(image = %reference, error, "tag not looked at");
        }
        Ok(())
    }
}

/// An error as it is kept and shown.
fn told(error: &RegistryError) -> String {
    let text = ErrorChain(error).to_string();
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(ERROR_CHARS_MAX)
        .collect()
}
