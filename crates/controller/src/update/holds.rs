//! What stands in the way of an update on its server: storage that is not well, no room, a server that is not heard.

use std::collections::{HashMap, HashSet};

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, Health, ResourceKind};
use muster_update::{Hold, HoldKind};

use super::inventory::text;
use super::{Seen, Update, UpdateError, Updates};
use crate::app::resources::ResourceView;
use crate::app::status::ServerStatus;
use crate::app::topology::{mount_points, size_bytes};

/// An image store with less than this is full, in bytes.
const ROOM_MIN_BYTES: i64 = 1 << 30;
/// The same in percent of its filesystem.
const ROOM_MIN_PERCENT: i64 = 5;

/// A server, as far as holds need it.
pub(super) struct Ground {
    status: ServerStatus,
    hostname: String,
    resources: HashMap<ResourceId, ResourceView>,
    /// What each rests on.
    below: HashMap<ResourceId, Vec<ResourceId>>,
    /// Keys of runtimes whose containers are not to be updated.
    disabled: HashSet<String>,
}

impl Updates {
    pub(super) async fn ground(&self, server: ServerId) -> Result<Ground, UpdateError> {
        let view = self.app().server(server).await?;
        let topology = self.app().topology(server, false).await?;
        let mut below: HashMap<ResourceId, Vec<ResourceId>> = HashMap::new();
        for link in &topology.links {
            below.entry(link.from).or_default().push(link.to);
        }
        let mut disabled = HashSet::new();
        for placed in &topology.resources {
            let resource = &placed.resource;
            if resource.kind == ResourceKind::Runtime
                && self.host_settings(resource.id.0).await?.enabled == Some(false)
            {
                disabled.insert(resource.key.clone());
            }
        }
        Ok(Ground {
            disabled,
            status: view.status,
            hostname: view.hostname,
            resources: topology
                .resources
                .into_iter()
                .map(|placed| (placed.resource.id, placed.resource))
                .collect(),
            below,
        })
    }
}

impl Ground {
    /// Everything that stands in the way of updating a container here.
    pub(super) fn holds(&self, seen: &Seen, update: Option<&Update>, now_ms: i64) -> Vec<Hold> {
        let mut holds = Vec::new();
        self.server(&mut holds);
        if self.disabled.contains(seen.target.runtime.as_str()) {
            holds.push(Hold {
                kind: HoldKind::Server,
                words: "updates on its container host are switched off: enable the host".to_owned(),
            });
        }
        self.storage(seen.view.id, &mut holds);
        self.room(seen, &mut holds);
        if let Some(refused) = update.and_then(|update| update.body.refused.as_ref()) {
            holds.push(Hold {
                kind: HoldKind::LocalPolicy,
                words: format!(
                    "the server itself refused it: {refused}; allow it there (muster-agent allow container.update), then \
                     approve or execute it again"
                ),
            });
        }
        let held = update.and_then(|update| update.body.held.as_ref().zip(update.body.held_until_ms));
        if let Some((held, _)) = held.filter(|(_, until_ms)| now_ms < *until_ms) {
            holds.push(Hold {
                kind: HoldKind::Server,
                words: format!("the server itself holds it: {held}; it is tried again later"),
            });
        }
        holds
    }

    fn server(&self, holds: &mut Vec<Hold>) {
        let words = match self.status {
            ServerStatus::Online | ServerStatus::Failing => return,
            ServerStatus::Late | ServerStatus::Offline => "is not heard of",
            ServerStatus::NeverSeen => "was never heard of",
            ServerStatus::Disabled => "is not monitored: enable it",
        };
        holds.push(Hold {
            kind: HoldKind::Server,
            words: format!("its server {} {words}", self.hostname),
        });
    }

    fn storage(&self, container: ResourceId, holds: &mut Vec<Hold>) {
        let mut seen = HashSet::from([container]);
        let mut waiting = vec![container];
        while let Some(id) = waiting.pop() {
            for below in self.below.get(&id).into_iter().flatten() {
                if !seen.insert(*below) {
                    continue;
                }
                waiting.push(*below);
                let Some(resource) = self.resources.get(below) else {
                    continue;
                };
                let is_ill = match resource.kind {
                    ResourceKind::Pool => {
                        matches!(
                            resource.health,
                            Health::Warning | Health::Critical | Health::Failed
                        )
                    }
                    ResourceKind::Device | ResourceKind::Volume | ResourceKind::Filesystem => {
                        matches!(resource.health, Health::Critical | Health::Failed)
                    }
                    _ => false,
                };
                if is_ill {
                    let why = resource.health_reasons.first().map_or("", String::as_str);
                    holds.push(Hold {
                        kind: HoldKind::Storage,
                        words: format!(
                            "it rests on the {} {}, which is {}{}{why}: mend that first",
                            resource.kind.as_str(),
                            resource.name,
                            resource.health.as_str(),
                            if why.is_empty() { "" } else { ", " },
                        ),
                    });
                }
            }
        }
    }

    /// The filesystem below the image store: the deepest mount point that its folder lies in.
    fn room(&self, seen: &Seen, holds: &mut Vec<Hold>) {
        let runtimes = self.resources.values();
        let mut runtimes = runtimes.filter(|resource| resource.kind == ResourceKind::Runtime);
        let Some(root) = runtimes
            .find(|runtime| runtime.key == seen.target.runtime.as_str())
            .and_then(|runtime| text(runtime, "root_dir"))
        else {
            return;
        };
        let holds_root = |mount: &str| {
            mount == "/"
                || root == mount
                || root.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'))
        };
        let filesystem = self
            .resources
            .values()
            .filter(|resource| resource.kind == ResourceKind::Filesystem)
            .filter_map(|resource| {
                let mounts = mount_points(resource).into_iter();
                let depth = mounts.filter(|mount| holds_root(mount)).map(str::len).max()?;
                Some((depth, resource))
            })
            .max_by_key(|(depth, _)| *depth);
        let Some((_, filesystem)) = filesystem else { return };
        let Some(Attribute::Int(available)) = filesystem.attributes.get("available_bytes") else {
            return;
        };
        let size = size_bytes(filesystem).unwrap_or(0);
        let least = ROOM_MIN_BYTES
            .max(size / 100 * ROOM_MIN_PERCENT)
            .min(size.max(ROOM_MIN_BYTES));
        if *available < least {
            holds.push(Hold {
                kind: HoldKind::Space,
                words: format!(
                    "the image store {root} has {} MiB left, and {} MiB are wanted: remove images that nothing uses",
                    available / 1_048_576,
                    least / 1_048_576
                ),
            });
        }
    }
}
