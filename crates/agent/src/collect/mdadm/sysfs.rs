//! What `/sys/block/<array>/md` shows; Documentation/admin-guide/md.rst.

use std::collections::BTreeMap;

use crate::collect::block::{Layer, md_uuid};
use crate::host::Files;

/// An array as sysfs shows it. What a kernel does not have is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shown {
    pub(super) uuid: Option<String>,
    pub(super) level: Option<String>,
    pub(super) metadata: Option<String>,
    /// `clean`, `active`, `inactive`, `readonly`, `read-auto`, `broken`, …
    pub(super) array_state: Option<String>,
    pub(super) raid_disks: Option<u64>,
    pub(super) degraded: Option<u64>,
    /// `idle`, `resync`, `recover`, `check`, `repair`, `reshape`, `frozen`.
    pub(super) sync_action: Option<String>,
    pub(super) last_sync_action: Option<String>,
    /// Sectors done and in all; absent while nothing runs.
    pub(super) sync_completed: Option<(u64, u64)>,
    pub(super) sync_speed_kib: Option<u64>,
    /// Sectors.
    pub(super) mismatch_count: Option<u64>,
    pub(super) layout: Option<u64>,
    pub(super) chunk_bytes: Option<u64>,
    pub(super) consistency_policy: Option<String>,
    pub(super) members: Vec<ShownMember>,
}

/// A folder `dev-*`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ShownMember {
    /// Kernel name.
    pub(super) name: String,
    /// Words of `state`: `in_sync`, `faulty`, `spare`, `journal`, `replacement`, …
    pub(super) states: Vec<String>,
    /// Its place; `none` and `journal` are `None`.
    pub(super) slot: Option<usize>,
    /// Read errors that were put right.
    pub(super) errors: Option<u64>,
}

/// Reads the arrays of these names that are there.
pub(super) fn read(files: &Files, names: &[String]) -> BTreeMap<String, Shown> {
    let of = |name: &String| Some((name.clone(), read_one(files, name)?));
    names.iter().filter_map(of).collect()
}

fn read_one(files: &Files, name: &str) -> Option<Shown> {
    let base = format!("/sys/block/{}/md", name.replace('/', "!"));
    let entries = files.names(&base);
    if entries.is_empty() {
        return None;
    }
    let word = |path: &str| files.word(&format!("{base}/{path}"));
    // `none`, where there is nothing to tell.
    let number = |path: &str| word(path)?.split_whitespace().next()?.parse::<u64>().ok();
    let metadata = word("metadata_version");
    let uuid = match Layer::of_md(word("uuid").as_deref(), metadata.as_deref(), None) {
        Layer::Md { uuid } => uuid.as_deref().and_then(md_uuid),
        _ => None,
    };
    let completed = word("sync_completed").and_then(|text| {
        let (done, total) = text.split_once('/')?;
        Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
    });
    let members = entries.iter().filter_map(|entry| entry.strip_prefix("dev-"));
    Some(Shown {
        uuid,
        level: word("level"),
        metadata,
        array_state: word("array_state"),
        raid_disks: number("raid_disks"),
        degraded: number("degraded"),
        sync_action: word("sync_action"),
        last_sync_action: word("last_sync_action"),
        sync_completed: completed,
        sync_speed_kib: number("sync_speed"),
        mismatch_count: number("mismatch_cnt"),
        layout: number("layout"),
        chunk_bytes: number("chunk_size"),
        consistency_policy: word("consistency_policy"),
        members: members.map(|member| read_member(files, &base, member)).collect(),
    })
}

fn read_member(files: &Files, base: &str, name: &str) -> ShownMember {
    let word = |path: &str| files.word(&format!("{base}/dev-{name}/{path}"));
    let states = word("state").unwrap_or_default();
    ShownMember {
        name: name.replace('!', "/"),
        states: states
            .split(',')
            .filter(|state| !state.is_empty())
            .map(str::to_owned)
            .collect(),
        slot: word("slot").and_then(|slot| slot.parse().ok()),
        errors: word("errors").and_then(|errors| errors.parse().ok()),
    }
}
