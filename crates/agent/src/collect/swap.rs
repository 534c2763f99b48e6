//! Swap areas: partitions, logical volumes, files, compressed memory; how full, and what carries them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{NODE_SWAP_PRIORITY, NODE_SWAP_SIZE_BYTES, NODE_SWAP_USED_BYTES};
use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use muster_parse::mounts::Mount;
use muster_parse::swaps::{self, Swap};

use super::block::{Class, Inventory, Shared};
use super::draft::{Draft, bounded_key};
use super::{CollectError, Collector, Descriptor, Outcome, Place, filesystem};
use crate::host::Host;

/// Bytes of a KiB.
const KIB: u64 = 1024;

/// The swap collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "swap",
    summary: "swap areas: size, use, what carries them",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(5),
    timeout: Duration::from_secs(20),
    place: Place::Net,
    build: |context| {
        Box::new(SwapAreas {
            shared: Arc::clone(&context.inventory),
        })
    },
};

struct SwapAreas {
    shared: Arc<Shared>,
}

#[async_trait]
impl Collector for SwapAreas {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("swaps").await? else {
            return Ok(Outcome::absent("/proc/swaps does not exist"));
        };
        let parsed = swaps::parse(&text);
        if parsed.value.is_empty() && parsed.problems.is_empty() {
            return Ok(Outcome::absent("no swap area is in use"));
        }
        let mut draft = Draft::new(DESCRIPTOR.name);
        draft.parser_problems("/proc/swaps", parsed.problems);
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let mounts = match parsed.value.iter().any(|swap| swap.kind == "file") {
            true => filesystem::mounts_of(host, &mut draft).await?,
            false => Vec::new(),
        };
        for swap in &parsed.value {
            describe(&mut draft, swap, &mounts, &inventory);
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}

fn describe(draft: &mut Draft, swap: &Swap, mounts: &[Mount], inventory: &Inventory) {
    let name = inventory.name_of_path(&swap.path).filter(|_| swap.kind != "file");
    let node = name.and_then(|name| inventory.node(name));
    let path = match node.and_then(|node| node.dm_name.as_deref()) {
        Some(dm_name) => format!("/dev/mapper/{dm_name}"),
        None => swap.path.clone(),
    };
    let is_zram = Class::of(swap.path.trim_start_matches("/dev/")) == Class::Zram;
    let uuid = name.and_then(|name| inventory.fs_uuid(name)).filter(|_| !is_zram);
    let key = bounded_key(format!("swap:{}", uuid.unwrap_or(&path)));
    let mut resource = Resource::new(ResourceKind::Swap, key.clone(), path.clone());
    resource.health = Some(Health::Healthy);
    if swap.is_deleted {
        let text = "its file was deleted while in use: its space comes back only after swapoff";
        resource.health = Some(Health::Warning);
        resource.health_reasons.push(text.to_owned());
    }
    let swap_type = if is_zram { "zram" } else { swap.kind.as_str() };
    let (size, used) = (
        swap.size_kib.saturating_mul(KIB),
        swap.used_kib.saturating_mul(KIB),
    );
    resource
        .set("swap_type", Some(swap_type))
        .set("device_path", Some(path))
        .set("fs_uuid", uuid.map(str::to_owned))
        .set("size_bytes", Some(size))
        .set("used_bytes", Some(used))
        .set("free_bytes", Some(size.saturating_sub(used)))
        .set("priority", Some(swap.priority));
    if !draft.resource(resource) {
        return;
    }
    if let Some(carrier) = carrier(swap, name, mounts, inventory) {
        draft.rests_on(&key, &carrier);
    }
    let labels = [("device", swap.path.as_str()), ("swap_type", swap.kind.as_str())];
    draft.sample_of(Some(&key), &NODE_SWAP_SIZE_BYTES, &labels, size as f64);
    draft.sample_of(Some(&key), &NODE_SWAP_USED_BYTES, &labels, used as f64);
    draft.sample_of(Some(&key), &NODE_SWAP_PRIORITY, &labels, swap.priority as f64);
}

/// The device, or the filesystem that the file lies in.
fn carrier(swap: &Swap, name: Option<&str>, mounts: &[Mount], inventory: &Inventory) -> Option<ResourceKey> {
    if swap.kind == "file" {
        return filesystem::key_holding(&swap.path, mounts, inventory);
    }
    inventory.key_of(name?).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::block::tests::Root;

    #[tokio::test]
    async fn each_area_rests_on_what_carries_it() {
        let root = Root::new();
        let disk = [
            ("device/model", "M"),
            ("device/serial", "SER-A"),
            ("size", "100"),
            ("dev", "8:0"),
        ];
        root.disk("sda", "pci0/a", &disk)
            .write("sys/devices/pci0/a/block/sda/sda1/partition", "1\n")
            .write("sys/devices/pci0/a/block/sda/sda1/dev", "8:1\n")
            .write("sys/devices/pci0/a/block/sda/sda2/partition", "2\n")
            .write("sys/devices/pci0/a/block/sda/sda2/dev", "8:2\n")
            .write(
                "run/udev/data/b8:1",
                "E:ID_FS_TYPE=swap\nE:ID_FS_UUID=1111-aaaa\n",
            )
            .write(
                "run/udev/data/b8:2",
                "E:ID_FS_TYPE=ext4\nE:ID_FS_UUID=2222-bbbb\n",
            )
            .write(
                "proc/self/mountinfo",
                "27 1 8:2 / / rw - ext4 /dev/sda2 rw\n28 27 0:9 / /var rw - tmpfs x rw\n",
            );
        root.disk("zram0", "virtual", &[("dev", "253:0"), ("size", "8")]);
        root.write(
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/sda1 partition 100 25 -2\n/swapfile\\040(deleted) file 8 0 -3\n/dev/zram0 partition 8 0 100\n",
        );
        let mut collector = SwapAreas {
            shared: Arc::default(),
        };
        let Outcome::Facts(facts) = collector.collect(&root.host()).await.unwrap() else {
            panic!("there are swap areas")
        };
        let links: Vec<_> = facts
            .links
            .iter()
            .map(|link| (link.from.as_str(), link.to.as_str()))
            .collect();
        assert_eq!(
            links,
            [
                ("swap:1111-aaaa", "partition:serial:M:SER-A:1"),
                ("swap:/swapfile", "filesystem:2222-bbbb:/"),
                ("swap:/dev/zram0", "device:path:virtual/zram0"),
            ]
        );
        assert_eq!(
            facts.resources[0].attributes["used_bytes"],
            (25_u64 * 1024).into()
        );
        assert_eq!(facts.resources[0].health, Some(Health::Healthy));
        assert_eq!(facts.resources[1].health, Some(Health::Warning));
        assert_eq!(facts.resources[2].attributes["swap_type"], "zram".into());
        assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    }

    #[tokio::test]
    async fn a_server_without_swap_is_absent() {
        let root = Root::new();
        root.write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
        let mut collector = SwapAreas {
            shared: Arc::default(),
        };
        let outcome = collector.collect(&root.host()).await.unwrap();
        assert!(matches!(outcome, Outcome::Absent { .. }));
    }
}
