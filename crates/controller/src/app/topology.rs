//! What rests on what: the whole of a server, and what goes down with one resource.
//!
//! Links are told by key and may come before the resource they name. Such a link is kept and shown as what it is; as
//! soon as the resource is described, it is an edge like any other.

mod graph;
mod impact;
mod redundancy;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, LinkType, ResourceKey, ResourceKind};

use super::resources::{ResourceFilter, ResourceView};
use super::{App, AppError};
use graph::Graph;
pub(crate) use graph::layers;
pub use impact::{Affected, Effect, Impact, Supporting};

/// Types of pools.
pub const POOL_TYPES: [&str; 5] = ["mdadm", "zfs", "lvm", "btrfs", "other"];
/// Most resources of one answer.
pub const RESOURCES_MAX: usize = 5_000;
/// Most edges of one answer.
pub const EDGES_MAX: usize = 20_000;
/// Most links to what nobody described that one answer names.
pub const UNDESCRIBED_MAX: usize = 100;
/// Collectors notice at different times that a resource is gone; a link that ended this much before still was its own.
const NOTICED_WITHIN_MS: i64 = 600_000;

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// Key of the upper resource.
    pub from: ResourceKey,
    /// Key of the lower resource.
    pub to: ResourceKey,
    /// How they are related.
    pub link_type: LinkType,
    /// Since when nobody tells it any more, Unix ms.
    pub gone_ms: Option<i64>,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The resource's id.
    pub id: ResourceId,
    /// Since when it is gone, Unix ms.
    pub gone_ms: Option<i64>,
}

/// `from` rests on `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkView {
    /// The upper resource.
    pub from: ResourceId,
    /// The lower resource.
    pub to: ResourceId,
    /// How they are related.
    pub link_type: LinkType,
    /// Since when it is no more, Unix ms.
    pub gone_ms: Option<i64>,
}

/// A resource in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The resource, without raw documents.
    pub resource: ResourceView,
    /// 0 if it rests on nothing, else one more than the highest layer that it rests on.
    pub layer: u32,
}

/// What rests on what on one server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Topology {
    /// Resources in order of their ids. Gone ones are among them if something still rests on them, or if asked for.
    pub resources: Vec<Placed>,
    /// Links between them, in order of both ids.
    pub links: Vec<LinkView>,
    /// Links to or from what nobody described yet, by key; at most [`UNDESCRIBED_MAX`].
    pub undescribed: Vec<LinkRow>,
    /// Whether there is more than one answer may have.
    pub is_truncated: bool,
}

impl App {
    /// What rests on what on one server: every resource but the server itself.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn topology(&self, server: ServerId, include_gone: bool) -> Result<Topology, AppError> {
        self.need_server(server).await?;
        let rows = self.store.links(server, include_gone).await?;
        let index = self.store.resource_index(server).await?;
        let filter = ResourceFilter {
            server: Some(server),
            include_gone,
            ..ResourceFilter::default()
        };
        let (mut resources, total) = self.store.resources(&filter, 0, RESOURCES_MAX as u64).await?;
        let mut topology = Topology {
            is_truncated: (RESOURCES_MAX as u64) < total,
            ..Topology::default()
        };
        let mut shown: HashSet<ResourceId> = resources.iter().map(|resource| resource.id).collect();
        if !include_gone {
            let missing = still_needed(&rows, &index, RESOURCES_MAX.saturating_sub(resources.len()));
            resources.extend(self.store.resources_of_ids(&missing).await?);
            shown.extend(missing);
        }
        resources.retain(|resource| resource.kind != ResourceKind::Server);
        resources.sort_unstable_by_key(|resource| resource.id.0);
        for row in rows {
            let ends = index.get(&row.from).zip(index.get(&row.to));
            let Some((from, to)) = ends else {
                if topology.undescribed.len() < UNDESCRIBED_MAX {
                    topology.undescribed.push(row);
                }
                continue;
            };
            if EDGES_MAX <= topology.links.len() {
                topology.is_truncated = true;
            } else if shown.contains(&from.id) && shown.contains(&to.id) {
                topology.links.push(LinkView {
                    from: from.id,
                    to: to.id,
                    link_type: row.link_type,
                    gone_ms: row.gone_ms,
                });
            }
        }
        topology
            .links
            .sort_unstable_by_key(|link| (link.from.0, link.to.0));
        let layers = layers(&topology.links);
        topology.resources = resources
            .into_iter()
            .map(|resource| Placed {
                layer: layers.get(&resource.id).copied().unwrap_or(0),
                resource,
            })
            .collect();
        Ok(topology)
    }

    /// What goes down with a resource, and what it rests on itself. Of one that is gone, it is what it was when it went.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn impact(&self, id: ResourceId) -> Result<Impact, AppError> {
        let resource = self.resource(id).await?;
        let rows = self.store.links(resource.server, true).await?;
        let index = self.store.resource_index(resource.server).await?;
        let graph = Graph::of(rows.into_iter().filter(|row| counts(row, &index)));
        let key = ResourceKey::new(resource.key.clone());
        let around = graph.around(&key, RESOURCES_MAX);
        let ids: Vec<ResourceId> = around.keys().filter_map(|key| Some(index.get(key)?.id)).collect();
        let known: HashMap<ResourceKey, ResourceView> = self
            .store
            .resources_of_ids(&ids)
            .await?
            .into_iter()
            .map(|view| (ResourceKey::new(view.key.clone()), view))
            .collect();
        Ok(impact::of(resource, &graph, &around, &known))
    }
}

/// Resources that are gone and on which something still rests, or that still rest on something.
fn still_needed(rows: &[LinkRow], index: &HashMap<ResourceKey, Known>, most: usize) -> Vec<ResourceId> {
    let mut needed: Vec<ResourceId> = rows
        .iter()
        .flat_map(|row| [&row.from, &row.to])
        .filter_map(|key| index.get(key).filter(|known| known.gone_ms.is_some()))
        .map(|known| known.id)
        .collect();
    needed.sort_unstable_by_key(|id| id.0);
    needed.dedup();
    needed.truncate(most);
    needed
}

/// Whether a link is one to judge by: it is told now, or it ended because one of its ends went.
fn counts(row: &LinkRow, index: &HashMap<ResourceKey, Known>) -> bool {
    let Some(ended_ms) = row.gone_ms else { return true };
    [&row.from, &row.to].into_iter().any(|key| {
        let went_ms = index.get(key).and_then(|known| known.gone_ms);
        went_ms.is_some_and(|went_ms| went_ms - NOTICED_WITHIN_MS <= ended_ms)
    })
}

/// Bytes of a resource, whatever its kind calls them.
#[must_use]
pub fn size_bytes(resource: &ResourceView) -> Option<i64> {
    whole(resource, &["size_bytes", "total_size_bytes"])
}

/// Bytes in use of a resource, whatever its kind calls them.
#[must_use]
pub fn used_bytes(resource: &ResourceView) -> Option<i64> {
    whole(resource, &["used_bytes", "used_size_bytes"])
}

fn whole(resource: &ResourceView, names: &[&str]) -> Option<i64> {
    names
        .iter()
        .find_map(|name| match resource.attributes.get(*name) {
            Some(Attribute::Int(number)) => Some(*number),
            _ => None,
        })
}

/// What a resource is within its kind: the type of a pool, of a volume, of a disk, the filesystem's.
#[must_use]
pub fn subtype(resource: &ResourceView) -> Option<&str> {
    let name = match resource.kind {
        ResourceKind::Device => "device_type",
        ResourceKind::Mapping => "mapping_type",
        ResourceKind::Pool => "pool_type",
        ResourceKind::Volume => "volume_type",
        ResourceKind::Partition | ResourceKind::Filesystem => "fs_type",
        ResourceKind::Swap => "swap_type",
        ResourceKind::Server
        | ResourceKind::Runtime
        | ResourceKind::Container
        | ResourceKind::Image
        | ResourceKind::Database => return None,
    };
    let text = |name: &str| match resource.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    // A volume of which only the device is known.
    let manager = || (resource.kind == ResourceKind::Volume).then(|| text("volume_manager"))?;
    text(name).or_else(manager)
}

/// Where a resource is mounted: one place, or several.
#[must_use]
pub fn mount_points(resource: &ResourceView) -> Vec<&str> {
    let mut places: Vec<&str> = match resource.attributes.get("mountpoints") {
        Some(Attribute::List(places)) => places.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    if let Some(Attribute::Text(place)) = resource.attributes.get("mountpoint")
        && !places.contains(&place.as_str())
    {
        places.insert(0, place);
    }
    places
}
