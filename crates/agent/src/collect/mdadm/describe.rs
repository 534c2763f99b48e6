//! An array as a resource, its links and its series.

use muster_catalogue::{
    MUSTER_MD_BITMAP_PAGES, MUSTER_MD_MEMBER_READ_ERRORS, MUSTER_MD_MISMATCH_SECTORS,
    MUSTER_MD_SPARE_MEMBERS, MUSTER_MD_SYNC_ACTION, MUSTER_MD_SYNC_PROGRESS_RATIO,
    MUSTER_MD_SYNC_REMAINING_SECONDS, MUSTER_MD_SYNC_SPEED_BYTES_PER_SECOND, NODE_MD_BLOCKS,
    NODE_MD_BLOCKS_SYNCED, NODE_MD_DEGRADED, NODE_MD_DISKS, NODE_MD_DISKS_REQUIRED, NODE_MD_RAID_DISKS,
    NODE_MD_STATE,
};
use muster_model::{Attribute, Facts, Resource, ResourceKey, ResourceKind};
use muster_parse::mdadm_detail;
use muster_parse::mdstat::{self, Action, Activity, Array, Progress};

use super::judge::{judge, names};
use super::picture::{self, Member, Picture, Role};
use crate::collect::block::{Inventory, array_key};
use crate::collect::draft::Draft;

/// Bytes of a KiB.
const KIB: u64 = 1024;

/// Facts of a recorded `/proc/mdstat`.
pub(crate) fn describe_recorded(text: &str) -> Facts {
    let mut draft = Draft::new("mdstat");
    let parsed = mdstat::parse(text);
    draft.parser_problems("mdstat", parsed.problems);
    let mut pictures = picture::of_mdstat(&parsed.value);
    picture::add_neighbours(&mut pictures);
    for array in &pictures {
        describe(&mut draft, array, &Inventory::default());
    }
    draft.finish()
}

/// Facts of a recorded `mdadm --detail`; `fallback` names an array that the text does not.
pub(crate) fn describe_recorded_detail(text: &str, fallback: &str) -> Facts {
    let mut draft = Draft::new("mdadm-detail");
    let parsed = mdadm_detail::parse(text);
    draft.parser_problems("mdadm --detail", parsed.problems);
    for detail in &parsed.value {
        describe(
            &mut draft,
            &Picture::of_detail(detail, fallback),
            &Inventory::default(),
        );
    }
    draft.finish()
}

/// Puts an array into the draft.
pub(crate) fn describe(draft: &mut Draft, array: &Picture, inventory: &Inventory) {
    let kernel_name = array.name.replace('/', "!");
    let known = inventory.key_of(&kernel_name).cloned();
    let key = known
        .filter(|_| array.uuid.is_none())
        .unwrap_or_else(|| array_key(array.uuid.as_deref(), &array.name));
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), array.name.clone());
    let (health, reasons) = judge(array);
    resource.health = Some(health);
    let said = if reasons.is_empty() {
        summary(array)
    } else {
        reasons.join("; ")
    };
    resource.health_reasons = reasons;
    resource.set("status_message", Some(said));
    set_shape(&mut resource, array);
    set_members(&mut resource, array);
    set_sync(&mut resource, array);
    if !draft.resource(resource) {
        return;
    }
    for below in inventory.below(&kernel_name) {
        draft.rests_on(&key, below);
    }
    for member in &array.members {
        if let Some(below) = inventory.key_of(&member.name.replace('/', "!")) {
            draft.rests_on(&key, below);
        }
    }
    if let Some(stat) = &array.mdstat {
        stock_samples(draft, stat, array, &key);
    }
    own_samples(draft, array, &key);
}

/// What a healthy array rests its health on.
fn summary(array: &Picture) -> String {
    let level = array.level.as_deref().unwrap_or("array");
    match &array.up {
        Some(up) => {
            let working = up.iter().filter(|up| **up).count();
            format!("active {level}, {working} of {} members up", up.len())
        }
        None => format!("active {level}, {} members", names(array, Role::Active).len()),
    }
}

fn set_shape(resource: &mut Resource, array: &Picture) {
    let activity = match array.activity {
        Activity::Active => Some("active"),
        Activity::Inactive => Some("inactive"),
        Activity::Broken => Some("broken"),
        Activity::Unknown => None,
    };
    let level = if array.is_container {
        Some("container".to_owned())
    } else {
        array.level.clone()
    };
    resource
        .set("pool_name", Some(array.name.clone()))
        .set("pool_type", Some("mdadm"))
        .set("uuid", array.uuid.clone())
        .set("array_name", array.given_name.clone())
        .set("device_name", Some(array.name.clone()))
        .set("device_path", Some(format!("/dev/{}", array.name)))
        .set("raid_level", level)
        .set("array_state", activity)
        .set("metadata_version", array.metadata.clone())
        .set(
            "total_size_bytes",
            array.size_kib.map(|kib| kib.saturating_mul(KIB)),
        )
        .set("chunk_size_bytes", array.chunk_bytes)
        .set("consistency_policy", array.consistency_policy.clone())
        .set("container", array.container.clone())
        .set("has_bitmap", array.bitmap_pages.map(|_| true));
}

fn set_members(resource: &mut Resource, array: &Picture) {
    let count = |role: Role| u64::try_from(names(array, role).len()).ok();
    let list = |role: Role| Some(names(array, role)).filter(|names| !names.is_empty());
    let places = array.up.as_ref().map(Vec::len).or(match array.level.as_deref() {
        Some("raid0" | "linear") => Some(array.members.len()),
        _ => None,
    });
    let working = array.up.as_ref().map(|up| up.iter().filter(|up| **up).count());
    let number = |count: Option<usize>| count.and_then(|count| u64::try_from(count).ok());
    resource
        .set("device_count", number(places.or(Some(array.members.len()))))
        .set("working_device_count", number(working))
        .set(
            "missing_device_count",
            number(places.zip(working).map(|(all, up)| all - up.min(all))),
        )
        .set("failed_device_count", count(Role::Faulty))
        .set("spare_device_count", count(Role::Spare))
        .set("failed_devices", list(Role::Faulty).map(Attribute::List))
        .set("spare_devices", list(Role::Spare).map(Attribute::List))
        .set(
            "members",
            Some(Attribute::List(array.members.iter().map(member_text).collect())),
        );
}

/// `sdc1 active slot 0`.
fn member_text(member: &Member) -> String {
    let mut text = format!("{} {}", member.name, member.role.as_str());
    if let Some(slot) = member.slot {
        text.push_str(&format!(" slot {slot}"));
    }
    if let Some(errors) = member.errors.filter(|errors| 0 < *errors) {
        text.push_str(&format!(" read errors {errors}"));
    }
    if member.is_gone {
        text.push_str(" gone");
    }
    text
}

fn set_sync(resource: &mut Resource, array: &Picture) {
    let Some(sync) = &array.sync else {
        if array.activity == Activity::Active && array.says_state && !array.is_container {
            resource.set("sync_action", Some("idle"));
        }
        resource.set("mismatch_count", array.mismatch_count);
        return;
    };
    let action = told_action(array, sync.action);
    resource
        .set("sync_action", Some(action))
        .set("sync_state", Some(state_word(sync.progress)))
        .set("mismatch_count", array.mismatch_count);
    if let Progress::Running {
        percent,
        finish_min,
        speed_kib_per_s,
        ..
    } = sync.progress
    {
        resource
            .set("sync_percent", Some(percent))
            .set("sync_remaining_seconds", finish_min.map(|minutes| minutes * 60.0))
            .set(
                "sync_speed_bytes_per_second",
                speed_kib_per_s.map(|kib| kib.saturating_mul(KIB)),
            );
    }
}

/// The kernel's word in `sync_action`.
const fn action_word(action: Action) -> &'static str {
    match action {
        Action::Recovery => "recover",
        Action::Resync => "resync",
        Action::Reshape => "reshape",
        Action::Check => "check",
        Action::Repair => "repair",
    }
}

/// What waits as `resync=DELAYED` may be anything.
const fn told_action(array: &Picture, action: Action) -> &'static str {
    if array.knows_action {
        action_word(action)
    } else {
        "unknown"
    }
}

const fn state_word(progress: Progress) -> &'static str {
    match progress {
        Progress::Running { .. } => "running",
        Progress::Delayed => "delayed",
        Progress::Pending => "pending",
        Progress::Remote => "remote",
    }
}

/// As `node_exporter` counts, which of RAID 0 and linear takes every member for active, and of an inactive array none.
fn stock_samples(draft: &mut Draft, stat: &Array, array: &Picture, key: &ResourceKey) {
    let device = ("device", stat.name.as_str());
    let count =
        |of: fn(&mdstat::Member) -> bool| stat.members.iter().filter(|member| of(member)).count() as f64;
    let (active, required) = match stat.level.as_deref() {
        Some("raid0" | "linear") => (stat.members.len() as f64, stat.members.len() as f64),
        _ => (
            stat.working.unwrap_or(0) as f64,
            stat.required.unwrap_or(0) as f64,
        ),
    };
    let disks = [
        ("active", active),
        ("failed", count(|member| member.is_faulty)),
        ("spare", count(|member| member.is_spare)),
    ];
    for (state, value) in disks {
        draft.sample_of(Some(key), &NODE_MD_DISKS, &[device, ("state", state)], value);
    }
    draft.sample_of(Some(key), &NODE_MD_DISKS_REQUIRED, &[device], required);
    let now = stock_state(stat);
    for state in ["active", "inactive", "recovering", "resync", "check"] {
        let value = if now == Some(state) { 1.0 } else { 0.0 };
        draft.sample_of(Some(key), &NODE_MD_STATE, &[device, ("state", state)], value);
    }
    if let Some(blocks) = stat.size_kib {
        draft.sample_of(Some(key), &NODE_MD_BLOCKS, &[device], blocks as f64);
        let synced = match stat.sync.as_ref().map(|sync| sync.progress) {
            None => Some(blocks),
            Some(Progress::Running { done_kib, .. }) => done_kib,
            Some(_) => Some(0),
        };
        if let Some(synced) = synced {
            draft.sample_of(Some(key), &NODE_MD_BLOCKS_SYNCED, &[device], synced as f64);
        }
    }
    if let Some(disks) = array.raid_disks {
        draft.sample_of(Some(key), &NODE_MD_RAID_DISKS, &[device], disks as f64);
        let degraded = array.degraded.unwrap_or(0) as f64;
        draft.sample_of(Some(key), &NODE_MD_DEGRADED, &[device], degraded);
    }
}

/// A reshape has no label of its own: the array stays active.
fn stock_state(stat: &Array) -> Option<&'static str> {
    match stat.sync.as_ref().map(|sync| sync.action) {
        Some(Action::Recovery) => return Some("recovering"),
        Some(Action::Resync | Action::Repair) => return Some("resync"),
        Some(Action::Check) => return Some("check"),
        Some(Action::Reshape) | None => {}
    }
    match stat.activity {
        Activity::Active => Some("active"),
        Activity::Inactive => Some("inactive"),
        Activity::Broken | Activity::Unknown => None,
    }
}

fn own_samples(draft: &mut Draft, array: &Picture, key: &ResourceKey) {
    let device = ("device", array.name.as_str());
    let mut add = |metric, value: f64| draft.sample_of(Some(key), metric, &[device], value);
    add(&MUSTER_MD_SPARE_MEMBERS, names(array, Role::Spare).len() as f64);
    if let Some(count) = array.mismatch_count {
        add(&MUSTER_MD_MISMATCH_SECTORS, count as f64);
    }
    if let Some((pages, _)) = array.bitmap_pages {
        add(&MUSTER_MD_BITMAP_PAGES, pages as f64);
    }
    if let Some(Progress::Running {
        percent,
        done_kib,
        total_kib,
        finish_min,
        speed_kib_per_s,
    }) = array.sync.as_ref().map(|sync| sync.progress)
    {
        let exact = done_kib.zip(total_kib).filter(|(_, total)| 0 < *total);
        let ratio = exact.map_or(percent / 100.0, |(done, total)| done as f64 / total as f64);
        add(&MUSTER_MD_SYNC_PROGRESS_RATIO, ratio);
        if let Some(minutes) = finish_min {
            add(&MUSTER_MD_SYNC_REMAINING_SECONDS, minutes * 60.0);
        }
        if let Some(speed) = speed_kib_per_s {
            add(
                &MUSTER_MD_SYNC_SPEED_BYTES_PER_SECOND,
                speed.saturating_mul(KIB) as f64,
            );
        }
    }
    if let Some(sync) = &array.sync {
        let action = told_action(array, sync.action);
        let labels = [device, ("action", action), ("state", state_word(sync.progress))];
        draft.sample_of(Some(key), &MUSTER_MD_SYNC_ACTION, &labels, 1.0);
    }
    for member in &array.members {
        if let Some(errors) = member.errors {
            let labels = [device, ("member", member.name.as_str())];
            draft.sample_of(Some(key), &MUSTER_MD_MEMBER_READ_ERRORS, &labels, errors as f64);
        }
    }
}
