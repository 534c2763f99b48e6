//! A pool as a resource and its series.

use jiff::tz::TimeZone;
use muster_catalogue::{
    MUSTER_ZFS_POOL_DATA_ERRORS, MUSTER_ZFS_POOL_SCAN_BYTES_PER_SECOND, MUSTER_ZFS_POOL_SCAN_END_SECONDS,
    MUSTER_ZFS_POOL_SCAN_ERRORS, MUSTER_ZFS_POOL_SCAN_PROCESSED_BYTES, MUSTER_ZFS_POOL_SCAN_PROGRESS_RATIO,
    MUSTER_ZFS_POOL_SCAN_REMAINING_SECONDS, MUSTER_ZFS_POOL_SCAN_STATE, MUSTER_ZFS_VDEV_CHECKSUM_ERRORS,
    MUSTER_ZFS_VDEV_HEALTH, MUSTER_ZFS_VDEV_READ_ERRORS, MUSTER_ZFS_VDEV_SLOW_IOS,
    MUSTER_ZFS_VDEV_WRITE_ERRORS, Metric, ZFS_POOL_ALLOCATED_BYTES, ZFS_POOL_DEDUPLICATION_RATIO,
    ZFS_POOL_FRAGMENTATION_RATIO, ZFS_POOL_FREE_BYTES, ZFS_POOL_FREEING_BYTES, ZFS_POOL_HEALTH,
    ZFS_POOL_LEAKED_BYTES, ZFS_POOL_READONLY, ZFS_POOL_SIZE_BYTES,
};
use muster_model::{Attribute, Health, Resource, ResourceKey, ResourceKind, limits};
use muster_parse::zpool::list::Listed;
use muster_parse::zpool::{Class, Pool, Scan, ScanKind, ScanState, State, Vdev};

use super::time::{shown, unix_s};
use super::verdict::{Verdict, judge, judge_scrub};
use crate::collect::block::Inventory;
use crate::collect::draft::{Draft, bounded_key};

/// Below this a rate says nothing of when a scan ends: zpool itself does not dare to say then.
const ESTIMATE_BYTES_PER_SECOND_MIN: u64 = 10 * 1024 * 1024;

/// What is known beside the pool's own words.
#[derive(Debug, Default)]
pub(super) struct Around<'a> {
    /// Its line of `zpool list`.
    pub(super) listed: Option<&'a Listed>,
    /// Unix seconds; absent for a recording, which has no time of its own.
    pub(super) now_s: Option<i64>,
    /// The server's time zone.
    pub(super) zone: Option<&'a TimeZone>,
    /// When the pool was made, Unix seconds.
    pub(super) created_s: Option<i64>,
    /// How much its data was compressed.
    pub(super) compression_ratio: Option<f64>,
    /// The setting.
    pub(super) compression: Option<&'a str>,
    /// How old the last scrub may be.
    pub(super) scrub_limit_s: Option<u64>,
    /// Its state as the kernel says.
    pub(super) kernel_state: Option<State>,
    /// The block devices, to say which of them each vdev is.
    pub(super) inventory: Option<&'a Inventory>,
}

/// The device that a vdev is. What is gone for good is none any more.
pub(super) fn carrier<'i>(vdev: &Vdev, inventory: &'i Inventory) -> Option<&'i ResourceKey> {
    // A device that is missing may still be there by its old name: then it is another one's by now.
    if vdev.note.as_deref().is_some_and(|note| note.starts_with("was ")) {
        return None;
    }
    let path = vdev.path.as_deref().unwrap_or(&vdev.name);
    inventory
        .key_of_path(path)
        .or_else(|| inventory.key_of_path(&vdev.name))
}

/// The key of a pool, by its id, else by its name.
pub(super) fn key(guid: Option<u64>, name: &str) -> ResourceKey {
    match guid {
        Some(guid) => bounded_key(format!("pool:zfs:{guid}")),
        None => bounded_key(format!("pool:zfs:name/{name}")),
    }
}

/// Puts the pool into the draft; the resource, unless there is no room for it.
pub(super) fn describe(draft: &mut Draft, pool: &Pool, around: &Around<'_>) -> Option<Resource> {
    let guid = pool.guid.or(around.listed.and_then(|listed| listed.guid));
    let key = key(guid, &pool.name);
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), pool.name.clone());
    let verdict = verdict(pool, around);
    resource.health = Some(verdict.health);
    resource.health_reasons = verdict.reasons;
    resource
        .set("pool_name", Some(pool.name.clone()))
        .set("pool_type", Some("zfs"))
        .set("pool_guid", guid.map(|guid| guid.to_string()))
        .set("state", pool.state_word.clone())
        .set("status_message", pool.status.clone())
        .set("action_message", pool.action.clone())
        .set("see", pool.see.clone())
        .set("raid_level", raid_level(pool))
        .set("compression", around.compression)
        .set("compression_ratio", around.compression_ratio)
        .set("removal", pool.removal.clone())
        .set("checkpoint", pool.checkpoint.clone())
        .set("expansion", pool.expansion.clone());
    sizes(&mut resource, around.listed);
    members(&mut resource, pool, around);
    if let Some(scan) = latest(pool) {
        scan_fields(&mut resource, scan, around);
    }
    if !draft.resource(resource.clone()) {
        return None;
    }
    let name = [("pool", pool.name.as_str())];
    if let Some(listed) = around.listed {
        list_series(draft, &key, listed);
    }
    if let Some(state) = worse(pool.state, around.kernel_state).and_then(code) {
        draft.sample_of(Some(&key), &ZFS_POOL_HEALTH, &name, state);
    }
    if let Some(count) = pool.errors.count {
        draft.sample_of(Some(&key), &MUSTER_ZFS_POOL_DATA_ERRORS, &name, count as f64);
    }
    for vdev in &pool.vdevs {
        vdev_series(draft, &key, &pool.name, vdev);
    }
    if let Some(scan) = latest(pool) {
        scan_series(draft, &key, &pool.name, scan, around);
    }
    Some(resource)
}

/// Puts a pool into the draft of which only its line of the list is known.
pub(super) fn describe_listed(draft: &mut Draft, listed: &Listed) {
    let key = key(listed.guid, &listed.name);
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), listed.name.clone());
    resource
        .set("pool_name", Some(listed.name.clone()))
        .set("pool_type", Some("zfs"))
        .set("pool_guid", listed.guid.map(|guid| guid.to_string()))
        .set("state", listed.state_word.clone());
    sizes(&mut resource, Some(listed));
    // What the list calls healthy may still count errors.
    let (health, reason) = match listed.state {
        None => (Health::Unknown, "its state is unknown".to_owned()),
        Some(State::Online) => (
            Health::Unknown,
            "ONLINE; whether errors are counted, only zpool status says".to_owned(),
        ),
        Some(state) => (
            super::health_of(state),
            format!("{}: see zpool status", state.word()),
        ),
    };
    resource.health = Some(health);
    resource.health_reasons.push(reason);
    if draft.resource(resource) {
        list_series(draft, &key, listed);
        if let Some(code) = listed.state.and_then(code) {
            draft.sample_of(Some(&key), &ZFS_POOL_HEALTH, &[("pool", &listed.name)], code);
        }
    }
}

fn verdict(pool: &Pool, around: &Around<'_>) -> Verdict {
    let mut verdict = judge(pool);
    // The kernel's word needs no tool, and a tool's may be a moment old.
    if let Some(state) = around.kernel_state.filter(|state| pool.state < Some(*state)) {
        verdict.add(
            super::health_of(state),
            format!("{}, as the kernel says", state.word()),
        );
    }
    let listed = around.listed.and_then(|listed| listed.state);
    if let Some(state) = listed.filter(|state| pool.state < Some(*state)) {
        verdict.add(
            super::health_of(state),
            format!("{}, as zpool list says", state.word()),
        );
    }
    if pool.state == Some(State::Online) || pool.state == Some(State::Degraded) {
        let ended = latest(pool).map(|scan| scan.ended.as_ref());
        let is_running = latest(pool).is_some_and(Scan::is_under_way);
        let began = match ended {
            Some(time) => time.and_then(|time| unix_s(time, around.zone)),
            None => around.created_s,
        };
        let age = around.now_s.zip(began).map(|(now, then)| now - then);
        if !is_running {
            judge_scrub(&mut verdict, age, around.scrub_limit_s, ended.is_some());
        }
    }
    verdict
}

fn worse(one: Option<State>, other: Option<State>) -> Option<State> {
    one.max(other)
}

/// The numbers of `zfs_exporter`.
fn code(state: State) -> Option<f64> {
    Some(match state {
        State::Online => 0.0,
        State::Degraded => 1.0,
        State::Faulted => 2.0,
        State::Offline => 3.0,
        State::Unavail => 4.0,
        State::Removed => 5.0,
        State::Suspended => 6.0,
        State::Avail | State::Inuse => return None,
    })
}

/// What the pool is made of: `mirror`, `raidz1`, …, `stripe` of single devices, `mixed`.
fn raid_level(pool: &Pool) -> Option<String> {
    let mut levels: Vec<String> = Vec::new();
    for top in pool.tops() {
        let vdev = &pool.vdevs[top];
        let level = match vdev.group_kind() {
            _ if vdev.class != Class::Data => continue,
            Some("indirect" | "hole" | "missing") => continue,
            Some("raidz") => "raidz1".to_owned(),
            // A single device that is being replaced, or stood in for, is no mirror.
            Some("replacing" | "spare") | None => "stripe".to_owned(),
            Some(kind) => kind.to_owned(),
        };
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    match &levels[..] {
        [] => None,
        [only] => Some(only.clone()),
        _ => Some("mixed".to_owned()),
    }
}

fn sizes(resource: &mut Resource, listed: Option<&Listed>) {
    let Some(listed) = listed else { return };
    resource
        .set("total_size_bytes", listed.size_bytes)
        .set("used_size_bytes", listed.allocated_bytes)
        .set("available_size_bytes", listed.free_bytes)
        .set("capacity_percent", listed.capacity_percent)
        .set("fragmentation_percent", listed.fragmentation_percent)
        .set("dedup_ratio", listed.dedup_ratio)
        .set("freeing_bytes", listed.freeing_bytes)
        .set("leaked_bytes", listed.leaked_bytes)
        .set("expandable_bytes", listed.expand_bytes)
        .set("checkpoint_bytes", listed.checkpoint_bytes)
        .set("read_only", listed.is_read_only);
}

fn members(resource: &mut Resource, pool: &Pool, around: &Around<'_>) {
    let count = |is_it: fn(Class) -> bool| {
        let found = pool.leaves().filter(|vdev| is_it(vdev.class)).count();
        u64::try_from(found).ok()
    };
    let sum = |of: fn(&Vdev) -> Option<u64>| {
        let counts: Vec<u64> = pool.leaves().filter_map(of).collect();
        (!counts.is_empty()).then(|| counts.into_iter().fold(0, u64::saturating_add))
    };
    let is_known = !pool.vdevs.is_empty();
    let device_count = count(|class| !matches!(class, Class::Cache | Class::Spare));
    resource
        .set("device_count", device_count.filter(|_| is_known))
        .set(
            "spare_count",
            count(|class| class == Class::Spare).filter(|_| is_known),
        )
        .set(
            "cache_count",
            count(|class| class == Class::Cache).filter(|_| is_known),
        )
        .set("read_errors", sum(|vdev| vdev.read_errors))
        .set("write_errors", sum(|vdev| vdev.write_errors))
        .set("checksum_errors", sum(|vdev| vdev.checksum_errors))
        .set("data_error_count", pool.errors.count)
        .set(
            "damaged_files",
            Some(Attribute::List(pool.errors.files.clone())).filter(|_| !pool.errors.files.is_empty()),
        )
        .set("vdevs", tree(pool, around.inventory));
}

/// The tree as JSON, a list in which `parent` is the place of the one above; shorter than what an attribute may hold.
fn tree(pool: &Pool, inventory: Option<&Inventory>) -> Option<String> {
    if pool.vdevs.is_empty() {
        return None;
    }
    let mut count = pool.vdevs.len();
    loop {
        let rows: Vec<serde_json::Value> = pool.vdevs[..count]
            .iter()
            .map(|vdev| {
                let resource = inventory
                    .filter(|_| vdev.is_leaf())
                    .and_then(|inventory| carrier(vdev, inventory));
                serde_json::json!({
                    "name": vdev.name,
                    "class": vdev.class.as_str(),
                    "type": vdev.group_kind().unwrap_or("device"),
                    "parent": vdev.parent,
                    "state": vdev.state_word,
                    "read_errors": vdev.read_errors,
                    "write_errors": vdev.write_errors,
                    "checksum_errors": vdev.checksum_errors,
                    "slow_ios": vdev.slow_ios,
                    "note": vdev.note,
                    "path": vdev.path,
                    "resource": resource,
                })
            })
            .collect();
        let text = serde_json::Value::Array(rows).to_string();
        if text.len() <= limits::ATTRIBUTE_BYTES_MAX {
            return Some(text);
        }
        count /= 2;
    }
}

/// What runs, else what is first told of.
fn latest(pool: &Pool) -> Option<&Scan> {
    let running = pool.scans.iter().find(|scan| scan.is_under_way());
    running.or_else(|| pool.scans.iter().find(|scan| scan.kind != ScanKind::ErrorScrub))
}

fn scan_fields(resource: &mut Resource, scan: &Scan, around: &Around<'_>) {
    let at = |time: &Option<_>| time.as_ref().and_then(|time| shown(time, around.zone));
    let age = around
        .now_s
        .zip(scan.ended.as_ref().and_then(|time| unix_s(time, around.zone)));
    resource
        .set("scan_type", Some(scan.kind.as_str()))
        .set("scan_state", Some(scan.state.as_str()))
        .set("scan_vdev", scan.vdev.clone())
        .set("scan_started_at", at(&scan.started))
        .set("scan_finished_at", at(&scan.ended))
        .set("scan_paused_at", at(&scan.paused))
        .set("scan_duration_seconds", scan.duration_s)
        .set("scan_age_seconds", age.map(|(now, then)| (now - then).max(0)))
        .set("scan_percent", scan.percent)
        .set("scan_bytes_per_second", speed(scan, around.now_s))
        .set("scan_remaining_seconds", remaining(scan, around.now_s))
        .set("scan_processed_bytes", scan.processed_bytes)
        .set("scan_issued_bytes", scan.issued_bytes)
        .set("scan_total_bytes", scan.total_bytes)
        .set("scan_errors", scan.errors);
}

/// Bytes a second: as zpool says, or worked out as zpool does it.
fn speed(scan: &Scan, now_s: Option<i64>) -> Option<u64> {
    if scan.state != ScanState::InProgress {
        return None;
    }
    scan.bytes_per_second.or_else(|| {
        let pass = scan.pass?;
        let since = u64::try_from(now_s?).ok()?.checked_sub(pass.started_s)?;
        Some(pass.issued_bytes / since.saturating_sub(pass.paused_s).max(1))
    })
}

fn remaining(scan: &Scan, now_s: Option<i64>) -> Option<u64> {
    if scan.state != ScanState::InProgress {
        return None;
    }
    scan.remaining_s.or_else(|| {
        scan.pass?;
        let rate = speed(scan, now_s).filter(|rate| ESTIMATE_BYTES_PER_SECOND_MIN <= *rate)?;
        Some(scan.total_bytes?.saturating_sub(scan.issued_bytes?) / rate)
    })
}

fn list_series(draft: &mut Draft, key: &ResourceKey, listed: &Listed) {
    let bytes = |number: Option<u64>| number.map(|number| number as f64);
    // zfs_exporter turns the ratio round: 1.50x, a third saved, is 0.667.
    let dedup = listed
        .dedup_ratio
        .filter(|ratio| 0.0 < *ratio)
        .map(|ratio| 1.0 / ratio);
    let rows: [(&Metric, Option<f64>); 8] = [
        (&ZFS_POOL_ALLOCATED_BYTES, bytes(listed.allocated_bytes)),
        (&ZFS_POOL_DEDUPLICATION_RATIO, dedup),
        (
            &ZFS_POOL_FRAGMENTATION_RATIO,
            listed.fragmentation_percent.map(|percent| percent / 100.0),
        ),
        (&ZFS_POOL_FREE_BYTES, bytes(listed.free_bytes)),
        (&ZFS_POOL_FREEING_BYTES, bytes(listed.freeing_bytes)),
        (&ZFS_POOL_LEAKED_BYTES, bytes(listed.leaked_bytes)),
        (
            &ZFS_POOL_READONLY,
            listed.is_read_only.map(|flag| if flag { 1.0 } else { 0.0 }),
        ),
        (&ZFS_POOL_SIZE_BYTES, bytes(listed.size_bytes)),
    ];
    for (metric, value) in rows {
        if let Some(value) = value {
            draft.sample_of(Some(key), metric, &[("pool", &listed.name)], value);
        }
    }
}

fn vdev_series(draft: &mut Draft, key: &ResourceKey, pool: &str, vdev: &Vdev) {
    let labels = [
        ("pool", pool),
        ("vdev", vdev.name.as_str()),
        ("class", vdev.class.as_str()),
    ];
    let number = |count: Option<u64>| count.map(|count| count as f64);
    let rows: [(&Metric, Option<f64>); 5] = [
        (&MUSTER_ZFS_VDEV_CHECKSUM_ERRORS, number(vdev.checksum_errors)),
        (
            &MUSTER_ZFS_VDEV_HEALTH,
            vdev.state.and_then(|state| code(state).or(Some(0.0))),
        ),
        (&MUSTER_ZFS_VDEV_READ_ERRORS, number(vdev.read_errors)),
        (&MUSTER_ZFS_VDEV_SLOW_IOS, number(vdev.slow_ios)),
        (&MUSTER_ZFS_VDEV_WRITE_ERRORS, number(vdev.write_errors)),
    ];
    for (metric, value) in rows {
        if let Some(value) = value {
            draft.sample_of(Some(key), metric, &labels, value);
        }
    }
}

fn scan_series(draft: &mut Draft, key: &ResourceKey, pool: &str, scan: &Scan, around: &Around<'_>) {
    let labels = [("pool", pool), ("type", scan.kind.as_str())];
    for state in [
        ScanState::InProgress,
        ScanState::Paused,
        ScanState::Finished,
        ScanState::Canceled,
    ] {
        let labels = [labels[0], labels[1], ("state", state.as_str())];
        let value = if scan.state == state { 1.0 } else { 0.0 };
        draft.sample_of(Some(key), &MUSTER_ZFS_POOL_SCAN_STATE, &labels, value);
    }
    let number = |count: Option<u64>| count.map(|count| count as f64);
    let ended = scan.ended.as_ref().and_then(|time| unix_s(time, around.zone));
    let rows: [(&Metric, Option<f64>); 6] = [
        (
            &MUSTER_ZFS_POOL_SCAN_BYTES_PER_SECOND,
            number(speed(scan, around.now_s)),
        ),
        (
            &MUSTER_ZFS_POOL_SCAN_END_SECONDS,
            ended.map(|seconds| seconds as f64),
        ),
        (&MUSTER_ZFS_POOL_SCAN_ERRORS, number(scan.errors)),
        (
            &MUSTER_ZFS_POOL_SCAN_PROCESSED_BYTES,
            number(scan.processed_bytes),
        ),
        (
            &MUSTER_ZFS_POOL_SCAN_PROGRESS_RATIO,
            scan.percent.map(|percent| percent / 100.0),
        ),
        (
            &MUSTER_ZFS_POOL_SCAN_REMAINING_SECONDS,
            number(remaining(scan, around.now_s)),
        ),
    ];
    for (metric, value) in rows {
        if let Some(value) = value {
            draft.sample_of(Some(key), metric, &labels, value);
        }
    }
}
