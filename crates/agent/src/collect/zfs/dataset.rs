//! Datasets and volumes as resources and their series.

use std::collections::{BTreeMap, BTreeSet};

use muster_catalogue::{
    Metric, ZFS_DATASET_AVAILABLE_BYTES, ZFS_DATASET_COMPRESSION_RATIO, ZFS_DATASET_CREATION_TIMESTAMP,
    ZFS_DATASET_LOGICAL_REFERENCED_BYTES, ZFS_DATASET_LOGICAL_USED_BYTES, ZFS_DATASET_QUOTA_BYTES,
    ZFS_DATASET_REFERENCED_BYTES, ZFS_DATASET_REFERENCED_COMPRESSION_RATIO,
    ZFS_DATASET_REFERENCED_QUOTA_BYTES, ZFS_DATASET_REFERENCED_RESERVATION_BYTES,
    ZFS_DATASET_RESERVATION_BYTES, ZFS_DATASET_SNAPSHOT_COUNT_TOTAL, ZFS_DATASET_USED_BY_CHILDREN_BYTES,
    ZFS_DATASET_USED_BY_DATASET_BYTES, ZFS_DATASET_USED_BY_REFERENCED_RESERVATION_BYTES,
    ZFS_DATASET_USED_BY_SNAPSHOT_BYTES, ZFS_DATASET_USED_BYTES, ZFS_DATASET_VOLUME_SIZE_BYTES,
    ZFS_DATASET_WRITTEN_BYTES,
};
use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use muster_parse::zfs_list::{Dataset, List};

use crate::collect::block::Inventory;
use crate::collect::draft::{Draft, bounded_key};

/// Most datasets and volumes told of, and most that have series.
const DATASETS_MAX: usize = 1_000;
/// Datasets beyond this have no series: containers make one each.
const WITH_SERIES_MAX: usize = 250;

/// What is known of pools when their datasets are told of.
pub(super) struct Pools<'a> {
    /// Keys and health by name.
    pub(super) known: &'a BTreeMap<String, (ResourceKey, Health)>,
    /// Where datasets are mounted: places by name.
    pub(super) mounts: &'a BTreeMap<String, Vec<String>>,
    /// Pools whose datasets are only remembered.
    pub(super) stale: &'a BTreeSet<String>,
}

/// The key of a dataset: its id, else that of the pool and its name.
fn key(dataset: &Dataset, pool: Option<&ResourceKey>) -> ResourceKey {
    if let Some(guid) = dataset.number("guid") {
        return bounded_key(format!("volume:zfs:{guid}"));
    }
    let pool = pool.map_or("name", |key| {
        key.as_str().strip_prefix("pool:zfs:").unwrap_or(key.as_str())
    });
    bounded_key(format!("volume:zfs:{pool}/{}", dataset.name))
}

/// Puts all of them into the draft, with what rests on them.
pub(super) fn describe(draft: &mut Draft, list: &List, pools: &Pools<'_>, inventory: &Inventory) {
    let total = list.datasets.len();
    if WITH_SERIES_MAX < total {
        draft.problem(format!(
            "there are {total} datasets: {DATASETS_MAX} at most are told of, {WITH_SERIES_MAX} of them with series"
        ));
    }
    let mut datasets: Vec<&Dataset> = list.datasets.iter().collect();
    // Those near the top hold the others.
    datasets.sort_by_key(|dataset| dataset.name.matches('/').count());
    for (place, dataset) in datasets.into_iter().take(DATASETS_MAX).enumerate() {
        let pool = pools.known.get(dataset.pool());
        let key = key(dataset, pool.map(|(key, _)| key));
        let count = list.snapshots.get(&dataset.name).copied().unwrap_or(0);
        let health = pool.map(|(_, health)| *health);
        let is_stale = pools.stale.contains(dataset.pool());
        if !draft.resource(resource(dataset, &key, count, health, is_stale)) {
            continue;
        }
        if let Some((pool, _)) = pool {
            draft.rests_on(&key, pool);
        }
        for place in pools.mounts.get(&dataset.name).into_iter().flatten() {
            // The key that the filesystem collector gives to what has no device.
            let filesystem = bounded_key(format!("filesystem:{}:{place}", dataset.name));
            draft.rests_on(&filesystem, &key);
        }
        if is_volume(dataset) {
            // The device that the volume is seen by.
            let path = format!("/dev/zvol/{}", dataset.name);
            if let Some(device) = inventory.key_of_path(&path) {
                draft.rests_on(device, &key);
            }
        }
        if place < WITH_SERIES_MAX && !is_stale {
            series(draft, &key, dataset, count);
        }
    }
}

fn is_volume(dataset: &Dataset) -> bool {
    dataset.kind.as_deref() == Some("volume") || dataset.number("volsize").is_some()
}

fn kind(dataset: &Dataset) -> &'static str {
    if is_volume(dataset) {
        "volume"
    } else {
        "filesystem"
    }
}

fn resource(
    dataset: &Dataset,
    key: &ResourceKey,
    snapshots: u64,
    pool: Option<Health>,
    is_stale: bool,
) -> Resource {
    let mut resource = Resource::new(ResourceKind::Volume, key.clone(), dataset.name.clone());
    let text = |property: &str| dataset.text(property).map(str::to_owned);
    let volume_type = if is_volume(dataset) { "zvol" } else { "dataset" };
    resource
        .set("volume_type", Some(volume_type))
        .set("pool_name", Some(dataset.pool().to_owned()))
        .set("size_bytes", dataset.number("volsize"))
        .set("used_bytes", dataset.number("used"))
        .set("available_bytes", dataset.number("available"))
        .set("referenced_bytes", dataset.number("referenced"))
        .set("logical_used_bytes", dataset.number("logicalused"))
        .set("used_by_snapshots_bytes", dataset.number("usedbysnapshots"))
        .set("used_by_children_bytes", dataset.number("usedbychildren"))
        .set("quota_bytes", limit(dataset, "quota"))
        .set("referenced_quota_bytes", limit(dataset, "refquota"))
        .set("reservation_bytes", limit(dataset, "reservation"))
        .set("referenced_reservation_bytes", limit(dataset, "refreservation"))
        .set("compression", text("compression"))
        .set("compression_ratio", dataset.ratio("compressratio"))
        .set("deduplication", text("dedup"))
        .set("record_size_bytes", dataset.number("recordsize"))
        .set("mountpoint", text("mountpoint"))
        .set("mounted", dataset.text("mounted").map(|word| word == "yes"))
        .set("encryption", text("encryption"))
        .set("origin", text("origin"))
        .set("read_only", dataset.text("readonly").map(|word| word == "on"))
        .set("snapshot_count", Some(snapshots))
        .set("created_at", created(dataset));
    let (health, reason) = judge(dataset, pool);
    resource.health = Some(health);
    resource.health_reasons.push(reason);
    if is_stale {
        resource.health = Some(health.max(Health::Unknown));
        let text = "zfs does not list it: what is shown is what was known before";
        resource.health_reasons.push(text.to_owned());
    }
    resource
}

/// A dataset is as well as its pool, unless its own quota is used up.
fn judge(dataset: &Dataset, pool: Option<Health>) -> (Health, String) {
    let is_full = dataset.number("available") == Some(0) && dataset.text("readonly") != Some("on");
    let limited = limit(dataset, "quota")
        .or_else(|| limit(dataset, "refquota"))
        .is_some();
    match pool {
        _ if is_full && limited => (
            Health::Warning,
            "no space left below its quota: delete what is not needed, snapshots too, or raise the quota"
                .to_owned(),
        ),
        _ if is_full && !is_volume(dataset) => (
            Health::Warning,
            "no space left in its pool: delete what is not needed, snapshots too, or add disks".to_owned(),
        ),
        None | Some(Health::Unknown) => (Health::Unknown, "how well its pool is, is not known".to_owned()),
        Some(Health::Healthy) => (Health::Healthy, "its pool is well".to_owned()),
        Some(health @ (Health::Warning | Health::Critical | Health::Failed)) => {
            let own = if health == Health::Failed {
                Health::Failed
            } else {
                Health::Healthy
            };
            (own, format!("its pool is {health}: see there"))
        }
    }
}

/// A limit that is set; 0 is none.
fn limit(dataset: &Dataset, property: &str) -> Option<u64> {
    dataset.number(property).filter(|bytes| 0 < *bytes)
}

fn created(dataset: &Dataset) -> Option<String> {
    let seconds = i64::try_from(dataset.number("creation")?).ok()?;
    jiff::Timestamp::from_second(seconds)
        .ok()
        .map(|time| time.to_string())
}

/// As `zfs_exporter` has them: what is not set is 0, ratios are turned round.
fn series(draft: &mut Draft, key: &ResourceKey, dataset: &Dataset, snapshots: u64) {
    let bytes: [(&Metric, &str); 16] = [
        (&ZFS_DATASET_AVAILABLE_BYTES, "available"),
        (&ZFS_DATASET_CREATION_TIMESTAMP, "creation"),
        (&ZFS_DATASET_LOGICAL_REFERENCED_BYTES, "logicalreferenced"),
        (&ZFS_DATASET_LOGICAL_USED_BYTES, "logicalused"),
        (&ZFS_DATASET_QUOTA_BYTES, "quota"),
        (&ZFS_DATASET_REFERENCED_BYTES, "referenced"),
        (&ZFS_DATASET_REFERENCED_QUOTA_BYTES, "refquota"),
        (&ZFS_DATASET_REFERENCED_RESERVATION_BYTES, "refreservation"),
        (&ZFS_DATASET_RESERVATION_BYTES, "reservation"),
        (&ZFS_DATASET_USED_BY_CHILDREN_BYTES, "usedbychildren"),
        (&ZFS_DATASET_USED_BY_DATASET_BYTES, "usedbydataset"),
        (
            &ZFS_DATASET_USED_BY_REFERENCED_RESERVATION_BYTES,
            "usedbyrefreservation",
        ),
        (&ZFS_DATASET_USED_BY_SNAPSHOT_BYTES, "usedbysnapshots"),
        (&ZFS_DATASET_USED_BYTES, "used"),
        (&ZFS_DATASET_VOLUME_SIZE_BYTES, "volsize"),
        (&ZFS_DATASET_WRITTEN_BYTES, "written"),
    ];
    let labels = [
        ("name", dataset.name.as_str()),
        ("pool", dataset.pool()),
        ("type", kind(dataset)),
    ];
    for (metric, property) in bytes {
        if let Some(number) = dataset.number(property) {
            draft.sample_of(Some(key), metric, &labels, number as f64);
        }
    }
    for (metric, property) in [
        (&ZFS_DATASET_COMPRESSION_RATIO, "compressratio"),
        (&ZFS_DATASET_REFERENCED_COMPRESSION_RATIO, "refcompressratio"),
    ] {
        if let Some(ratio) = dataset.ratio(property) {
            draft.sample_of(Some(key), metric, &labels, 1.0 / ratio);
        }
    }
    draft.sample_of(
        Some(key),
        &ZFS_DATASET_SNAPSHOT_COUNT_TOTAL,
        &labels,
        snapshots as f64,
    );
}
