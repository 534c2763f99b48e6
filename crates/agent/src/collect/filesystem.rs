//! Mounted filesystems: how big, how full, whether they answer and may be written to.
//!
//! Asking is [`Host::statfs`]'s business, which never hangs; a mount that does not answer is told as such. Where
//! several mounts cover one mount point, the last is what programs see there, as df has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_model::ResourceKey;
use muster_parse::mounts::{self, Mount};

use super::block::{Inventory, Shared};
use super::draft::{Draft, bounded_key};
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::config::collect::Filesystem as Settings;
use crate::host::{Host, Statfs, StatfsError};

mod describe;
mod origin;

pub(crate) use describe::{Answer, describe};

/// The filesystem collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "filesystem",
    summary: "mounted filesystems: size, free space, inodes, whether they answer",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(5),
    timeout: Duration::from_secs(40),
    place: Place::Net,
    build: |context| {
        Box::new(Filesystem {
            settings: context.settings.filesystem.clone(),
            shared: Arc::clone(&context.inventory),
        })
    },
};

struct Filesystem {
    settings: Settings,
    shared: Arc<Shared>,
}

#[async_trait]
impl Collector for Filesystem {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let mut draft = Draft::new(DESCRIPTOR.name);
        let Some((path, text)) = read_mounts(host, &mut draft).await? else {
            return Ok(Outcome::absent("/proc/self/mountinfo does not exist"));
        };
        let parsed = mounts::parse(&text);
        draft.parser_problems(path, parsed.problems);
        // Without it the keys would be others, and every filesystem gone and another one new.
        let inventory = match self.shared.known(host, &mut draft).await {
            Some(inventory) => inventory,
            None => self.shared.current(host).await?,
        };
        let chosen = choose(&parsed.value, &self.settings);
        let answers = futures::future::join_all(
            chosen
                .iter()
                .map(|mount| ask(host, mount, device_name(mount, &inventory))),
        )
        .await;
        for (mount, answer) in chosen.iter().zip(answers) {
            describe(&mut draft, mount, &parsed.value, &answer, &inventory);
        }
        files_as_disks(&mut draft, &parsed.value, &inventory);
        Ok(Outcome::Facts(draft.finish()))
    }
}

/// Links disks that are files to the filesystems that those lie in.
fn files_as_disks(draft: &mut Draft, mounts: &[Mount], inventory: &Inventory) {
    for node in &inventory.nodes {
        let file = node.backing_file.as_deref().filter(|file| file.starts_with('/'));
        let holding = file.and_then(|file| key_holding(file, mounts, inventory));
        if let (Some(key), Some(holding)) = (inventory.key_of(&node.name), holding) {
            draft.rests_on(key, &holding);
        }
    }
}

/// Every mount of the server; none if it tells of none.
///
/// # Errors
/// [`CollectError`] if what tells of them cannot be read.
pub(crate) async fn mounts_of(host: &Host, draft: &mut Draft) -> Result<Vec<Mount>, CollectError> {
    let Some((path, text)) = read_mounts(host, draft).await? else {
        return Ok(Vec::new());
    };
    let parsed = mounts::parse(&text);
    draft.parser_problems(path, parsed.problems);
    Ok(parsed.value)
}

/// The key of the filesystem that a file lies in: of the mounts above it the nearest, and of those there the last.
pub(crate) fn key_holding(path: &str, mounts: &[Mount], inventory: &Inventory) -> Option<ResourceKey> {
    let holds = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.mount_point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let nearest = mounts
        .iter()
        .filter(holds)
        .max_by_key(|mount| mount.mount_point.len())?;
    Some(key(nearest, device_name(nearest, inventory), inventory))
}

/// The mounts of process 1 are the server's; without the right to see those, our own.
async fn read_mounts(host: &Host, draft: &mut Draft) -> Result<Option<(&'static str, String)>, CollectError> {
    let paths = [
        "/proc/1/mountinfo",
        "/proc/self/mountinfo",
        "/proc/1/mounts",
        "/proc/mounts",
    ];
    let mut refused = None;
    for path in paths {
        match host.read_proc(&path["/proc/".len()..]).await {
            Ok(Some(text)) => return Ok(Some((path, text))),
            Ok(None) => {}
            // Only root may look at process 1 of others; that our own mounts are used instead is no news.
            Err(error) if path.contains("/1/") => refused = Some(error),
            Err(error) => {
                draft.error(path, &error);
                refused = Some(error);
            }
        }
    }
    refused.map_or(Ok(None), |error| Err(error.into()))
}

async fn ask(host: &Host, mount: &Mount, device: Option<&str>) -> Answer {
    match host.statfs(&mount.mount_point).await {
        Ok(sizes) => Answer::Sizes {
            sizes,
            error_count: ext_errors(host, mount, device).await,
        },
        Err(StatfsError::Stuck) => Answer::Stuck,
        Err(StatfsError::NotRecorded) => Answer::NotAsked,
        Err(StatfsError::Refused { source }) => Answer::Refused(source),
    }
}

/// The errors that ext2, ext3 and ext4 (all one driver) keep on disk until fsck clears them. With `errors=continue`
/// nothing else tells of them.
async fn ext_errors(host: &Host, mount: &Mount, device: Option<&str>) -> Option<u64> {
    let device = device.filter(|_| mount.fs_type.starts_with("ext"))?;
    let text = host
        .read_sys(&format!("fs/ext4/{device}/errors_count"))
        .await
        .ok()??;
    text.trim().parse().ok()
}

/// The mounts to tell of: not left out by the settings, and of those at one place the last.
pub(crate) fn choose<'a>(mounts: &'a [Mount], settings: &Settings) -> Vec<&'a Mount> {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, mount) in mounts.iter().enumerate() {
        last.insert(&mount.mount_point, index);
    }
    let is_excluded = |mount: &Mount| {
        settings.exclude_types.contains(&mount.fs_type)
            || settings
                .exclude_mount_points
                .iter()
                .any(|pattern| pattern.contains(&mount.mount_point))
    };
    let shown: BTreeSet<usize> = last.into_values().collect();
    shown
        .into_iter()
        .map(|index| &mounts[index])
        .filter(|mount| !is_excluded(mount))
        .collect()
}

/// The kernel name of the device that is mounted, as far as there is one.
fn device_name<'a>(mount: &'a Mount, inventory: &'a Inventory) -> Option<&'a str> {
    let by_numbers = mount
        .detail
        .as_ref()
        .and_then(|detail| inventory.name_of((detail.major, detail.minor)));
    // BTRFS shows made-up numbers, and /proc/mounts none.
    by_numbers.or_else(|| {
        let is_path = mount.source.starts_with("/dev/");
        is_path.then(|| inventory.name_of_path(&mount.source))?
    })
}

/// The key of a filesystem: its own id, else that of the device under it, else what is mounted.
fn key(mount: &Mount, device: Option<&str>, inventory: &Inventory) -> ResourceKey {
    let uuid = device.and_then(|name| inventory.fs_uuid(name));
    let strong_device = || {
        let name = device?;
        let disk = inventory
            .devices()
            .find(|(node, _)| node.name == name || node.partitions.iter().any(|part| part.name == name));
        let is_weak = disk.is_some_and(|(_, identity)| identity.is_weak);
        inventory
            .key_of(name)
            .filter(|_| !is_weak)
            .map(ResourceKey::as_str)
    };
    let what = uuid.or_else(strong_device).unwrap_or(&mount.source);
    bounded_key(format!("filesystem:{what}:{}", mount.mount_point))
}

/// Bytes of a filesystem, from its counts of blocks.
fn bytes(sizes: &Statfs, blocks: u64) -> u64 {
    blocks.saturating_mul(sizes.block_bytes)
}

#[cfg(test)]
mod tests;
