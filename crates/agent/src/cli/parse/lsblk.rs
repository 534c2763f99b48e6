//! `lsblk --json` as devices, partitions, the layers above them, and what rests on what.

use camino::Utf8Path;
use muster_model::{Facts, Resource, ResourceKey, ResourceKind};
use muster_parse::lsblk::{self, BlockDevice};

use crate::collect::block::{Inventory, describe, recorded};
use crate::collect::draft::{Draft, bounded_key};

pub(super) fn parse(_: &Utf8Path, text: &str) -> Facts {
    let mut draft = Draft::new("lsblk");
    let parsed = lsblk::parse(text);
    let inventory = Inventory::of(recorded::nodes(&parsed.value));
    describe(&mut draft, &inventory);
    let devices = lsblk::unique(&parsed.value);
    for (device, parents) in devices.iter().filter(|(device, _)| recorded::is_layer(device)) {
        let key = layer_key(device);
        draft.resource(layer(device, &key));
        for parent in parents {
            let below = inventory.key(parent).cloned().or_else(|| {
                let (found, _) = devices.iter().find(|(other, _)| other.key() == *parent)?;
                recorded::is_layer(found).then(|| layer_key(found))
            });
            if let Some(below) = below {
                draft.rests_on(&key, &below);
            }
        }
    }
    draft.parser_problems("lsblk", parsed.problems);
    draft.finish()
}

fn layer_key(device: &BlockDevice) -> ResourceKey {
    bounded_key(format!("{}:name/{}", layer_kind(device).as_str(), device.name))
}

fn layer_kind(device: &BlockDevice) -> ResourceKind {
    match device.kind.as_deref() {
        Some("lvm") => ResourceKind::Volume,
        Some(kind) if kind.starts_with("raid") || kind.starts_with("md") || kind == "linear" => {
            ResourceKind::Pool
        }
        _ => ResourceKind::Mapping,
    }
}

fn layer(device: &BlockDevice, key: &ResourceKey) -> Resource {
    let mut resource = Resource::new(layer_kind(device), key.clone(), device.name.clone());
    resource
        .set("device_name", Some(device.name.clone()))
        .set("device_path", device.path.clone())
        .set("layer_type", device.kind.clone())
        .set("size_bytes", device.size_bytes)
        .set("fs_type", device.fs_type.clone())
        .set("fs_uuid", device.fs_uuid.clone());
    resource
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
                "pool:name/md0",
                "volume:name/vg-lv",
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
                ("pool:name/md0", "device:serial:M:S124"),
                ("pool:name/md0", "partition:wwn:0x5000c500a1b2c3d4:1"),
                ("volume:name/vg-lv", "pool:name/md0"),
            ]
        );
        assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    }

    #[test]
    fn foundations_are_found_through_recorded_layers() {
        let inventory = Inventory::of(recorded::nodes(&lsblk::parse(TREE).value));
        let found: Vec<_> = inventory
            .foundations("dm-0")
            .into_iter()
            .map(ResourceKey::as_str)
            .collect();
        assert_eq!(
            found,
            ["device:serial:M:S124", "partition:wwn:0x5000c500a1b2c3d4:1"]
        );
    }
}
