//! The end of what was said under a former name while nobody could see it change.
//!
//! A running agent ends series itself. One that was off does not know what it said before: if a disk has another kernel
//! name by then, its rows under the old one would stand beside the new ones, or beside those of the disk that has the name
//! now, until they are too old; for SMART that is more than an hour. So whatever an epoch says of names ends what earlier
//! ones said to the contrary, just before its first word.
//!
//! Reads samples, and writes none. Must not end what still holds: a drive that sleeps is not read, and its rows
//! stay while it has its name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, is_stale};
use muster_samples::{Filter, Reader, Select, SeriesMeta, SeriesRef};

/// What the kernel, and not the thing, decides.
const NAME_LABEL: &str = "device";

/// How far back a series is looked for that has not ended: more than what agents bring late by and by. What an agent
/// brings of an earlier epoch after this one began comes before the end, and shows no more either.
const LOOK_BACK_MS: i64 = 26 * 3_600_000;
/// Most samples of a resource that are read for it; what is beyond ends as what nobody speaks of any more does.
const SAMPLES_MAX: usize = 1_000_000;

/// Series that end, by the time of their last word, Unix ms.
pub(super) type Ended = BTreeMap<i64, Vec<SeriesRef>>;

/// Whether a new series of this name and these labels may contradict an older one.
pub(super) fn may_contradict(name: &str, labels: &Labels) -> bool {
    labels.get(NAME_LABEL).is_some() || is_description(name)
}

/// What an epoch, whose series are `current`, ends of a server's earlier series. `first_ms` and `last_ms` are the times of
/// its earliest and its latest sample in the record that says so.
pub(super) fn ended(
    reader: &Reader,
    server: ServerId,
    current: &HashSet<SeriesRef>,
    (first_ms, last_ms): (i64, i64),
) -> Ended {
    let servers = [server];
    let everything = Filter {
        servers: Some(&servers),
        ..Filter::new(&[])
    };
    let (metas, _) = reader.series(&everything);
    let metas: Vec<&SeriesMeta> = metas.iter().map(|meta| &**meta).collect();
    let contradicted = contradicted(&metas, current);
    let mut ended = Ended::new();
    if contradicted.is_empty() {
        return ended;
    }
    let ids: HashSet<SeriesRef> = contradicted.iter().map(|meta| meta.id).collect();
    let resources: BTreeSet<ResourceId> = contradicted.iter().map(|meta| meta.resource).collect();
    for resource in resources {
        let select = Select {
            filter: Filter {
                resources: Some(&[resource]),
                ..everything
            },
            start_ms: first_ms.saturating_sub(LOOK_BACK_MS),
            end_ms: last_ms,
            samples_max: SAMPLES_MAX,
        };
        let known = reader.select(&select).series;
        for series in known.iter().filter(|series| ids.contains(&series.meta.id)) {
            let (Some(time_ms), Some(value)) = (series.times_ms.last(), series.values.last()) else {
                continue;
            };
            if !is_stale(*value) {
                // Before the new word, so that one that is there after all goes on with it.
                let at_ms = (first_ms - 1).max(time_ms + 1);
                ended.entry(at_ms).or_default().push(series.meta.id);
            }
        }
    }
    ended
}

/// Series of earlier epochs that do not go with what the current one says.
fn contradicted<'a>(metas: &[&'a SeriesMeta], current: &HashSet<SeriesRef>) -> Vec<&'a SeriesMeta> {
    let (current, earlier): (Vec<&SeriesMeta>, Vec<&SeriesMeta>) = metas
        .iter()
        .copied()
        // Interfaces and the like belong to the server, and are told apart by their names alone.
        .filter(|meta| meta.resource != meta.server.resource())
        .partition(|meta| current.contains(&meta.id));
    let mut names: HashMap<(ResourceId, &str), HashSet<&str>> = HashMap::new();
    let mut owners: HashMap<(&str, &str), HashSet<ResourceId>> = HashMap::new();
    let mut described: HashSet<(ResourceId, &str, &str)> = HashSet::new();
    for meta in current {
        let (resource, collector) = (meta.resource, &*meta.collector);
        if let Some(name) = meta.label(NAME_LABEL) {
            names.entry((resource, collector)).or_default().insert(name);
            owners.entry((collector, name)).or_default().insert(resource);
        }
        if is_description(&meta.name) {
            described.insert((resource, collector, &meta.name));
        }
    }
    let is_contradicted = |meta: &&SeriesMeta| {
        let (resource, collector) = (meta.resource, &*meta.collector);
        let has_other_name = |name: &str| {
            let own = names.get(&(resource, collector));
            own.is_some_and(|own| !own.contains(name))
        };
        let is_anothers = |name: &str| {
            let owners = owners.get(&(collector, name));
            owners.is_some_and(|owners| !owners.contains(&resource))
        };
        let name = meta.label(NAME_LABEL);
        name.is_some_and(|name| has_other_name(name) || is_anothers(name))
            || described.contains(&(resource, collector, &*meta.name))
    };
    earlier.into_iter().filter(is_contradicted).collect()
}

/// Whether a metric says what something is, in labels alone: there is one of each, whatever else changes.
fn is_description(metric: &str) -> bool {
    metric == "smartctl_device" || metric.ends_with("_info")
}
