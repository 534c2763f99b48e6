//! `lsblk --json` as devices, partitions, the layers above them, and what rests on what.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use muster_model::{Facts, Health, Resource, ResourceKey, ResourceKind};
use muster_parse::lsblk::{self, BlockDevice};

use crate::collect::block::{Inventory, Layer, Node, describe, recorded};
use crate::collect::draft::{Draft, bounded_key};

pub(super) fn parse(_: &Utf8Path, text: &str) -> Facts {
    let mut draft = Draft::new("lsblk");
    let parsed = lsblk::parse(text);
    let inventory = Inventory::of(recorded::nodes(&parsed.value));
    describe(&mut draft, &inventory);
    for node in &inventory.nodes {
        if let (Some(Layer::Md { uuid }), Some(key)) = (&node.layer, inventory.key_of(&node.name)) {
            let device = lsblk::unique(&parsed.value)
                .into_iter()
                .find(|(device, _)| device.key() == node.name);
            let level = device.and_then(|(device, _)| device.kind.clone());
            if draft.resource(array(node, uuid.as_deref(), level, key)) {
                for below in inventory.below(&node.name) {
                    draft.rests_on(key, below);
                }
            }
        }
    }
    pools(&mut draft, &parsed.value, &inventory);
    mounted(&mut draft, &parsed.value, &inventory);
    draft.parser_problems("lsblk", parsed.problems);
    draft.finish()
}

/// An array, of which lsblk knows neither state nor members that are gone.
fn array(node: &Node, uuid: Option<&str>, level: Option<String>, key: &ResourceKey) -> Resource {
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), node.shown_name());
    resource.health = Some(Health::Unknown);
    resource
        .health_reasons
        .push("lsblk does not tell how well an array is".to_owned());
    resource
        .set("pool_name", Some(node.shown_name()))
        .set("pool_type", Some("mdadm"))
        .set("uuid", uuid)
        .set("raid_level", level)
        .set("device_name", Some(node.shown_name()))
        .set("device_path", Some(format!("/dev/{}", node.shown_name())))
        .set("total_size_bytes", node.size_bytes)
        .set("fs_type", node.udev.get("ID_FS_TYPE"))
        .set("fs_uuid", node.udev.get("ID_FS_UUID"));
    resource
}

/// Pools that devices say they belong to. lsblk shows neither how well they are nor who else is missing.
fn pools(draft: &mut Draft, forest: &[BlockDevice], inventory: &Inventory) {
    let mut members: BTreeMap<ResourceKey, (Resource, BTreeSet<ResourceKey>)> = BTreeMap::new();
    for (device, _) in lsblk::unique(forest) {
        let pool = pool_of(device).zip(inventory.key_of(&device.key().replace('/', "!")));
        let Some(((pool_type, key), member)) = pool else {
            continue;
        };
        let found = members.entry(key.clone()).or_insert_with(|| {
            let name = device.fs_label.clone().or_else(|| device.fs_uuid.clone());
            let name = name.unwrap_or_else(|| key.to_string());
            let mut resource = Resource::new(ResourceKind::Pool, key, name.clone());
            resource.health = Some(Health::Unknown);
            resource
                .health_reasons
                .push("lsblk does not tell how well a pool is".to_owned());
            resource
                .set("pool_name", Some(name))
                .set("pool_type", Some(pool_type));
            (resource, BTreeSet::new())
        });
        found.1.insert(member.clone());
    }
    for (key, (resource, members)) in members {
        if draft.resource(resource) {
            for member in members {
                draft.rests_on(&key, &member);
            }
        }
    }
}

/// The pool whose id a device's content carries.
fn pool_of(device: &BlockDevice) -> Option<(&'static str, ResourceKey)> {
    let id = device.fs_uuid.as_deref()?;
    match device.fs_type.as_deref()? {
        "btrfs" => Some((
            "btrfs",
            bounded_key(format!("pool:btrfs:{}", id.to_ascii_lowercase())),
        )),
        "zfs_member" => Some(("zfs", bounded_key(format!("pool:zfs:{id}")))),
        _ => None,
    }
}

/// Filesystems and swap areas by where they are mounted, with what carries them.
fn mounted(draft: &mut Draft, forest: &[BlockDevice], inventory: &Inventory) {
    // A filesystem over several devices is mounted once, and lsblk says so at each of them.
    let mut told = BTreeSet::new();
    for (device, _) in lsblk::unique(forest) {
        let Some(carrier) = inventory.key_of(&device.key().replace('/', "!")) else {
            continue;
        };
        for point in &device.mount_points {
            let is_swap = point == "[SWAP]";
            let id = device.fs_uuid.clone().unwrap_or_else(|| carrier.to_string());
            let path = device
                .path
                .clone()
                .unwrap_or_else(|| format!("/dev/{}", device.name));
            let mut resource = match is_swap {
                true => {
                    let key = bounded_key(format!("swap:{}", device.fs_uuid.as_deref().unwrap_or(&path)));
                    Resource::new(ResourceKind::Swap, key, path.clone())
                }
                false => {
                    let key = bounded_key(format!("filesystem:{id}:{point}"));
                    Resource::new(ResourceKind::Filesystem, key, point.clone())
                }
            };
            let is_again = !told.insert(resource.key.clone());
            if is_again && pool_of(device).is_some() {
                continue;
            }
            resource.health = Some(Health::Unknown);
            resource
                .health_reasons
                .push("lsblk does not tell how well it is".to_owned());
            resource
                .set("mountpoint", Some(point.clone()).filter(|_| !is_swap))
                .set("fs_type", device.fs_type.clone())
                .set("fs_uuid", device.fs_uuid.clone())
                .set("source", Some(path))
                .set("size_bytes", device.fs_size_bytes)
                .set("used_bytes", device.fs_used_bytes)
                .set("available_bytes", device.fs_available_bytes);
            let key = resource.key.clone();
            if draft.resource(resource) {
                let pool = pool_of(device).map(|(_, pool)| pool);
                draft.rests_on(&key, pool.as_ref().unwrap_or(carrier));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = r#"{"blockdevices":[
        {"name":"sda","type":"disk","size":1000,"wwn":"0x5000c500a1b2c3d4","model":"M","serial":"S123","children":[
            {"name":"sda1","type":"part","size":900,"children":[
                {"name":"md0","type":"raid1","size":800,"children":[{"name":"vg-lv","kname":"dm-0","type":"lvm","size":700}]}]}]},
        {"name":"sdb","type":"disk","size":1000,"model":"M","serial":"S124","children":[
            {"name":"md0","type":"raid1","size":800,"children":[{"name":"vg-lv","kname":"dm-0","type":"lvm","size":700}]}]}]}"#;

    #[test]
    fn a_tree_becomes_resources_and_links() {
        let facts = parse(Utf8Path::new("x"), TREE);
        let keys: Vec<_> = facts
            .resources
            .iter()
            .map(|resource| resource.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "device:serial:M:S124",
                "device:wwn:0x5000c500a1b2c3d4",
                "partition:wwn:0x5000c500a1b2c3d4:1",
                "volume:lvm:name/vg/lv",
                "pool:mdadm:name/md0",
            ]
        );
        let links: Vec<_> = facts
            .links
            .iter()
            .map(|link| (link.from.as_str(), link.to.as_str()))
            .collect();
        assert_eq!(
            links,
            [
                (
                    "partition:wwn:0x5000c500a1b2c3d4:1",
                    "device:wwn:0x5000c500a1b2c3d4"
                ),
                ("volume:lvm:name/vg/lv", "pool:mdadm:name/md0"),
                ("pool:mdadm:name/md0", "device:serial:M:S124"),
                ("pool:mdadm:name/md0", "partition:wwn:0x5000c500a1b2c3d4:1"),
            ]
        );
        assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    }

    #[test]
    fn a_filesystem_over_two_devices_is_one_and_no_problem() {
        let text = r#"{"blockdevices":[
            {"name":"sda","type":"disk","serial":"S1","model":"M","fstype":"btrfs","uuid":"c74b","mountpoints":["/srv"]},
            {"name":"sdb","type":"disk","serial":"S2","model":"M","fstype":"btrfs","uuid":"c74b","mountpoints":["/srv"]}]}"#;
        let facts = parse(Utf8Path::new("x"), text);
        assert!(facts.problems.is_empty(), "{:?}", facts.problems);
        let filesystems = facts
            .resources
            .iter()
            .filter(|found| found.kind == ResourceKind::Filesystem);
        assert_eq!(filesystems.count(), 1);
    }

    #[test]
    fn layers_are_known_by_the_ids_that_their_members_carry() {
        let text = r#"{"blockdevices":[
            {"name":"sda","type":"disk","model":"M","serial":"S123","fstype":"linux_raid_member",
             "uuid":"4eb7912d-d05a-9a45-fcb3-4d9d19344810","children":[
                {"name":"md0","type":"raid1","fstype":"crypto_LUKS","uuid":"59cbdfa1-9b78-4dca-a1b3-1d504128da99","children":[
                    {"name":"secret","kname":"dm-0","type":"crypt","fstype":"LVM2_member","uuid":"x","children":[
                        {"name":"vg--a-home","kname":"dm-1","type":"lvm","fstype":"ext4","uuid":"0aa1","mountpoints":["/home"]}]}]}]},
            {"name":"sdb","type":"disk","wwn":"0x600508b400105e21","children":[
                {"name":"mpatha","kname":"dm-2","type":"mpath","children":[
                    {"name":"mpatha1","kname":"dm-3","type":"part","fstype":"btrfs","uuid":"C74B","mountpoints":["/srv"]}]}]}]}"#;
        let facts = parse(Utf8Path::new("x"), text);
        assert!(facts.problems.is_empty(), "{:?}", facts.problems);
        let links: Vec<_> = facts
            .links
            .iter()
            .map(|link| format!("{} > {}", link.from, link.to))
            .collect();
        for expected in [
            "filesystem:0aa1:/home > volume:lvm:name/vg-a/home",
            "volume:lvm:name/vg-a/home > mapping:crypt:59cbdfa1-9b78-4dca-a1b3-1d504128da99",
            "mapping:crypt:59cbdfa1-9b78-4dca-a1b3-1d504128da99 > pool:mdadm:4eb7912d:d05a9a45:fcb34d9d:19344810",
            "pool:mdadm:4eb7912d:d05a9a45:fcb34d9d:19344810 > device:serial:M:S123",
            "filesystem:C74B:/srv > pool:btrfs:c74b",
            "pool:btrfs:c74b > partition:multipath:3600508b400105e21:1",
            "partition:multipath:3600508b400105e21:1 > mapping:multipath:3600508b400105e21",
            "mapping:multipath:3600508b400105e21 > device:wwn:0x600508b400105e21",
        ] {
            assert!(
                links.iter().any(|link| link == expected),
                "{expected}: {links:#?}"
            );
        }
        assert_eq!(links.len(), 8, "{links:#?}");
    }
}
