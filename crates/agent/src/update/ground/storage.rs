//! Whether the storage below some places is sound, by the same collectors that tell the controller of it.
//!
//! What cannot be read is no better than what is ill: nobody knows whether it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_base::ErrorChain;
use muster_model::{Facts, Health, Resource, ResourceKey, ResourceKind};

use crate::collect::draft::Draft;
use crate::collect::filesystem::{key_holding, mounts_of};
use crate::collect::{Context, Descriptor, Outcome};
use crate::host::Host;

/// What tells of storage, those first that others name theirs by.
const COLLECTORS: [&str; 6] = ["block", "filesystem", "mdadm", "lvm", "zfs", "btrfs"];
/// When looking is given up.
const LOOK_MAX: Duration = Duration::from_secs(90);
/// Most layers between a place and a disk; loops end with what was seen.
const WALK_MAX: usize = 2_000;

/// Why nothing is to be changed that lies at these places.
pub(super) async fn objection(host: &Host, places: &[String]) -> Option<String> {
    match tokio::time::timeout(LOOK_MAX, look(host, places)).await {
        Ok(Ok(objection)) => objection,
        Ok(Err(why)) => Some(format!(
            "whether the storage below it is sound cannot be told: {why}"
        )),
        Err(_) => Some(format!(
            "the storage below it did not answer within {} s",
            LOOK_MAX.as_secs()
        )),
    }
}

async fn look(host: &Host, places: &[String]) -> Result<Option<String>, String> {
    let context = Context::default();
    let mut resources: BTreeMap<ResourceKey, Resource> = BTreeMap::new();
    let mut below: BTreeMap<ResourceKey, Vec<ResourceKey>> = BTreeMap::new();
    for name in COLLECTORS {
        for resource in collect(host, &context, name)
            .await?
            .into_iter()
            .flat_map(|facts| {
                for link in facts.links {
                    below.entry(link.from).or_default().push(link.to);
                }
                facts.resources
            })
        {
            // A pool's own collector knows more of it than what merely sees it.
            let is_worse = resources
                .get(&resource.key)
                .is_none_or(|known| known.shown_health() < resource.shown_health());
            if is_worse {
                resources.insert(resource.key.clone(), resource);
            }
        }
    }
    let mut draft = Draft::new("ground");
    let mounts = mounts_of(host, &mut draft).await;
    let mounts = mounts.map_err(|error| ErrorChain(&error).to_string())?;
    let inventory = context.inventory.current(host).await;
    let inventory = inventory.map_err(|error| ErrorChain(&error).to_string())?;
    for place in places {
        let Some(filesystem) = key_holding(place, &mounts, &inventory) else {
            continue;
        };
        if let Some(ill) = first_ill(&filesystem, &resources, &below) {
            let why = ill.health_reasons.first().map_or("", String::as_str);
            let comma = if why.is_empty() { "" } else { ", " };
            return Ok(Some(format!(
                "the {} {} below {place} is {}{comma}{why}: mend that first",
                ill.kind.as_str(),
                ill.name,
                ill.shown_health().as_str(),
            )));
        }
    }
    Ok(None)
}

/// What one collector finds; nothing where there is nothing for it.
async fn collect(host: &Host, context: &Context, name: &'static str) -> Result<Option<Facts>, String> {
    let Some(descriptor) = Descriptor::find(name) else {
        return Ok(None);
    };
    let mut collector = (descriptor.build)(context);
    let collecting = tokio::time::timeout(descriptor.timeout, collector.collect(host));
    match collecting.await {
        Ok(Ok(Outcome::Facts(facts))) => Ok(Some(facts)),
        Ok(Ok(Outcome::Absent { .. })) => Ok(None),
        Ok(Err(error)) => Err(format!("{name}: {}", ErrorChain(&error))),
        Err(_) => Err(format!("{name} did not answer")),
    }
}

/// Of all that a filesystem rests on, and itself, one that is ill: a pool that lacks anything, and else what fails.
fn first_ill<'a>(
    filesystem: &ResourceKey,
    resources: &'a BTreeMap<ResourceKey, Resource>,
    below: &BTreeMap<ResourceKey, Vec<ResourceKey>>,
) -> Option<&'a Resource> {
    let mut seen = BTreeSet::from([filesystem.clone()]);
    let mut waiting = vec![filesystem.clone()];
    while let Some(key) = waiting.pop() {
        if let Some(resource) = resources.get(&key).filter(|resource| is_ill(resource)) {
            return Some(resource);
        }
        for next in below.get(&key).into_iter().flatten() {
            if seen.len() < WALK_MAX && seen.insert(next.clone()) {
                waiting.push(next.clone());
            }
        }
    }
    None
}

fn is_ill(resource: &Resource) -> bool {
    let health = resource.shown_health();
    match resource.kind {
        ResourceKind::Pool => matches!(health, Health::Warning | Health::Critical | Health::Failed),
        ResourceKind::Device | ResourceKind::Volume | ResourceKind::Filesystem => {
            matches!(health, Health::Critical | Health::Failed)
        }
        _ => false,
    }
}
