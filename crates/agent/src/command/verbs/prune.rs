//! Removing images that nothing uses, one by one and never by force, so that what was removed can be told.

use std::collections::BTreeSet;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::PruneFilter;
use serde_json::{Value, json};

use super::{Outcome, cancelled, failed};
use crate::command::transactions::Tell;
use crate::runtime::{Engine, EngineError};

/// Most images named in an answer.
const NAMED_MAX: usize = 500;

struct Image {
    id: String,
    tags: Vec<String>,
    size_bytes: u64,
}

pub(super) async fn run(
    engine: &dyn Engine,
    (filter, now_ms): (&PruneFilter, i64),
    tell: &dyn Tell,
    cancel: &CancellationToken,
) -> Outcome {
    let unused = match unused(engine, filter, now_ms).await {
        Ok(unused) => unused,
        Err(error) => return failed(&error),
    };
    let count = unused.len();
    let (mut removed, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    for (index, image) in unused.into_iter().enumerate() {
        // Between two images: what was removed before stays so, and is told.
        if cancel.is_cancelled() {
            return Outcome {
                result: Some(told(&removed, &kept, bytes, filter.dry_run)),
                ..cancelled()
            };
        }
        tell.step("prune", Some(index as f64 / count.max(1) as f64), &image.id);
        let name = image.tags.first().unwrap_or(&image.id).clone();
        match remove(engine, &image, filter.dry_run).await {
            Ok(()) => {
                bytes = bytes.saturating_add(image.size_bytes);
                removed.push(name);
            }
            // Used by something since, or by another image.
            Err(error) => kept.push(format!("{name}: {}", ErrorChain(&error))),
        }
    }
    let message = match filter.dry_run {
        true => format!("{} images would be removed", removed.len()),
        false => format!("{} images removed, {} could not be", removed.len(), kept.len()),
    };
    Outcome {
        result: Some(told(&removed, &kept, bytes, filter.dry_run)),
        ..Outcome::done(message)
    }
}

fn told(removed: &[String], kept: &[String], bytes: u64, dry_run: bool) -> Value {
    json!({
        "dry_run": dry_run,
        "removed": &removed[..removed.len().min(NAMED_MAX)],
        "removed_count": removed.len(),
        "kept": &kept[..kept.len().min(NAMED_MAX)],
        "size_bytes": bytes,
    })
}

async fn remove(engine: &dyn Engine, image: &Image, dry_run: bool) -> Result<(), EngineError> {
    if dry_run {
        return Ok(());
    }
    // An image with several names goes with the last of them.
    for tag in &image.tags {
        engine.remove_image(tag).await?;
    }
    if image.tags.is_empty() {
        engine.remove_image(&image.id).await?;
    }
    Ok(())
}

/// Images that no container uses, running or not.
async fn unused(engine: &dyn Engine, filter: &PruneFilter, now_ms: i64) -> Result<Vec<Image>, EngineError> {
    let mut used = BTreeSet::new();
    for container in engine.containers().await? {
        for key in ["ImageID", "Image"] {
            if let Some(id) = container[key].as_str() {
                used.insert(bare(id).to_owned());
            }
        }
    }
    let now_s = u64::try_from(now_ms / 1_000).unwrap_or(0);
    let mut unused = Vec::new();
    for image in engine.images().await? {
        let Some(id) = image["Id"].as_str() else { continue };
        let tags = image["RepoTags"].as_array().into_iter().flatten();
        let tags = tags
            .filter_map(Value::as_str)
            .filter(|tag| *tag != "<none>:<none>");
        let tags: Vec<String> = tags.map(str::to_owned).collect();
        let is_used = used.contains(bare(id)) || tags.iter().any(|tag| used.contains(tag));
        let made_s = image["Created"].as_u64();
        let is_old = filter
            .older_than_s
            // One whose age is not known is not old.
            .is_none_or(|age_s| made_s.is_some_and(|made_s| made_s.saturating_add(age_s) <= now_s));
        if !is_used && is_old && (filter.all || tags.is_empty()) {
            unused.push(Image {
                id: id.to_owned(),
                tags,
                size_bytes: image["Size"].as_u64().unwrap_or(0),
            });
        }
    }
    Ok(unused)
}

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}
