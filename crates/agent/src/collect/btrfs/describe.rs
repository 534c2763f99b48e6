//! A BTRFS filesystem as a resource, its links and its series.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use muster_catalogue::{
    MUSTER_BTRFS_DEVICE_MISSING, MUSTER_BTRFS_SCRUB_AGE_SECONDS, MUSTER_BTRFS_SCRUB_ERRORS,
    MUSTER_BTRFS_SCRUB_PROGRESS_RATIO, MUSTER_BTRFS_SCRUB_RUNNING, MUSTER_BTRFS_UNALLOCATED_BYTES, Metric,
    NODE_BTRFS_ALLOCATION_RATIO, NODE_BTRFS_COMMIT_SECONDS_TOTAL, NODE_BTRFS_COMMITS_TOTAL,
    NODE_BTRFS_DEVICE_ERRORS_TOTAL, NODE_BTRFS_DEVICE_SIZE_BYTES, NODE_BTRFS_DEVICE_UNUSED_BYTES,
    NODE_BTRFS_GLOBAL_RSV_SIZE_BYTES, NODE_BTRFS_INFO, NODE_BTRFS_LAST_COMMIT_SECONDS,
    NODE_BTRFS_MAX_COMMIT_SECONDS, NODE_BTRFS_RESERVED_BYTES, NODE_BTRFS_SIZE_BYTES, NODE_BTRFS_USED_BYTES,
};
use muster_model::{Attribute, Facts, Health, Resource, ResourceKey, ResourceKind};
use muster_parse::btrfs_scrub::{self, Scrub, ScrubStatus, Status};
use muster_parse::btrfs_stats::{self, DeviceStats};
use muster_parse::btrfs_usage::DeviceUsage;

use super::judge::{Picture, judge, judge_scrub};
use super::sysfs::{Group, Profile, Shown};
use crate::collect::block::Inventory;
use crate::collect::draft::{Draft, bounded_key};

/// What is known beside sysfs.
pub(super) struct Known<'a> {
    pub(super) stats: Option<Vec<DeviceStats>>,
    pub(super) scrub: Option<ScrubStatus>,
    /// How each device is taken; empty if that was not asked or not answered.
    pub(super) usage: Vec<DeviceUsage>,
    /// The zone that `btrfs` tells times in.
    pub(super) zone: &'a TimeZone,
    pub(super) now_ms: i64,
}

fn key(fsid: &str) -> ResourceKey {
    bounded_key(format!("pool:btrfs:{}", fsid.to_ascii_lowercase()))
}

/// Puts a mounted filesystem into the draft.
pub(super) fn describe(draft: &mut Draft, shown: &Shown, known: &Known<'_>, inventory: &Inventory) {
    let key = key(&shown.fsid);
    let picture = picture(shown, known, inventory);
    let name = shown.label.clone().unwrap_or_else(|| shown.fsid.clone());
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), name.clone());
    let (health, reasons) = judge(&picture);
    resource.health = Some(health);
    let said = match reasons.is_empty() {
        true => format!("{} devices, no errors counted", picture.devices),
        false => reasons.join("; "),
    };
    resource.health_reasons = reasons;
    let names: Vec<String> = shown.devices.iter().map(|device| device.name.clone()).collect();
    let missing = i64::try_from(picture.missing).ok();
    resource
        .set("pool_name", Some(name))
        .set("pool_type", Some("btrfs"))
        .set("status_message", Some(said))
        .set("fsid", Some(shown.fsid.clone()))
        .set("label", shown.label.clone())
        .set(
            "raid_level",
            profile(shown, "data").or_else(|| profile(shown, "mixed")),
        )
        .set("metadata_profile", profile(shown, "metadata"))
        .set("device_count", Some(picture.devices))
        .set("missing_device_count", missing)
        .set("members", Some(Attribute::List(names)))
        .set("exclusive_operation", shown.exclusive_operation.clone())
        .set("checksum", shown.checksum.clone());
    set_space(&mut resource, shown, &known.usage);
    set_errors(&mut resource, &picture);
    if let Some(scrub) = known.scrub.as_ref().and_then(|status| status.scrubs.first()) {
        set_scrub(&mut resource, scrub, Some(known.zone));
    }
    if !draft.resource(resource) {
        return;
    }
    for device in &shown.devices {
        if let Some(below) = inventory.key_of(&device.name) {
            draft.rests_on(&key, below);
        }
    }
    samples(draft, shown, &known.usage, &key, inventory);
    error_samples(draft, shown, known, &key, inventory);
    let labels = [("uuid", shown.fsid.as_str())];
    draft.sample_of(
        Some(&key),
        &MUSTER_BTRFS_DEVICE_MISSING,
        &labels,
        picture.missing as f64,
    );
    if let Some(scrub) = &known.scrub {
        scrub_samples(draft, shown, scrub, known, &key);
    }
}

/// A filesystem of which only the devices are there.
pub(super) fn describe_unmounted(draft: &mut Draft, fsid: &str, devices: &[String], inventory: &Inventory) {
    let key = key(fsid);
    let label = devices.iter().find_map(|name| {
        let udev = inventory.node(name).map(|node| &node.udev)?;
        udev.get("ID_FS_LABEL").map(str::to_owned)
    });
    let name = label.unwrap_or_else(|| fsid.to_owned());
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), name.clone());
    resource.health = Some(Health::Unknown);
    resource
        .health_reasons
        .push("not mounted: nothing tells how well it is".to_owned());
    resource
        .set("pool_name", Some(name))
        .set("pool_type", Some("btrfs"))
        .set("fsid", Some(fsid))
        .set("members", Some(Attribute::List(devices.to_vec())));
    if draft.resource(resource) {
        for below in devices.iter().filter_map(|name| inventory.key_of(name)) {
            draft.rests_on(&key, below);
        }
    }
}

/// The profile of most of a type's block groups.
fn profile(shown: &Shown, kind: &str) -> Option<String> {
    let group = shown.groups.iter().find(|group| group.kind == kind)?;
    let largest = group.profiles.iter().max_by_key(|profile| profile.total_bytes)?;
    Some(largest.mode.clone())
}

fn picture(shown: &Shown, known: &Known<'_>, inventory: &Inventory) -> Picture {
    let listed = u64::try_from(shown.devices.len()).unwrap_or(u64::MAX);
    let is_there = |name: &str| inventory.nodes.is_empty() || inventory.key_of(name).is_some();
    let present = shown
        .devices
        .iter()
        .filter(|device| is_there(&device.name))
        .count();
    let present = u64::try_from(present).unwrap_or(u64::MAX);
    let numbered = shown.numbered.as_ref();
    let own = numbered.map(|all| {
        all.iter()
            .filter(|device| !device.is_replace_target && device.devid != 0)
    });
    let expected = own
        .map_or(listed, |own| u64::try_from(own.count()).unwrap_or(u64::MAX))
        .max(listed);
    let said = numbered.map_or(0, |all| all.iter().filter(|device| device.is_missing).count());
    let profiles = shown.groups.iter().flat_map(|group| {
        let used = group.profiles.iter().filter(|profile| 0 < profile.total_bytes);
        used.map(|profile| (group.kind.clone(), profile.mode.clone()))
    });
    Picture {
        missing: u64::try_from(said)
            .unwrap_or(u64::MAX)
            .max(expected.saturating_sub(present)),
        devices: expected,
        profiles: profiles.collect(),
        errors: errors(shown, known),
        scrub: known.scrub.clone(),
    }
}

/// Error counters of each device, from whoever tells the name; the tool first.
fn errors(shown: &Shown, known: &Known<'_>) -> Option<Vec<(String, String, u64)>> {
    let is_whole = |stats: &&Vec<DeviceStats>| {
        !stats.is_empty() && stats.iter().all(|device| device.counters().count() == 5)
    };
    if let Some(stats) = known.stats.as_ref().filter(is_whole) {
        let all = stats.iter().flat_map(|device| {
            let name = device.device.trim_start_matches("/dev/").to_owned();
            device
                .counters()
                .map(move |(error, count)| (name.clone(), error.to_owned(), count))
        });
        return Some(all.collect());
    }
    let mut all = Vec::new();
    let numbered = shown.numbered.as_ref()?;
    for device in numbered {
        let name = match shown.devices.as_slice() {
            [only] if numbered.len() == 1 => only.name.clone(),
            _ => format!("device {}", device.devid),
        };
        for (error, count) in device.errors.as_ref()? {
            all.push((name.clone(), error.clone(), *count));
        }
    }
    Some(all)
}

fn set_space(resource: &mut Resource, shown: &Shown, usage: &[DeviceUsage]) {
    let sum = |of: fn(&Profile) -> u64| {
        let mut each = shown.groups.iter().map(|group| on_disk(shown, group, of));
        each.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?))
    };
    let total = total_bytes(shown);
    let unallocated = unallocated_bytes(shown, usage);
    let allocated = match usage.is_empty() {
        true => sum(|profile| profile.total_bytes),
        false => total
            .zip(unallocated)
            .and_then(|(total, free)| total.checked_sub(free)),
    };
    let data = shown
        .groups
        .iter()
        .find(|group| matches!(group.kind.as_str(), "data" | "mixed"));
    // As `btrfs filesystem usage` estimates: what is free in data's block groups, and what more of them would fit.
    let available = data.and_then(|data| {
        let (used, held) = (data.used_bytes?, data.total_bytes?);
        let on_disk = on_disk(shown, data, |profile| profile.total_bytes)?;
        let ratio = if 0 < held {
            on_disk as f64 / held as f64
        } else {
            1.0
        };
        Some(
            held.saturating_sub(used)
                .saturating_add((unallocated? as f64 / ratio.max(1.0)) as u64),
        )
    });
    resource
        .set("total_size_bytes", total)
        .set("used_size_bytes", sum(|profile| profile.used_bytes))
        .set("available_size_bytes", available)
        .set("allocated_bytes", allocated)
        .set("unallocated_bytes", unallocated);
}

/// What a type of block groups takes on all devices. The kernel's `disk_total` leaves parity out (fs/btrfs/volumes.c,
/// `btrfs_bg_type_to_factor`).
fn on_disk(shown: &Shown, group: &Group, of: fn(&Profile) -> u64) -> Option<u64> {
    let each = group.profiles.iter().map(|profile| {
        let ratio = ratio(&profile.mode, shown.devices.len())?;
        Some((of(profile) as f64 * ratio).round() as u64)
    });
    let mut each = each.peekable();
    each.peek()?;
    each.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?))
}

fn total_bytes(shown: &Shown) -> Option<u64> {
    let mut sizes = shown.devices.iter().map(|device| device.size_bytes);
    let total = sizes.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?));
    total.filter(|total| 0 < *total)
}

/// As `btrfs` says for each device; without it worked out, which is exact unless block groups with parity span fewer
/// devices than there are.
fn unallocated_bytes(shown: &Shown, usage: &[DeviceUsage]) -> Option<u64> {
    if !usage.is_empty() && usage.len() == shown.devices.len() {
        let mut each = usage.iter().map(|device| device.unallocated_bytes);
        return each.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?));
    }
    let each = shown.groups.iter();
    let mut each = each.map(|group| on_disk(shown, group, |profile| profile.total_bytes));
    let allocated = each.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?))?;
    (0 < allocated).then_some(())?;
    total_bytes(shown)?.checked_sub(allocated)
}

fn set_errors(resource: &mut Resource, picture: &Picture) {
    let Some(errors) = &picture.errors else { return };
    for name in ["write", "read", "flush", "corruption", "generation"] {
        let counts = errors.iter().filter(|(_, found, _)| found == name);
        let sum = counts.fold(0_u64, |sum, (_, _, count)| sum.saturating_add(*count));
        resource.set(&format!("{name}_errors"), Some(sum));
    }
}

fn set_scrub(resource: &mut Resource, scrub: &Scrub, zone: Option<&TimeZone>) {
    let started = scrub
        .started
        .as_deref()
        .zip(zone)
        .and_then(|(text, zone)| instant(text, zone));
    let ended = started
        .zip(scrub.duration_s)
        .filter(|_| scrub.status == Status::Finished);
    let ended = ended.and_then(|(started, seconds)| {
        let seconds = i64::try_from(seconds).ok()?;
        started.checked_add(SignedDuration::from_secs(seconds)).ok()
    });
    resource
        .set("scrub_state", status_word(scrub.status))
        .set("scrub_started_at", started.map(|started| started.to_string()))
        .set("scrub_finished_at", ended.map(|ended| ended.to_string()))
        .set("scrub_duration_seconds", scrub.duration_s)
        .set("scrub_bytes_per_second", scrub.rate_bytes_per_s)
        .set("scrub_errors", scrub.errors_told.then_some(scrub.error_count()))
        .set("scrub_corrected_errors", scrub.corrected)
        .set("scrub_uncorrectable_errors", scrub.uncorrectable)
        .set("scrub_percent", progress(scrub).map(|ratio| ratio * 100.0))
        .set("scrub_remaining_seconds", scrub.left_s);
}

const fn status_word(status: Status) -> Option<&'static str> {
    match status {
        Status::Running => Some("running"),
        Status::Finished => Some("finished"),
        Status::Aborted => Some("aborted"),
        Status::Interrupted => Some("interrupted"),
        Status::NoStatistics => Some("none"),
        Status::Unknown => None,
    }
}

/// How far a scrub is that has not ended.
fn progress(scrub: &Scrub) -> Option<f64> {
    let (done, total) = (scrub.done_bytes?, scrub.total_bytes?);
    (scrub.status != Status::Finished && 0 < total).then(|| done as f64 / total as f64)
}

fn samples(
    draft: &mut Draft,
    shown: &Shown,
    usage: &[DeviceUsage],
    key: &ResourceKey,
    inventory: &Inventory,
) {
    let uuid = ("uuid", shown.fsid.as_str());
    let label = ("label", shown.label.as_deref().unwrap_or_default());
    draft.sample_of(Some(key), &NODE_BTRFS_INFO, &[uuid, label], 1.0);
    let mut add = |metric: &Metric, value: Option<f64>| {
        if let Some(value) = value {
            draft.sample_of(Some(key), metric, &[uuid], value);
        }
    };
    add(
        &NODE_BTRFS_GLOBAL_RSV_SIZE_BYTES,
        shown.global_reserve_bytes.map(|bytes| bytes as f64),
    );
    add(
        &MUSTER_BTRFS_UNALLOCATED_BYTES,
        unallocated_bytes(shown, usage).map(|bytes| bytes as f64),
    );
    let seconds =
        |of: fn(&super::sysfs::Commits) -> u64| shown.commits.as_ref().map(|all| of(all) as f64 / 1000.0);
    add(
        &NODE_BTRFS_COMMITS_TOTAL,
        shown.commits.map(|commits| commits.count as f64),
    );
    add(
        &NODE_BTRFS_LAST_COMMIT_SECONDS,
        seconds(|commits| commits.last_ms),
    );
    add(&NODE_BTRFS_MAX_COMMIT_SECONDS, seconds(|commits| commits.max_ms));
    add(
        &NODE_BTRFS_COMMIT_SECONDS_TOTAL,
        seconds(|commits| commits.total_ms),
    );
    for group in &shown.groups {
        let kind = ("block_group_type", group.kind.as_str());
        if let Some(bytes) = group.reserved_bytes {
            draft.sample_of(Some(key), &NODE_BTRFS_RESERVED_BYTES, &[uuid, kind], bytes as f64);
        }
        for profile in &group.profiles {
            let labels = [uuid, kind, ("mode", profile.mode.as_str())];
            draft.sample_of(
                Some(key),
                &NODE_BTRFS_USED_BYTES,
                &labels,
                profile.used_bytes as f64,
            );
            draft.sample_of(
                Some(key),
                &NODE_BTRFS_SIZE_BYTES,
                &labels,
                profile.total_bytes as f64,
            );
            if let Some(ratio) = ratio(&profile.mode, shown.devices.len()) {
                draft.sample_of(Some(key), &NODE_BTRFS_ALLOCATION_RATIO, &labels, ratio);
            }
        }
    }
    for device in &shown.devices {
        let labels = device_labels(&shown.fsid, &device.name, inventory);
        if let Some(bytes) = device.size_bytes {
            draft.sample_of(Some(key), &NODE_BTRFS_DEVICE_SIZE_BYTES, &labels, bytes as f64);
        }
        let alone = (shown.devices.len() == 1)
            .then(|| unallocated_bytes(shown, usage))
            .flatten();
        if let Some(bytes) = unused(usage, &device.name, inventory).or(alone) {
            draft.sample_of(Some(key), &NODE_BTRFS_DEVICE_UNUSED_BYTES, &labels, bytes as f64);
        }
    }
}

/// What no block group has of a device, as `btrfs` tells it by path.
fn unused(usage: &[DeviceUsage], name: &str, inventory: &Inventory) -> Option<u64> {
    let is_it = |device: &&DeviceUsage| {
        let path = device.device.as_str();
        inventory
            .name_of_path(path)
            .unwrap_or_else(|| path.trim_start_matches("/dev/"))
            == name
    };
    usage.iter().find(is_it)?.unallocated_bytes
}

/// `uuid`, `device` and, where udev read it, the device's own id.
fn device_labels<'a>(fsid: &'a str, name: &'a str, inventory: &'a Inventory) -> Vec<(&'static str, &'a str)> {
    let mut labels = vec![("uuid", fsid), ("device", name)];
    let id = inventory
        .content(name)
        .and_then(|udev| udev.get("ID_FS_UUID_SUB"));
    labels.extend(id.map(|id| ("btrfs_dev_uuid", id)));
    labels
}

/// Bytes on disk for each byte of data.
fn ratio(mode: &str, devices: usize) -> Option<f64> {
    let devices = devices as f64;
    match mode {
        "single" | "raid0" => Some(1.0),
        "dup" | "raid1" | "raid10" => Some(2.0),
        "raid1c3" => Some(3.0),
        "raid1c4" => Some(4.0),
        "raid5" if 1.0 < devices => Some(devices / (devices - 1.0)),
        "raid6" if 2.0 < devices => Some(devices / (devices - 2.0)),
        _ => None,
    }
}

/// Only where it is told which device counts what.
fn error_samples(
    draft: &mut Draft,
    shown: &Shown,
    known: &Known<'_>,
    key: &ResourceKey,
    inventory: &Inventory,
) {
    let Some(all) = errors(shown, known) else { return };
    for (device, error, count) in &all {
        let mut labels = device_labels(&shown.fsid, device, inventory);
        labels.push(("type", error));
        draft.sample_of(Some(key), &NODE_BTRFS_DEVICE_ERRORS_TOTAL, &labels, *count as f64);
    }
}

fn scrub_samples(
    draft: &mut Draft,
    shown: &Shown,
    status: &ScrubStatus,
    known: &Known<'_>,
    key: &ResourceKey,
) {
    let uuid = ("uuid", shown.fsid.as_str());
    let is_running = status.scrubs.iter().any(|scrub| scrub.status == Status::Running);
    let running = if is_running { 1.0 } else { 0.0 };
    draft.sample_of(Some(key), &MUSTER_BTRFS_SCRUB_RUNNING, &[uuid], running);
    let Some(scrub) = status.scrubs.first() else {
        return;
    };
    if let Some(ratio) = progress(scrub).filter(|_| is_running) {
        draft.sample_of(Some(key), &MUSTER_BTRFS_SCRUB_PROGRESS_RATIO, &[uuid], ratio);
    }
    let age = scrub
        .started
        .as_deref()
        .and_then(|text| age_seconds(text, known.zone, known.now_ms));
    if let Some(age) = age {
        draft.sample_of(Some(key), &MUSTER_BTRFS_SCRUB_AGE_SECONDS, &[uuid], age);
    }
    if scrub.errors_told && scrub.status != Status::NoStatistics {
        let of = |count: Option<u64>| count.or((scrub.error_count() == 0).then_some(0));
        let kinds = [
            ("corrected", of(scrub.corrected)),
            ("uncorrectable", of(scrub.uncorrectable)),
            ("unverified", of(scrub.unverified)),
        ];
        for (kind, count) in kinds {
            if let Some(count) = count {
                draft.sample_of(
                    Some(key),
                    &MUSTER_BTRFS_SCRUB_ERRORS,
                    &[uuid, ("type", kind)],
                    count as f64,
                );
            }
        }
    }
}

/// How long ago a local time was, in seconds; `None` if it is no time, or lies ahead.
fn age_seconds(text: &str, zone: &TimeZone, now_ms: i64) -> Option<f64> {
    let age = now_ms.checked_sub(instant(text, zone)?.as_millisecond())?;
    (0 <= age).then_some(age as f64 / 1000.0)
}

/// The moment of a local time as ctime(3) writes it.
fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let civil = DateTime::strptime("%a %b %d %H:%M:%S %Y", text).ok()?;
    Some(civil.to_zoned(zone.clone()).ok()?.timestamp())
}

/// Facts of a recorded `btrfs device stats`, which does not name its filesystem.
pub(crate) fn describe_recorded_stats(text: &str, name: &str) -> Facts {
    let mut draft = Draft::new("btrfs-device-stats");
    let parsed = btrfs_stats::parse(text);
    let is_clean = parsed.problems.is_empty();
    draft.parser_problems("btrfs device stats", parsed.problems);
    let missing = parsed
        .value
        .iter()
        .filter(|stats| stats.device.contains("missing") || stats.device.starts_with("devid"));
    let picture = Picture {
        missing: u64::try_from(missing.count()).unwrap_or(u64::MAX),
        devices: u64::try_from(parsed.value.len()).unwrap_or(u64::MAX),
        // The layout is not told: one that says nothing against it stands in.
        profiles: vec![("data".to_owned(), "unknown".to_owned())],
        errors: is_clean.then(|| {
            let all = parsed.value.iter().flat_map(|stats| {
                let each = stats.counters();
                each.map(|(error, count)| (stats.device.clone(), error.to_owned(), count))
            });
            all.collect()
        }),
        scrub: None,
    };
    let key = bounded_key(format!("pool:btrfs:name/{name}"));
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), name);
    let (health, reasons) = judge(&picture);
    resource.health = Some(health);
    resource.health_reasons = reasons;
    let members = parsed.value.iter().map(|stats| stats.device.clone()).collect();
    resource
        .set("pool_name", Some(name))
        .set("pool_type", Some("btrfs"))
        .set("device_count", Some(picture.devices))
        .set("missing_device_count", Some(picture.missing))
        .set("members", Some(Attribute::List(members)));
    set_errors(&mut resource, &picture);
    draft.resource(resource);
    for stats in &parsed.value {
        for (error, count) in stats.counters() {
            let device = stats.device.trim_start_matches("/dev/");
            let labels = [("device", device), ("type", error)];
            draft.sample_of(Some(&key), &NODE_BTRFS_DEVICE_ERRORS_TOTAL, &labels, count as f64);
        }
    }
    draft.finish()
}

/// Facts of a recorded `btrfs scrub status`.
pub(crate) fn describe_recorded_scrub(text: &str, name: &str) -> Facts {
    let mut draft = Draft::new("btrfs-scrub");
    let parsed = btrfs_scrub::parse(text);
    let is_clean = parsed.problems.is_empty();
    draft.parser_problems("btrfs scrub status", parsed.problems);
    let status = parsed.value;
    let id = status.uuid.clone();
    let key = id
        .as_deref()
        .map_or_else(|| bounded_key(format!("pool:btrfs:name/{name}")), key);
    let shown_name = id.clone().unwrap_or_else(|| name.to_owned());
    let mut resource = Resource::new(ResourceKind::Pool, key, shown_name.clone());
    let (health, reason) = judge_scrub(&status);
    resource.health = Some(health);
    resource.health_reasons.extend(reason);
    if !is_clean {
        resource.health = resource.health.max(Some(Health::Unknown));
        resource
            .health_reasons
            .push("not everything was understood: see the problems".to_owned());
    }
    resource
        .set("pool_name", Some(shown_name))
        .set("pool_type", Some("btrfs"))
        .set("fsid", id);
    if let Some(scrub) = status.scrubs.first() {
        set_scrub(&mut resource, scrub, None);
    }
    draft.resource(resource);
    draft.finish()
}
