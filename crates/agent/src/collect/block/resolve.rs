//! Which resource any name of a block device stands for, layers above disks included.
//!
//! The one place that knows the keys of layers, so that every collector that finds a device by a name of its own (a
//! mount's source, a pool's member, a swap area) links to the same resource.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::ResourceKey;

use super::inventory::{Inventory, partition_key};
use super::layer::{Layer, LogicalVolume, md_uuid};
use super::node::Node;
use crate::collect::draft::bounded_key;

/// Most layers that are followed in either direction.
const LAYERS_MAX: usize = 32;

/// The key of an array with this UUID, in any form; of one without, by its kernel name.
#[must_use]
pub fn array_key(uuid: Option<&str>, name: &str) -> ResourceKey {
    match uuid.and_then(md_uuid) {
        Some(uuid) => bounded_key(format!("pool:mdadm:{uuid}")),
        None => bounded_key(format!("pool:mdadm:name/{name}")),
    }
}

/// The key of a logical volume: by its UUID, else by its names.
#[must_use]
pub fn volume_key(volume: &LogicalVolume) -> ResourceKey {
    match &volume.lv_uuid {
        Some(uuid) => bounded_key(format!("volume:lvm:{uuid}")),
        None => bounded_key(format!("volume:lvm:name/{}", volume.full_name())),
    }
}

/// Keys by kernel name, of layers and of everybody's partitions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    by_name: BTreeMap<String, ResourceKey>,
    /// Kernel names by path below `/dev`.
    names: BTreeMap<String, String>,
}

impl Keys {
    /// Works out all of them; `key_of_disk` knows the listed devices.
    pub(super) fn of(nodes: &[Node], key_of_disk: impl Fn(&str) -> Option<ResourceKey>) -> Self {
        let graph = Graph::of(nodes);
        let mut keys = Self::default();
        for node in nodes {
            let key = key_of_disk(&node.name).or_else(|| graph.layer_key(node, &key_of_disk, 0));
            if let Some(key) = key {
                for partition in &node.partitions {
                    let name = partition.name.clone();
                    keys.by_name.insert(name, partition_key(&key, partition.number));
                }
                keys.by_name.insert(node.name.clone(), key);
            }
            keys.add_names(node);
        }
        keys
    }

    fn add_names(&mut self, node: &Node) {
        let mut add = |path: String, name: &str| {
            self.names.entry(path).or_insert_with(|| name.to_owned());
        };
        add(node.shown_name(), &node.name);
        for link in &node.udev.links {
            add(link.clone(), &node.name);
        }
        for partition in &node.partitions {
            add(partition.name.replace('!', "/"), &partition.name);
            for link in &partition.udev.links {
                add(link.clone(), &partition.name);
            }
        }
        if let Some(dm_name) = &node.dm_name {
            add(format!("mapper/{dm_name}"), &node.name);
        }
        if let Some(Layer::Lvm(volume)) = &node.layer
            && volume.layer.is_none()
            && !volume.is_internal
        {
            add(volume.full_name(), &node.name);
        }
    }
}

/// The nodes by name, with who lies on whom.
struct Graph<'a> {
    nodes: BTreeMap<&'a str, &'a Node>,
    holders: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(nodes: &'a [Node]) -> Self {
        let mut holders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in nodes {
            for slave in &node.slaves {
                holders.entry(slave).or_default().push(&node.name);
            }
        }
        Self {
            nodes: nodes.iter().map(|node| (node.name.as_str(), node)).collect(),
            holders,
        }
    }

    fn layer_key(
        &self,
        node: &Node,
        key_of_disk: &impl Fn(&str) -> Option<ResourceKey>,
        depth: usize,
    ) -> Option<ResourceKey> {
        let named = |kind: &str, id: &Option<String>| {
            let place = || {
                node.dm_uuid
                    .clone()
                    .unwrap_or_else(|| format!("name/{}", shown(node)))
            };
            Some(bounded_key(format!(
                "mapping:{kind}:{}",
                id.clone().unwrap_or_else(place)
            )))
        };
        match node.layer.as_ref()? {
            Layer::Md { uuid } => {
                let uuid = uuid.clone().or_else(|| self.uuid_of_members(node));
                Some(array_key(uuid.as_deref(), &node.name))
            }
            Layer::Lvm(volume) => Some(volume_key(self.visible(&node.name).unwrap_or(volume))),
            Layer::Crypt { uuid, .. } => named("crypt", uuid),
            Layer::Multipath { wwid } => named("multipath", wwid),
            Layer::Bcache { uuid } => named("bcache", uuid),
            Layer::DeviceMapper => named("dm", &None),
            Layer::Other => named("device", &None),
            Layer::Partition { number } => {
                let parent = node.slaves.first()?;
                let parent_key = key_of_disk(parent).or_else(|| {
                    let parent = self.nodes.get(parent.as_str())?;
                    (depth < LAYERS_MAX).then(|| self.layer_key(parent, key_of_disk, depth + 1))?
                });
                Some(partition_key(&parent_key?, *number))
            }
        }
    }

    /// The volume that people know, of which this device is a part: itself, or what finally lies on it.
    fn visible(&self, name: &'a str) -> Option<&'a LogicalVolume> {
        let mut seen = BTreeSet::new();
        let mut level = vec![name];
        for _ in 0..LAYERS_MAX {
            let mut above = Vec::new();
            for name in level.into_iter().filter(|name| seen.insert(*name)) {
                match self.nodes.get(name)?.layer.as_ref() {
                    Some(Layer::Lvm(volume)) if !volume.is_internal => return Some(volume),
                    _ => above.extend(self.holders.get(name).into_iter().flatten()),
                }
            }
            level = above;
        }
        None
    }

    /// Old kernels do not show an array's UUID, but udev read it from the members.
    fn uuid_of_members(&self, array: &Node) -> Option<String> {
        let mut found = array.slaves.iter().map(|name| {
            let of_partition = || {
                let mut partitions = self.nodes.values().flat_map(|node| &node.partitions);
                partitions
                    .find(|partition| partition.name == *name)
                    .map(|partition| &partition.udev)
            };
            let udev = self
                .nodes
                .get(name.as_str())
                .map(|node| &node.udev)
                .or_else(of_partition)?;
            let is_member = udev.get("ID_FS_TYPE") == Some("linux_raid_member");
            md_uuid(udev.get("ID_FS_UUID").filter(|_| is_member)?)
        });
        let first = found.next()??;
        found.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }
}

fn shown(node: &Node) -> String {
    node.dm_name.clone().unwrap_or_else(|| node.shown_name())
}

impl Inventory {
    /// The key of whatever the device of this kernel name is: device, partition, mapping, array or volume. The inner
    /// devices of a logical volume (`-real`, `_tmeta`, `-tpool`, …) are the volume that people see.
    #[must_use]
    pub fn key_of(&self, name: &str) -> Option<&ResourceKey> {
        self.keys.by_name.get(name)
    }

    /// The key of what a path or tag names: `/dev/sda3`, `/dev/mapper/x`, `/dev/vg/lv`, `/dev/disk/by-id/…`,
    /// `/dev/block/8:1`, `UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`, or the last part of such a path.
    #[must_use]
    pub fn key_of_path(&self, path: &str) -> Option<&ResourceKey> {
        self.key_of(self.name_of_path(path)?)
    }

    /// The kernel name of what a path or tag names, as for [`Inventory::key_of_path`].
    #[must_use]
    pub fn name_of_path(&self, path: &str) -> Option<&str> {
        if let Some((tag, value)) = path.split_once('=') {
            return self.name_of_tag(tag, value.trim_matches('"'));
        }
        let below = path.strip_prefix("/dev/").unwrap_or(path);
        if let Some(name) = self.keys.names.get(below) {
            return Some(name);
        }
        if let Some(numbers) = below.strip_prefix("block/") {
            let (major, minor) = numbers.split_once(':')?;
            return self.name_of((major.parse().ok()?, minor.parse().ok()?));
        }
        // A path has no other ending anywhere else; a bare name may be that of a link, as zpool(8) prints them.
        let is_bare = !below.is_empty() && !below.contains('/');
        let is_it = |(path, _): &(&String, &String)| is_bare && path.rsplit('/').next() == Some(below);
        self.keys.names.iter().find(is_it).map(|(_, name)| name.as_str())
    }

    fn name_of_tag(&self, tag: &str, value: &str) -> Option<&str> {
        let property = match tag {
            "UUID" => "ID_FS_UUID",
            "LABEL" => "ID_FS_LABEL",
            "PARTUUID" => "ID_PART_ENTRY_UUID",
            "PARTLABEL" => "ID_PART_ENTRY_NAME",
            _ => return None,
        };
        let of_nodes = self.nodes.iter().map(|node| (&node.name, &node.udev));
        let of_partitions = self.nodes.iter().flat_map(|node| &node.partitions);
        let mut all = of_nodes.chain(of_partitions.map(|partition| (&partition.name, &partition.udev)));
        all.find(|(_, udev)| {
            udev.get(property)
                .is_some_and(|found| found.eq_ignore_ascii_case(value))
        })
        .map(|(name, _)| name.as_str())
    }

    /// The keys of what the device of this kernel name lies on, one layer down: for a logical volume the devices and
    /// volumes below its inner ones, for a partition its disk.
    #[must_use]
    pub fn below(&self, name: &str) -> BTreeSet<&ResourceKey> {
        let own = self.key_of(name);
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::from([name]);
        let mut level = self.lies_on(name);
        for _ in 0..LAYERS_MAX {
            let mut further = Vec::new();
            for name in level.into_iter().filter(|name| seen.insert(*name)) {
                match self.key_of(name) {
                    Some(key) if Some(key) != own => drop(found.insert(key)),
                    _ => further.extend(self.lies_on(name)),
                }
            }
            level = further;
        }
        found
    }
}
