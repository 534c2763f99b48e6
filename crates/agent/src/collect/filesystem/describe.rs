//! One mount and its answer as a resource, its links and its series.

use std::io;

use muster_catalogue::{
    Metric, NODE_FILESYSTEM_AVAIL_BYTES, NODE_FILESYSTEM_DEVICE_ERROR, NODE_FILESYSTEM_FILES,
    NODE_FILESYSTEM_FILES_FREE, NODE_FILESYSTEM_FREE_BYTES, NODE_FILESYSTEM_MOUNT_INFO,
    NODE_FILESYSTEM_READONLY, NODE_FILESYSTEM_SIZE_BYTES,
};
use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use muster_parse::mounts::Mount;
use nix::errno::Errno;

use super::{bytes, device_name, key, origin};
use crate::collect::block::Inventory;
use crate::collect::draft::Draft;
use crate::host::Statfs;

/// What came of asking a filesystem for its sizes.
#[derive(Debug)]
pub(crate) enum Answer {
    Sizes {
        sizes: Statfs,
        /// Errors that the filesystem itself has noted; `None` if it does not count them.
        error_count: Option<u64>,
    },
    /// It does not answer.
    Stuck,
    /// It answered with an error.
    Refused(io::Error),
    /// There is nothing that could be asked.
    NotAsked,
}

/// Puts a mount into the draft. `all` are the mounts of the whole server.
pub(crate) fn describe(
    draft: &mut Draft,
    mount: &Mount,
    all: &[Mount],
    answer: &Answer,
    inventory: &Inventory,
) {
    let device = device_name(mount, inventory);
    let key = key(mount, device, inventory);
    let (health, reasons) = judge(mount, all, answer);
    let mut resource = Resource::new(ResourceKind::Filesystem, key.clone(), mount.mount_point.clone());
    resource.health = Some(health);
    resource.health_reasons = reasons;
    resource
        .set("mountpoint", Some(mount.mount_point.clone()))
        .set("fs_type", Some(mount.fs_type.clone()))
        .set(
            "source",
            Some(mount.source.clone()).filter(|source| !source.is_empty()),
        )
        .set(
            "fs_uuid",
            device.and_then(|name| inventory.fs_uuid(name)).map(str::to_owned),
        );
    resource
        .set("is_network", Some(origin::is_network(mount)))
        .set("bind_of", origin::bind_of(mount, all))
        .set("subvolume", origin::subvolume(mount).map(str::to_owned));
    let mount_is_read_only = mount.is_read_only();
    if let Answer::Sizes { sizes, error_count } = answer {
        resource
            .set("error_count", *error_count)
            .set("size_bytes", Some(bytes(sizes, sizes.blocks)))
            .set("free_bytes", Some(bytes(sizes, sizes.blocks_free)))
            .set("available_bytes", Some(bytes(sizes, sizes.blocks_available)))
            .set(
                "used_bytes",
                sizes
                    .blocks
                    .checked_sub(sizes.blocks_free)
                    .map(|used| bytes(sizes, used)),
            )
            .set("inodes_total", Some(sizes.files))
            .set("inodes_free", Some(sizes.files_free));
    }
    resource.set("readonly", Some(is_read_only(mount_is_read_only, answer)));
    if !draft.resource(resource) {
        return;
    }
    if let Some(carrier) = origin::carrier(mount, device, inventory) {
        draft.rests_on(&key, &carrier);
    }
    samples(draft, mount, answer, &key);
}

fn is_read_only(mount_is_read_only: bool, answer: &Answer) -> bool {
    match answer {
        Answer::Sizes { sizes, .. } => mount_is_read_only || sizes.is_read_only,
        _ => mount_is_read_only,
    }
}

/// How well the filesystem is: only one that answered, and may be written to if it should, is healthy.
fn judge(mount: &Mount, all: &[Mount], answer: &Answer) -> (Health, Vec<String>) {
    let reason = |health, text: String| (health, vec![text]);
    match answer {
        Answer::Stuck => reason(
            Health::Unknown,
            "does not answer: the disk, the network or the server behind it may be gone".to_owned(),
        ),
        Answer::NotAsked => reason(Health::Unknown, "its size is not known".to_owned()),
        Answer::Refused(error) => {
            let text = error_text(error);
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EIO | Errno::ENOTCONN | Errno::ESTALE | Errno::ESHUTDOWN) => {
                    reason(Health::Critical, format!("answers with an error: {text}"))
                }
                _ => reason(Health::Unknown, format!("cannot be asked: {text}")),
            }
        }
        Answer::Sizes { sizes, .. } if went_read_only(mount, all, sizes) => reason(
            Health::Critical,
            "was mounted to be written to and has become read-only: look for I/O errors in the kernel log"
                .to_owned(),
        ),
        Answer::Sizes {
            error_count: Some(count),
            ..
        } if 0 < *count => reason(
            Health::Warning,
            format!("has noted errors since it was last checked: {count}; check the disk, then run fsck"),
        ),
        Answer::Sizes { sizes, .. } => match used_up(mount, sizes) {
            Some(text) => reason(Health::Warning, text.to_owned()),
            None => (Health::Healthy, Vec::new()),
        },
    }
}

/// What a filesystem that is meant to be written to has no more of. One that is never written to is full by nature,
/// and one without blocks or inodes to count (pseudo filesystems, BTRFS for inodes) cannot run out of them.
fn used_up(mount: &Mount, sizes: &Statfs) -> Option<&'static str> {
    const NEVER_WRITTEN: [&str; 5] = ["squashfs", "iso9660", "erofs", "cramfs", "romfs"];
    if mount.is_read_only() || sizes.is_read_only || NEVER_WRITTEN.contains(&mount.fs_type.as_str()) {
        return None;
    }
    if 0 < sizes.blocks && sizes.blocks_available == 0 {
        return Some("no space left: delete what is not needed, or enlarge it");
    }
    (0 < sizes.files && sizes.files_free == 0)
        .then_some("no inodes left: delete files that are not needed; small ones count as much as large ones")
}

/// A filesystem that meets errors (ext4 with errors=remount-ro, BTRFS, …) turns read-only as a whole, while the
/// mount's own option still says `rw`. Whoever makes it read-only on purpose changes the mount's option too; a bind
/// mount of something read-only is told by its other mounts. Only mountinfo keeps the two apart.
fn went_read_only(mount: &Mount, all: &[Mount], sizes: &Statfs) -> bool {
    let Some(detail) = &mount.detail else { return false };
    let has_ro = |options: &[String]| options.iter().any(|option| option == "ro");
    if has_ro(&mount.options) || !(has_ro(&mount.super_options) || sizes.is_read_only) {
        return false;
    }
    let is_same = |other: &&Mount| {
        other
            .detail
            .as_ref()
            .is_some_and(|found| (found.major, found.minor) == (detail.major, detail.minor))
    };
    !all.iter().filter(is_same).any(|other| has_ro(&other.options))
}

fn samples(draft: &mut Draft, mount: &Mount, answer: &Answer, key: &ResourceKey) {
    let device_error = match answer {
        Answer::Sizes { .. } | Answer::NotAsked => String::new(),
        // The words of node_exporter.
        Answer::Stuck => "mountpoint timeout".to_owned(),
        Answer::Refused(error) => error_text(error),
    };
    let labels = [
        ("device", mount.source.as_str()),
        ("mountpoint", mount.mount_point.as_str()),
        ("fstype", mount.fs_type.as_str()),
        ("device_error", device_error.as_str()),
    ];
    let mut add = |metric: &Metric, value: f64| draft.sample_of(Some(key), metric, &labels, value);
    if matches!(answer, Answer::NotAsked) {
        return;
    }
    let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
    add(&NODE_FILESYSTEM_DEVICE_ERROR, flag(!device_error.is_empty()));
    add(
        &NODE_FILESYSTEM_READONLY,
        flag(is_read_only(mount.is_read_only(), answer)),
    );
    let Answer::Sizes { sizes, .. } = answer else {
        return;
    };
    add(&NODE_FILESYSTEM_SIZE_BYTES, bytes(sizes, sizes.blocks) as f64);
    add(
        &NODE_FILESYSTEM_FREE_BYTES,
        bytes(sizes, sizes.blocks_free) as f64,
    );
    add(
        &NODE_FILESYSTEM_AVAIL_BYTES,
        bytes(sizes, sizes.blocks_available) as f64,
    );
    add(&NODE_FILESYSTEM_FILES, sizes.files as f64);
    add(&NODE_FILESYSTEM_FILES_FREE, sizes.files_free as f64);
    if let Some(detail) = &mount.detail {
        let labels = [
            ("device", mount.source.as_str()),
            ("major", &detail.major.to_string()),
            ("minor", &detail.minor.to_string()),
            ("mountpoint", mount.mount_point.as_str()),
        ];
        draft.sample_of(Some(key), &NODE_FILESYSTEM_MOUNT_INFO, &labels, 1.0);
    }
}

/// The error in words, lower-case and without its number.
fn error_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use muster_parse::mounts;

    use super::*;

    const SIZES: Statfs = Statfs {
        block_bytes: 4096,
        blocks: 100,
        blocks_free: 50,
        blocks_available: 40,
        files: 10,
        files_free: 5,
        is_read_only: false,
    };

    fn health(lines: &str, answer: &Answer) -> Health {
        let mounts = mounts::parse(lines).value;
        judge(&mounts[0], &mounts, answer).0
    }

    fn sized(error_count: Option<u64>) -> Answer {
        Answer::Sizes {
            sizes: SIZES,
            error_count,
        }
    }

    const RW: &str = "27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n";
    const TURNED_RO: &str = "27 1 8:1 / / rw,relatime - ext4 /dev/sda1 ro,errors=remount-ro\n";
    const MEANT_RO: &str = "27 1 8:1 / / ro,relatime - ext4 /dev/sda1 ro\n";

    #[test]
    fn only_an_answer_makes_a_filesystem_healthy() {
        assert_eq!(health(RW, &sized(None)), Health::Healthy);
        assert_eq!(health(RW, &Answer::Stuck), Health::Unknown);
        assert_eq!(health(RW, &Answer::NotAsked), Health::Unknown);
        assert_eq!(health(RW, &sized(Some(0))), Health::Healthy);
        assert_eq!(health(RW, &sized(Some(3))), Health::Warning);
        let denied = Answer::Refused(Errno::EACCES.into());
        assert_eq!(health(RW, &denied), Health::Unknown);
        let broken = Answer::Refused(Errno::EIO.into());
        assert_eq!(health(RW, &broken), Health::Critical);
    }

    #[test]
    fn one_that_has_no_space_or_no_inodes_left_is_a_warning() {
        let judged = |line: &str, change: fn(&mut Statfs)| {
            let mut sizes = SIZES;
            change(&mut sizes);
            let mounts = mounts::parse(line).value;
            let answer = Answer::Sizes {
                sizes,
                error_count: None,
            };
            let (health, reasons) = judge(&mounts[0], &mounts, &answer);
            (health, reasons.concat())
        };
        let (health, text) = judged(RW, |sizes| sizes.blocks_available = 0);
        assert!(
            health == Health::Warning && text.starts_with("no space left"),
            "{text}"
        );
        let (health, text) = judged(RW, |sizes| sizes.files_free = 0);
        assert!(
            health == Health::Warning && text.starts_with("no inodes left"),
            "{text}"
        );
        let is_healthy = |line: &str, change| judged(line, change).0 == Health::Healthy;
        let full: fn(&mut Statfs) = |sizes| (sizes.blocks_available, sizes.files_free) = (0, 0);
        assert!(is_healthy(MEANT_RO, full));
        assert!(is_healthy(&RW.replace("ext4", "squashfs"), full));
        assert!(is_healthy(RW, |sizes| (sizes.files, sizes.files_free) = (0, 0)));
        assert!(is_healthy(RW, |sizes| (sizes.blocks, sizes.blocks_available) = (0, 0)));
    }

    #[test]
    fn one_that_turned_read_only_is_critical_and_one_meant_so_is_not() {
        assert_eq!(health(TURNED_RO, &sized(None)), Health::Critical);
        assert_eq!(health(MEANT_RO, &sized(None)), Health::Healthy);
        let bound = format!("{TURNED_RO}{}", MEANT_RO.replace(" / / ", " / /copy "));
        assert_eq!(health(&bound, &sized(None)), Health::Healthy);
    }

    #[test]
    fn on_an_error_only_the_error_and_readonly_are_sent() {
        let mounts = mounts::parse(RW).value;
        let mut draft = Draft::new("filesystem");
        describe(
            &mut draft,
            &mounts[0],
            &mounts,
            &Answer::Stuck,
            &Inventory::default(),
        );
        let facts = draft.finish();
        let names: Vec<_> = facts.samples.iter().map(|sample| &*sample.name).collect();
        assert_eq!(
            names,
            ["node_filesystem_device_error", "node_filesystem_readonly"]
        );
        assert_eq!(
            facts.samples[0].labels.get("device_error"),
            Some("mountpoint timeout")
        );
        assert_eq!(facts.samples[0].value, 1.0);
    }

    #[test]
    fn every_series_carries_the_label_device_error() {
        let mounts = mounts::parse(RW).value;
        let mut draft = Draft::new("filesystem");
        describe(
            &mut draft,
            &mounts[0],
            &mounts,
            &sized(None),
            &Inventory::default(),
        );
        let facts = draft.finish();
        assert_eq!(facts.samples.len(), 8);
        for sample in facts
            .samples
            .iter()
            .filter(|sample| sample.name != "node_filesystem_mount_info")
        {
            assert_eq!(sample.labels.get("device_error"), Some(""), "{}", sample.name);
        }
    }
}
