//! The kernel's own counters of ZFS, from /proc/spl/kstat/zfs: no program, no rights.
//!
//! `module/os/linux/spl/spl-kstat.c`: a line of numbers about the file, a heading, then `name type data` a line; types 3
//! and 4 are whole numbers, 7 is text. Names are those of `node_exporter`.

use std::collections::BTreeMap;

use muster_catalogue::{
    Metric, NODE_ZFS, NODE_ZFS_ZPOOL_DATASET_NREAD, NODE_ZFS_ZPOOL_DATASET_NUNLINKED,
    NODE_ZFS_ZPOOL_DATASET_NUNLINKS, NODE_ZFS_ZPOOL_DATASET_NWRITTEN, NODE_ZFS_ZPOOL_DATASET_READS,
    NODE_ZFS_ZPOOL_DATASET_WRITES, NODE_ZFS_ZPOOL_NREAD, NODE_ZFS_ZPOOL_NWRITTEN, NODE_ZFS_ZPOOL_RCNT,
    NODE_ZFS_ZPOOL_READS, NODE_ZFS_ZPOOL_RLENTIME, NODE_ZFS_ZPOOL_RTIME, NODE_ZFS_ZPOOL_RUPDATE,
    NODE_ZFS_ZPOOL_STATE, NODE_ZFS_ZPOOL_WCNT, NODE_ZFS_ZPOOL_WLENTIME, NODE_ZFS_ZPOOL_WRITES,
    NODE_ZFS_ZPOOL_WTIME, NODE_ZFS_ZPOOL_WUPDATE,
};
use muster_parse::kstat;
use muster_parse::zpool::State;

use super::{KSTAT, POOLS_MAX};
use crate::collect::Descriptor;
use crate::collect::reading::{FileCollector, Reading, every_15s};
use crate::host::{Files, HostError};

/// The collector of the kernel's counters.
pub const DESCRIPTOR: Descriptor = every_15s(
    "zfs_kstat",
    "counters of ZFS's cache, log and datasets, and the state of pools, from /proc/spl/kstat/zfs",
    |_| Box::new(COUNTERS),
);

const COUNTERS: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "ZFS is not loaded: there is no /proc/spl/kstat/zfs",
    read,
};

/// Datasets of all pools that have counters told of.
const DATASETS_MAX: usize = 500;

/// Files and what their numbers are called.
const FILES: [(&str, &str); 11] = [
    ("abdstats", "abd"),
    ("arcstats", "arc"),
    ("dbufstats", "dbuf"),
    ("dmu_tx", "dmu_tx"),
    ("dnodestats", "dnode"),
    ("fm", "fm"),
    ("vdev_cache_stats", "vdev_cache"),
    ("vdev_mirror_stats", "vdev_mirror"),
    ("xuio_stats", "xuio"),
    ("zfetchstats", "zfetch"),
    ("zil", "zil"),
];

/// States that a pool can have, in the words of `node_exporter`.
const STATES: [&str; 7] = [
    "online",
    "degraded",
    "faulted",
    "offline",
    "removed",
    "unavail",
    "suspended",
];

const IO: [(&str, &Metric); 12] = [
    ("nread", &NODE_ZFS_ZPOOL_NREAD),
    ("nwritten", &NODE_ZFS_ZPOOL_NWRITTEN),
    ("rcnt", &NODE_ZFS_ZPOOL_RCNT),
    ("reads", &NODE_ZFS_ZPOOL_READS),
    ("rlentime", &NODE_ZFS_ZPOOL_RLENTIME),
    ("rtime", &NODE_ZFS_ZPOOL_RTIME),
    ("rupdate", &NODE_ZFS_ZPOOL_RUPDATE),
    ("wcnt", &NODE_ZFS_ZPOOL_WCNT),
    ("wlentime", &NODE_ZFS_ZPOOL_WLENTIME),
    ("writes", &NODE_ZFS_ZPOOL_WRITES),
    ("wtime", &NODE_ZFS_ZPOOL_WTIME),
    ("wupdate", &NODE_ZFS_ZPOOL_WUPDATE),
];

const DATASET: [(&str, &Metric); 6] = [
    ("nread", &NODE_ZFS_ZPOOL_DATASET_NREAD),
    ("nunlinked", &NODE_ZFS_ZPOOL_DATASET_NUNLINKED),
    ("nunlinks", &NODE_ZFS_ZPOOL_DATASET_NUNLINKS),
    ("nwritten", &NODE_ZFS_ZPOOL_DATASET_NWRITTEN),
    ("reads", &NODE_ZFS_ZPOOL_DATASET_READS),
    ("writes", &NODE_ZFS_ZPOOL_DATASET_WRITES),
];

/// The pools that are imported, each with its state as the kernel says; `None` if ZFS is not loaded. Releases up to 0.7
/// show no state.
pub(super) fn states(files: &Files) -> Result<Option<BTreeMap<String, Option<State>>>, HostError> {
    let Some(names) = files.list(KSTAT)? else {
        return Ok(None);
    };
    let pools = pools(files, names).into_iter().take(POOLS_MAX).map(|name| {
        let state = files.word(&format!("{KSTAT}/{name}/state"));
        let state = state.and_then(|word| State::from_word(&word));
        (name, state)
    });
    Ok(Some(pools.collect()))
}

/// The folders; one that begins with a dollar sign is being imported.
fn pools(files: &Files, names: Vec<String>) -> Vec<String> {
    names
        .into_iter()
        .filter(|name| !name.starts_with('$') && !files.names(&format!("{KSTAT}/{name}")).is_empty())
        .collect()
}

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let Some(names) = reading.files.list(KSTAT)? else {
        return Ok(());
    };
    for (file, name) in FILES {
        let path = format!("{KSTAT}/{file}");
        let Some(text) = reading.side_text(&path) else {
            continue;
        };
        let parsed = kstat::parse(&text);
        for (field, value) in &parsed.value.numbers {
            reading.sample_in(&NODE_ZFS, &format!("{name}_{}", clean(field)), *value);
        }
        reading.draft.parser_problems(&path, parsed.problems);
    }
    let found = pools(reading.files, names);
    let mut datasets = 0;
    for pool in reading.first(KSTAT, found, POOLS_MAX) {
        read_pool(reading, &pool, &mut datasets);
    }
    if DATASETS_MAX < datasets {
        reading.draft.problem(format!(
            "there are {datasets} datasets: counters of only {DATASETS_MAX} are told"
        ));
    }
    Ok(())
}

fn read_pool(reading: &mut Reading<'_>, pool: &str, datasets: &mut usize) {
    let folder = format!("{KSTAT}/{pool}");
    if let Some(word) = reading.files.word(&format!("{folder}/state")) {
        let state = word.to_ascii_lowercase();
        if STATES.contains(&state.as_str()) {
            for name in STATES {
                let value = if name == state { 1.0 } else { 0.0 };
                reading.sample(&NODE_ZFS_ZPOOL_STATE, &[("zpool", pool), ("state", name)], value);
            }
        } else {
            reading
                .draft
                .problem(format!("{folder}/state: unknown state {word:.60?}"));
        }
    }
    // Gone since 2.1; its numbers stand in one line below their names.
    if let Some(text) = reading.side_text(&format!("{folder}/io")) {
        let numbers = kstat::parse_io(&text);
        for (field, metric) in IO {
            if let Some(value) = numbers.get(field) {
                reading.sample(metric, &[("zpool", pool)], *value);
            }
        }
    }
    for name in reading.files.names(&folder) {
        if !name.starts_with("objset-") {
            continue;
        }
        *datasets += 1;
        if DATASETS_MAX < *datasets {
            continue;
        }
        let path = format!("{folder}/{name}");
        let Some(text) = reading.side_text(&path) else {
            continue;
        };
        let parsed = kstat::parse(&text);
        let Some(dataset) = parsed.value.texts.get("dataset_name") else {
            reading.draft.problem(format!("{path}: names no dataset"));
            continue;
        };
        for (field, metric) in DATASET {
            if let Some(value) = parsed.value.numbers.get(field) {
                let labels = [("zpool", pool), ("dataset", dataset.as_str())];
                reading.sample(metric, &labels, *value);
            }
        }
    }
}

/// Metric names have letters, digits and underscores.
fn clean(field: &str) -> String {
    field
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
