//! What of a digest is for a platform, looked up only where somebody has to know.

use muster_image::manifest::{Document, ImageManifest};
use muster_image::{Digest, Platform};

use super::Pair;
use crate::registry::client::{Endpoint, Fetched};
use crate::registry::{Details, Registries, RegistryError};
use crate::store::{DigestRow, StoreError};

/// How deep indexes within indexes are looked into.
const DEPTH_MAX: usize = 3;
/// How many other digests that containers run are looked into, a round and image.
const RUNNING_MAX: usize = 5;

/// What of a digest is for a platform.
struct Resolved {
    digest: Digest,
    manifest: ImageManifest,
}

impl Registries {
    /// Looks into what a tag names now, and into what containers run instead, so that the two can be compared.
    pub(super) async fn look_into(
        &self,
        at: &Endpoint,
        pair: &Pair,
        row: DigestRow,
    ) -> Result<Result<(), RegistryError>, StoreError> {
        let others: Vec<_> = pair
            .running
            .iter()
            .filter(|running| !running.is(&row.digest))
            .collect();
        if others.is_empty() {
            return Ok(Ok(()));
        }
        let row = match self.look_into_row(at, pair, row).await? {
            Ok(row) => row,
            Err(error) => return Ok(Err(error)),
        };
        let is_same = |digest: &Option<String>, running: &super::gather::Running| {
            digest.as_deref().is_some_and(|digest| running.is(digest))
        };
        let different = others.into_iter().filter(|running| {
            !is_same(&row.platform_digest, running) && !is_same(&row.config_digest, running)
        });
        let digests = different.flat_map(|running| &running.digests).take(RUNNING_MAX);
        for digest in digests {
            if let Err(error) = self.look_into_running(at, pair, digest).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Looks into a digest unless that was done before.
    pub(super) async fn look_into_row(
        &self,
        at: &Endpoint,
        pair: &Pair,
        mut row: DigestRow,
    ) -> Result<Result<DigestRow, RegistryError>, StoreError> {
        if row.platform_digest.is_some() || row.is_missing {
            return Ok(Ok(row));
        }
        let repository = pair.reference.repository();
        let resolved = match self.resolve(at, repository, &row.digest, &pair.platform).await {
            Ok(resolved) => resolved,
            Err(error) => return Ok(Err(error)),
        };
        match resolved {
            None => row.is_missing = true,
            Some(Resolved { digest, manifest }) => {
                let config = self.shared.client.config(at, repository, &manifest.config).await;
                let config = match config {
                    Ok(config) => config,
                    Err(error) => return Ok(Err(error)),
                };
                let details = Details::of(&pair.reference, &config, &manifest.annotations);
                row.details = serde_json::to_value(details).ok();
                row.platform_digest = Some(digest.to_string());
                row.config_digest = Some(manifest.config.digest.to_string());
            }
        }
        self.app.store().put_image_digest(&row).await?;
        Ok(Ok(row))
    }

    /// Looks into something that a container runs, so that it can be compared: only other platforms may have changed.
    async fn look_into_running(
        &self,
        at: &Endpoint,
        pair: &Pair,
        digest: &str,
    ) -> Result<Result<(), RegistryError>, StoreError> {
        let platform = pair.platform.to_string();
        let rows = self
            .app
            .store()
            .image_digests(&pair.reference.name(), &platform)
            .await?;
        let known = |row: &&DigestRow| row.digest == digest || row.platform_digest.as_deref() == Some(digest);
        let is_done = |row: &DigestRow| row.platform_digest.is_some() || row.is_missing;
        if rows.iter().filter(known).any(is_done) {
            return Ok(Ok(()));
        }
        let now_ms = self.app.clock().now_ms();
        let mut row = rows.iter().find(known).cloned().unwrap_or(DigestRow {
            repository: pair.reference.name(),
            platform,
            tag: String::new(),
            digest: digest.to_owned(),
            platform_digest: None,
            config_digest: None,
            is_missing: false,
            first_seen_ms: now_ms,
            since_ms: now_ms,
            details: None,
        });
        match self.look_into_row(at, pair, row.clone()).await? {
            Ok(_) => Ok(Ok(())),
            // Registries throw away what no tag names. Then it is something else than what the tag names now.
            Err(RegistryError::NotFound { .. }) => {
                row.is_missing = true;
                self.app.store().put_image_digest(&row).await?;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The image for a platform under a digest; `None` if there is none.
    async fn resolve(
        &self,
        at: &Endpoint,
        repository: &str,
        digest: &str,
        platform: &Platform,
    ) -> Result<Option<Resolved>, RegistryError> {
        let mut waiting = vec![(digest.to_owned(), 0)];
        while let Some((digest, depth)) = waiting.pop() {
            if DEPTH_MAX < depth {
                return Err(RegistryError::Nested {
                    what: repository.to_owned(),
                    max: DEPTH_MAX,
                });
            }
            let Fetched { digest, document } = self.shared.client.manifest(at, repository, &digest).await?;
            match document {
                Document::Image(manifest) => return Ok(Some(Resolved { digest, manifest })),
                Document::Index(index) => match index.child(platform) {
                    Some(child) => waiting = vec![(child.digest.to_string(), depth + 1)],
                    None => {
                        let nested = index.nested().take(DEPTH_MAX);
                        waiting.extend(nested.map(|entry| (entry.digest.to_string(), depth + 1)));
                    }
                },
            }
        }
        Ok(None)
    }
}
