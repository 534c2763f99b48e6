//! Volume groups as pools.

use std::collections::BTreeMap;

use muster_catalogue::{
    MUSTER_LVM_PV_FREE_BYTES, MUSTER_LVM_PV_MISSING, MUSTER_LVM_PV_SIZE_BYTES, MUSTER_LVM_VG_FREE_BYTES,
    MUSTER_LVM_VG_MISSING_PVS, MUSTER_LVM_VG_SIZE_BYTES,
};
use muster_model::{Health, Resource, ResourceKey, ResourceKind, limits};
use muster_parse::lvm::{PhysicalVolume, VolumeGroup};

use super::Indexed;
use crate::collect::draft::{Draft, bounded_key};

/// Puts every group into the draft; their keys by name.
pub(super) fn describe(draft: &mut Draft, report: &Indexed<'_>) -> BTreeMap<String, ResourceKey> {
    let mut keys = BTreeMap::new();
    for group in &report.report.vgs {
        let key = match &group.uuid {
            Some(uuid) => bounded_key(format!("pool:lvm:{uuid}")),
            None => bounded_key(format!("pool:lvm:name/{}", group.name)),
        };
        let members: Vec<&PhysicalVolume> = report
            .report
            .pvs
            .iter()
            .filter(|pv| pv.vg_name.as_deref() == Some(&group.name))
            .collect();
        if !draft.resource(resource(group, &key, &members, report)) {
            continue;
        }
        for pv in &members {
            if let Some(carrier) = report.carrier(&pv.name) {
                draft.rests_on(&key, carrier);
            }
        }
        series(draft, &key, group, &members);
        keys.insert(group.name.clone(), key);
    }
    keys
}

fn resource(
    group: &VolumeGroup,
    key: &ResourceKey,
    members: &[&PhysicalVolume],
    report: &Indexed<'_>,
) -> Resource {
    let mut resource = Resource::new(ResourceKind::Pool, key.clone(), group.name.clone());
    let used = group.size_bytes.zip(group.free_bytes);
    let missing = missing(group, members);
    let visible = report
        .report
        .lvs
        .iter()
        .filter(|volume| volume.vg_name == group.name && !volume.is_inner)
        .count();
    resource
        .set("pool_name", Some(group.name.clone()))
        .set("pool_type", Some("lvm"))
        .set("vg_uuid", group.uuid.clone())
        .set("vg_attr", group.attr.clone())
        .set("total_size_bytes", group.size_bytes)
        .set(
            "used_size_bytes",
            used.map(|(size, free)| size.saturating_sub(free)),
        )
        .set("available_size_bytes", group.free_bytes)
        .set("extent_size_bytes", group.extent_bytes)
        .set(
            "device_count",
            group.pv_count.or(u64::try_from(members.len()).ok()),
        )
        .set("missing_device_count", Some(missing))
        .set("volume_count", group.lv_count.or(u64::try_from(visible).ok()))
        .set("snapshot_count", group.snapshot_count)
        .set("exported", Some(group.is_exported))
        .set("physical_volumes", listed(members));
    let (health, reasons) = judge(group, members, missing);
    resource.set("status_message", reasons.first().cloned());
    resource.health = Some(health);
    resource.health_reasons = reasons;
    resource
}

fn missing(group: &VolumeGroup, members: &[&PhysicalVolume]) -> u64 {
    let seen = members.iter().filter(|pv| pv.is_missing).count();
    let seen = u64::try_from(seen).unwrap_or(u64::MAX);
    group.missing_pv_count.unwrap_or(0).max(seen)
}

fn judge(group: &VolumeGroup, members: &[&PhysicalVolume], missing: u64) -> (Health, Vec<String>) {
    let mut reasons = Vec::new();
    let mut health = Health::Healthy;
    if 0 < missing || group.is_partial {
        let all = group
            .pv_count
            .map_or(String::new(), |count| format!(" of {count}"));
        let uuids: Vec<&str> = members
            .iter()
            .filter(|pv| pv.is_missing)
            .filter_map(|pv| pv.uuid.as_deref())
            .take(8)
            .collect();
        health = Health::Critical;
        reasons.push(format!(
            "{missing}{all} physical volumes are missing ({}): bring the disk back, or repair the volumes and run vgreduce --removemissing",
            uuids.join(", ")
        ));
    }
    let doubles: Vec<&str> = members
        .iter()
        .filter(|pv| pv.is_duplicate)
        .map(|pv| pv.name.as_str())
        .take(8)
        .collect();
    if !doubles.is_empty() {
        health = health.max(Health::Warning);
        reasons.push(format!(
            "several devices say that they are the same physical volume ({}): check multipath, or take the copy away",
            doubles.join(", ")
        ));
    }
    if group.is_exported {
        health = health.max(Health::Unknown);
        reasons.push("exported: not in use on this server".to_owned());
    }
    let is_known = group.attr.is_some() || group.missing_pv_count.is_some() || !members.is_empty();
    if !is_known {
        health = health.max(Health::Unknown);
        reasons.push("whether all of its physical volumes are there is not known".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("all physical volumes are there".to_owned());
    }
    (health, reasons)
}

/// The physical volumes as JSON; none if that is longer than an attribute may be.
fn listed(members: &[&PhysicalVolume]) -> Option<String> {
    let rows = members
        .iter()
        .map(|pv| {
            serde_json::json!({
                "name": pv.name,
                "uuid": pv.uuid,
                "size_bytes": pv.size_bytes,
                "free_bytes": pv.free_bytes,
                "attr": pv.attr,
                "missing": pv.is_missing,
            })
        })
        .collect();
    let text = serde_json::Value::Array(rows).to_string();
    (!members.is_empty() && text.len() <= limits::ATTRIBUTE_BYTES_MAX).then_some(text)
}

fn series(draft: &mut Draft, key: &ResourceKey, group: &VolumeGroup, members: &[&PhysicalVolume]) {
    let vg = [("vg", group.name.as_str())];
    for (metric, value) in [
        (&MUSTER_LVM_VG_FREE_BYTES, group.free_bytes),
        (&MUSTER_LVM_VG_MISSING_PVS, Some(missing(group, members))),
        (&MUSTER_LVM_VG_SIZE_BYTES, group.size_bytes),
    ] {
        if let Some(value) = value {
            draft.sample_of(Some(key), metric, &vg, value as f64);
        }
    }
    for pv in members {
        // Missing ones share a name that says nothing.
        let name = match &pv.uuid {
            Some(uuid) if pv.is_missing => uuid.as_str(),
            _ => pv.name.as_str(),
        };
        let labels = [vg[0], ("pv", name)];
        for (metric, value) in [
            (&MUSTER_LVM_PV_FREE_BYTES, pv.free_bytes),
            (&MUSTER_LVM_PV_MISSING, Some(u64::from(pv.is_missing))),
            (&MUSTER_LVM_PV_SIZE_BYTES, pv.size_bytes),
        ] {
            if let Some(value) = value {
                draft.sample_of(Some(key), metric, &labels, value as f64);
            }
        }
    }
}
