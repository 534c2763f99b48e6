//! Logical volumes as resources, their links and series.

use std::collections::{BTreeMap, BTreeSet};

use muster_catalogue::{
    MUSTER_LVM_LV_ACTIVE, MUSTER_LVM_LV_CACHE_DIRTY_BLOCKS, MUSTER_LVM_LV_CACHE_USED_RATIO,
    MUSTER_LVM_LV_DATA_USED_RATIO, MUSTER_LVM_LV_METADATA_USED_RATIO, MUSTER_LVM_LV_MISMATCHES,
    MUSTER_LVM_LV_SIZE_BYTES, MUSTER_LVM_LV_SNAPSHOT_USED_RATIO, MUSTER_LVM_LV_SYNC_RATIO, Metric,
};
use muster_model::{Resource, ResourceKey, ResourceKind};
use muster_parse::lvm::LogicalVolume;

use super::verdict::judge;
use super::{Indexed, LAYERS_MAX, volume_key};
use crate::collect::draft::Draft;

/// Puts every volume that people see into the draft.
pub(super) fn describe(draft: &mut Draft, report: &Indexed<'_>, groups: &BTreeMap<String, ResourceKey>) {
    for volume in report.report.lvs.iter().filter(|volume| !volume.is_inner) {
        let key = volume_key(volume);
        if !draft.resource(resource(volume, &key, report)) {
            continue;
        }
        if let Some(group) = groups.get(&volume.vg_name) {
            draft.rests_on(&key, group);
        }
        for below in below(volume, report) {
            if below != key {
                draft.rests_on(&key, &below);
            }
        }
        series(draft, &key, volume);
    }
}

/// What kind of volume it is: `linear`, `striped`, `raid1`, …, `mirror`, `thin_pool`, `thin`, `snapshot`, `cache`,
/// `cache_pool`, `writecache`, `vdo`, `vdo_pool`.
pub(super) fn volume_type(volume: &LogicalVolume) -> String {
    let has = |word: &str| volume.layout.iter().any(|layout| layout == word);
    let segment = volume
        .segments
        .iter()
        .find_map(|segment| segment.kind.as_deref())
        .unwrap_or_default();
    let is_pool = has("pool");
    let letter = volume.letter(1);
    let fixed = match letter {
        Some('t') => Some("thin_pool"),
        Some('d') => Some("vdo_pool"),
        Some('s' | 'S') => Some("snapshot"),
        _ if volume.role.iter().any(|role| role == "thicksnapshot") => Some("snapshot"),
        _ if segment == "thin-pool" || (has("thin") && is_pool) => Some("thin_pool"),
        _ if segment == "vdo-pool" || (has("vdo") && is_pool) => Some("vdo_pool"),
        _ if segment == "cache-pool" || (has("cache") && is_pool) => Some("cache_pool"),
        _ if segment == "thin" || has("thin") => Some("thin"),
        Some('V') => Some("thin"),
        _ if segment == "vdo" || has("vdo") => Some("vdo"),
        _ if segment == "writecache" || has("writecache") => Some("writecache"),
        _ if segment == "cache" || has("cache") => Some("cache"),
        _ if segment == "mirror" || has("mirror") => Some("mirror"),
        _ => None,
    };
    if let Some(fixed) = fixed {
        return fixed.to_owned();
    }
    // `raid5_ls` and `raid6_zr` say how parity goes round; `raid10_near` likewise.
    let raid = volume
        .layout
        .iter()
        .map(String::as_str)
        .chain([segment])
        .find(|word| word.starts_with("raid") && *word != "raid");
    if let Some(raid) = raid {
        return raid.split('_').next().unwrap_or(raid).to_owned();
    }
    match segment {
        "" if has("striped") => "striped".to_owned(),
        "" => "linear".to_owned(),
        "error" | "zero" | "linear" | "striped" => segment.to_owned(),
        other => other.replace('-', "_"),
    }
}

fn resource(volume: &LogicalVolume, key: &ResourceKey, report: &Indexed<'_>) -> Resource {
    let mut resource = Resource::new(ResourceKind::Volume, key.clone(), volume.full_name());
    let text = |field: &str| volume.text(field).map(str::to_owned);
    let kind = volume_type(volume);
    let (health, reasons) = judge(volume, &kind, report);
    // As the block collector has it.
    let path = text("lv_dm_path").or_else(|| text("lv_path"));
    resource
        .set("volume_type", Some(kind))
        .set("volume_manager", Some("lvm"))
        .set("lv_path", text("lv_path"))
        .set("vg_name", Some(volume.vg_name.clone()))
        .set("lv_name", Some(volume.name.clone()))
        .set("lv_uuid", volume.uuid.clone())
        .set("lv_attr", volume.attr.clone())
        .set("lv_health_status", text("lv_health_status"))
        .set("device_path", path)
        .set("size_bytes", volume.bytes("lv_size"))
        .set("metadata_size_bytes", volume.bytes("lv_metadata_size"))
        .set("data_percent", data_percent(volume))
        .set("metadata_percent", volume.percent("metadata_percent"))
        .set("snapshot_percent", snapshot_percent(volume))
        .set("sync_percent", sync_percent(volume))
        .set("sync_action", text("raid_sync_action"))
        .set("mismatch_count", volume.count("raid_mismatch_count"))
        .set("active", is_active(volume))
        .set(
            "open",
            volume.attr.as_ref().map(|_| volume.letter(6) == Some('o')),
        )
        .set("origin", text("origin"))
        .set("pool_lv", text("pool_lv"))
        .set("when_full", text("lv_when_full"))
        .set("cache_mode", cache_mode(volume))
        .set("cache_used_blocks", volume.count("cache_used_blocks"))
        .set("cache_dirty_blocks", volume.count("cache_dirty_blocks"))
        .set("cache_total_blocks", volume.count("cache_total_blocks"))
        .set("writecache_free_blocks", volume.count("writecache_free_blocks"))
        .set("writecache_total_blocks", volume.count("writecache_total_blocks"))
        .set("vdo_saving_percent", volume.percent("vdo_saving_percent"))
        .set("vdo_operating_mode", text("vdo_operating_mode"))
        .set("status_message", reasons.first().cloned());
    resource.health = Some(health);
    resource.health_reasons = reasons;
    resource
}

/// How its cache treats writes, which is told of its pieces.
fn cache_mode(volume: &LogicalVolume) -> Option<String> {
    let of_segment = volume
        .segments
        .iter()
        .find_map(|segment| segment.cache_mode.as_deref());
    of_segment
        .or_else(|| volume.text("cache_mode"))
        .map(str::to_owned)
}

/// How much of a pool, or of what a thin volume shows, is taken. What a snapshot has taken is its own field.
pub(super) fn data_percent(volume: &LogicalVolume) -> Option<f64> {
    volume.percent("data_percent")
}

/// How full the room of an old-style snapshot is.
pub(super) fn snapshot_percent(volume: &LogicalVolume) -> Option<f64> {
    let is_snapshot =
        matches!(volume.letter(1), Some('s' | 'S')) || volume.role.iter().any(|role| role == "thicksnapshot");
    is_snapshot
        .then(|| volume.percent("snap_percent").or_else(|| data_percent(volume)))
        .flatten()
}

/// How much of a mirror or RAID is in step.
pub(super) fn sync_percent(volume: &LogicalVolume) -> Option<f64> {
    volume
        .percent("sync_percent")
        .or_else(|| volume.percent("copy_percent"))
}

/// Whether it is switched on; `None` if that is not known.
pub(super) fn is_active(volume: &LogicalVolume) -> Option<bool> {
    match volume.letter(5) {
        Some('X') => None,
        Some('h') => Some(false),
        Some(_) => Some(true),
        None => volume.attr.as_ref().map(|_| false),
    }
}

/// What the volume lies on: the devices of its pieces, and volumes that people see, through inner ones.
fn below(volume: &LogicalVolume, report: &Indexed<'_>) -> BTreeSet<ResourceKey> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::from([volume.name.clone()]);
    let mut level: Vec<String> = parts(volume);
    for _ in 0..LAYERS_MAX {
        let mut further = Vec::new();
        for name in level {
            if let Some(carrier) = report.carrier(&name) {
                found.insert(carrier.clone());
                continue;
            }
            let Some(part) = report.volume(&volume.vg_name, &name) else {
                continue;
            };
            if !seen.insert(part.name.clone()) {
                continue;
            }
            if part.is_inner {
                further.extend(parts(part));
            } else {
                found.insert(volume_key(part));
            }
        }
        level = further;
    }
    found
}

/// Names of what a volume is made of. A thin snapshot lies on its pool alone: its origin may be deleted.
fn parts(volume: &LogicalVolume) -> Vec<String> {
    let mut names: Vec<String> = volume.devices().into_iter().map(str::to_owned).collect();
    let mut fields = vec!["pool_lv", "data_lv", "metadata_lv", "mirror_log"];
    if volume.text("pool_lv").is_none() {
        fields.push("origin");
    }
    names.extend(
        fields
            .into_iter()
            .filter_map(|field| volume.text(field))
            .map(str::to_owned),
    );
    names
}

fn series(draft: &mut Draft, key: &ResourceKey, volume: &LogicalVolume) {
    let labels = [("vg", volume.vg_name.as_str()), ("lv", volume.name.as_str())];
    // Percentages have two places behind the point.
    let ratio = |percent: Option<f64>| percent.map(|percent| (percent * 100.0).round() / 10_000.0);
    let number = |count: Option<u64>| count.map(|count| count as f64);
    let used = volume
        .count("cache_used_blocks")
        .zip(volume.count("cache_total_blocks").filter(|all| 0 < *all));
    let rows: [(&Metric, Option<f64>); 9] = [
        (
            &MUSTER_LVM_LV_ACTIVE,
            is_active(volume).map(|flag| if flag { 1.0 } else { 0.0 }),
        ),
        (
            &MUSTER_LVM_LV_CACHE_DIRTY_BLOCKS,
            number(volume.count("cache_dirty_blocks")),
        ),
        (
            &MUSTER_LVM_LV_CACHE_USED_RATIO,
            used.map(|(used, all)| used as f64 / all as f64),
        ),
        (
            &MUSTER_LVM_LV_DATA_USED_RATIO,
            ratio(data_percent(volume).filter(|_| snapshot_percent(volume).is_none())),
        ),
        (
            &MUSTER_LVM_LV_METADATA_USED_RATIO,
            ratio(volume.percent("metadata_percent")),
        ),
        (
            &MUSTER_LVM_LV_MISMATCHES,
            number(volume.count("raid_mismatch_count")),
        ),
        (&MUSTER_LVM_LV_SIZE_BYTES, number(volume.bytes("lv_size"))),
        (
            &MUSTER_LVM_LV_SNAPSHOT_USED_RATIO,
            ratio(snapshot_percent(volume)),
        ),
        (&MUSTER_LVM_LV_SYNC_RATIO, ratio(sync_percent(volume))),
    ];
    for (metric, value) in rows {
        if let Some(value) = value {
            draft.sample_of(Some(key), metric, &labels, value);
        }
    }
}
