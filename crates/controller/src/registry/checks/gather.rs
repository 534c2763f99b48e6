//! Which images containers of the whole fleet run.

use std::collections::{BTreeMap, BTreeSet};

use muster_image::{Platform, Reference};
use muster_model::{Attribute, Attributes, ResourceKind};

use crate::app::resources::ResourceFilter;
use crate::registry::{Registries, key};
use crate::store::StoreError;

/// Containers that are read at once.
const PAGE: u64 = 1_000;

/// An image for one platform, and what runs of it.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Pair {
    /// With its tag.
    pub(super) reference: Reference,
    pub(super) platform: Platform,
    /// Each different thing that containers run under this name.
    pub(super) running: BTreeSet<Running>,
    /// When the newest of these containers was made, by its server's clock, Unix ms.
    pub(super) newest_ms: Option<i64>,
}

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::registry) struct Running {
    /// Digests of its own repository.
    pub(super) digests: Vec<String>,
    pub(super) image_id: Option<String>,
}

impl Running {
    pub(super) fn is(&self, digest: &str) -> bool {
        self.digests.iter().any(|own| own == digest) || self.image_id.as_deref() == Some(digest)
    }
}

impl Registries {
    /// Every image and platform, and how many containers were read.
    pub(in crate::registry) async fn gather(&self) -> Result<(Vec<Pair>, u64), StoreError> {
        let filter = ResourceFilter {
            kind: Some(ResourceKind::Container),
            ..ResourceFilter::default()
        };
        let mut found: BTreeMap<(Reference, Platform), (BTreeSet<Running>, Option<i64>)> = BTreeMap::new();
        let (mut after, mut read) = (0, 0);
        loop {
            let (views, _) = self.app.store().resources(&filter, after, PAGE).await?;
            let Some(last) = views.last() else { break };
            after = last.id.0;
            read += views.len() as u64;
            for view in &views {
                if let Some((reference, platform, running)) = container(&view.attributes) {
                    let (all, newest_ms) = found.entry((reference, platform)).or_default();
                    all.insert(running);
                    *newest_ms = (*newest_ms).max(created_ms(&view.attributes));
                }
            }
        }
        let pairs = found
            .into_iter()
            .map(|((reference, platform), (running, newest_ms))| Pair {
                reference,
                platform,
                running,
                newest_ms,
            });
        Ok((pairs.collect(), read))
    }
}

fn created_ms(attributes: &Attributes) -> Option<i64> {
    match attributes.get("created_at") {
        Some(Attribute::Text(at)) => at
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_millisecond),
        _ => None,
    }
}

/// What a container says of its image; `None` if that names nothing a registry could be asked for.
fn container(attributes: &Attributes) -> Option<(Reference, Platform, Running)> {
    let text = |name: &str| match attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let image: Reference = text("image")?.parse().ok()?;
    if image.digest().is_some() {
        return None;
    }
    let platform = text("platform")?.parse().ok()?;
    let listed = match attributes.get("repo_digests") {
        Some(Attribute::List(listed)) => listed.as_slice(),
        _ => &[],
    };
    let mut digests: Vec<String> = listed
        .iter()
        .filter_map(|listed| image.digest_of_own(listed))
        .map(String::from)
        .collect();
    digests.sort_unstable();
    digests.dedup();
    let running = Running {
        digests,
        image_id: text("image_id").map(str::to_owned),
    };
    Some((key(&image)?, platform, running))
}
