//! Series and their ids in this epoch, and the end of series that are gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use muster_model::{ResourceKey, STALE_NAN, Sample, SampleBlock, check_name, limits};

use super::bounds::Problems;
use super::problem;
use crate::outbox::{Definitions, Metric, Outbox, Series};

/// Most samples of one block, so that a block always fits into a report: 13 bytes a sample at worst.
const SAMPLES_PER_BLOCK: usize = 8_192;

/// When and how often a collector runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cadence {
    pub(super) collector: &'static str,
    pub(super) started_ms: i64,
    pub(super) interval_ms: u32,
}

/// A series: what defines it is the outbox's, which says it.
#[derive(Debug)]
struct Slot {
    id: u32,
    /// The collector's run that brought it last, and its place among what that run brought.
    run: u32,
    place: u32,
}

const _: () = assert!(size_of::<Slot>() == 12, "thousands of them are kept");

fn is_of(series: &Series, collector: &str, sample: &Sample) -> bool {
    series.metric.name == sample.name
        && series.labels == sample.labels
        && series.metric.collector == collector
        && own(&series.resource_key) == sample.resource.as_ref().and_then(own)
}

/// What tells the series of the server from those of a resource.
fn own(key: &ResourceKey) -> Option<&str> {
    (!key.is_server()).then_some(key.as_str())
}

/// Every series of the epoch. Never forgets one, because ids are never reused; bounded by the limit of series.
///
/// A collector says the same series in the same order time and again: the one that came after the last is looked at
/// first, and only where it is another one its hash is worked out.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    slots: Vec<Slot>,
    by_key: HashTable<u32>,
    /// Those of the series, and no others.
    metrics: HashSet<Arc<Metric>, RandomState>,
    hasher: RandomState,
    live: HashMap<&'static str, Live, RandomState>,
}

/// What a collector brought last.
#[derive(Debug, Default)]
struct Live {
    /// The number of its last successful run.
    run: u32,
    /// The slots that this run brought.
    slots: Vec<u32>,
    /// The slots of what the runner measured.
    measured: Vec<u32>,
}

/// The slots that are expected, in order.
#[derive(Debug)]
struct Expected<'a> {
    run: u32,
    slots: &'a [u32],
    next: u32,
}

/// Samples by time, then by series.
type Rows = BTreeMap<i64, Vec<(u32, f64)>>;

impl Dictionary {
    /// Samples of a successful run as blocks. A series that the run before brought and this one does not is ended.
    pub(super) fn blocks(
        &mut self,
        outbox: &Outbox,
        cadence: Cadence,
        samples: Vec<Sample>,
        problems: &mut Problems,
    ) -> Vec<SampleBlock> {
        let mut live = self.live.remove(cadence.collector).unwrap_or_default();
        let before = std::mem::take(&mut live.slots);
        let expected = Expected {
            run: live.run,
            slots: &before,
            next: 0,
        };
        // 0 is what the runner measures.
        live.run = live.run.checked_add(1).unwrap_or(1);
        let (mut rows, now) = self.rows(outbox, cadence, (live.run, expected), samples, problems);
        for slot in before
            .iter()
            .map(|&index| &self.slots[index as usize])
            .filter(|slot| slot.run != live.run)
        {
            rows.entry(cadence.started_ms)
                .or_default()
                .push((slot.id, STALE_NAN));
        }
        live.slots = now;
        self.live.insert(cadence.collector, live);
        to_blocks(rows, cadence.collector, problems)
    }

    /// What the runner measured of a run as blocks. These series do not end with a run that failed.
    pub(super) fn runner_blocks(
        &mut self,
        outbox: &Outbox,
        cadence: Cadence,
        samples: Vec<Sample>,
        problems: &mut Problems,
    ) -> Vec<SampleBlock> {
        let mut live = self.live.remove(cadence.collector).unwrap_or_default();
        let before = std::mem::take(&mut live.measured);
        let expected = Expected {
            run: 0,
            slots: &before,
            next: 0,
        };
        let (rows, now) = self.rows(outbox, cadence, (0, expected), samples, problems);
        live.measured = now;
        self.live.insert(cadence.collector, live);
        to_blocks(rows, cadence.collector, problems)
    }

    fn rows(
        &mut self,
        outbox: &Outbox,
        cadence: Cadence,
        (run, mut expected): (u32, Expected<'_>),
        samples: Vec<Sample>,
        problems: &mut Problems,
    ) -> (Rows, Vec<u32>) {
        let mut rows = Rows::new();
        let mut seen = Vec::with_capacity(samples.len());
        let mut over_limit = 0_usize;
        outbox.defining(|definitions| {
            for sample in samples {
                let (time_ms, value) = (sample.time_ms.unwrap_or(cadence.started_ms), sample.value);
                let found = self.slot(definitions, cadence, sample, &mut expected);
                let index = match found {
                    Ok(index) => index,
                    Err(Unfit::OverLimit) => {
                        over_limit += 1;
                        continue;
                    }
                    Err(Unfit::Bad(why)) => {
                        problems.push(problem(cadence.collector, why));
                        continue;
                    }
                };
                let slot = &mut self.slots[index as usize];
                if slot.run != run || run == 0 {
                    (slot.run, slot.place) = (run, seen.len() as u32);
                    seen.push(index);
                }
                rows.entry(time_ms).or_default().push((slot.id, value));
            }
        });
        if 0 < over_limit {
            let max = limits::SERIES_PER_AGENT_MAX;
            let message =
                format!("{over_limit} samples dropped: they belong to series beyond the limit of {max}");
            problems.push(problem(cadence.collector, message));
        }
        (rows, seen)
    }

    /// Finds or makes the slot of a sample's series.
    fn slot(
        &mut self,
        definitions: &mut Definitions,
        cadence: Cadence,
        sample: Sample,
        expected: &mut Expected<'_>,
    ) -> Result<u32, Unfit> {
        let slots = &self.slots;
        let is_it = |index: &u32| {
            let series = definitions.of(slots[*index as usize].id);
            is_of(series, cadence.collector, &sample)
        };
        let next = expected.slots.get(expected.next as usize);
        if let Some(&index) = next.filter(|index| is_it(index)) {
            expected.next += 1;
            self.keep_cadence(definitions, cadence, index);
            return Ok(index);
        }
        let resource = sample.resource.as_ref().and_then(own);
        let key = (cadence.collector, &*sample.name, &sample.labels, resource);
        let hash = self.hasher.hash_one(key);
        if let Some(&index) = self.by_key.find(hash, is_it) {
            // Some are gone or new: what comes next is what came after this one.
            let slot = &slots[index as usize];
            if slot.run == expected.run {
                expected.next = slot.place + 1;
            }
            self.keep_cadence(definitions, cadence, index);
            return Ok(index);
        }
        let series = self.series(sample, cadence);
        check(&series).map_err(Unfit::Bad)?;
        let metric = Arc::clone(&series.metric);
        let id = definitions.define(series).ok_or(Unfit::OverLimit)?;
        self.metrics.insert(metric);
        // No more than there are ids.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { id, run: 0, place: 0 });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_key.insert_unique(hash, index, |&index| {
            let series = definitions.of(slots[index as usize].id);
            let metric = &series.metric;
            let resource = own(&series.resource_key);
            hasher.hash_one((&*metric.collector, &*metric.name, &series.labels, resource))
        });
        Ok(index)
    }

    /// A new cadence needs a new definition. Where no more fit, the series goes on under the old one.
    fn keep_cadence(&mut self, definitions: &mut Definitions, cadence: Cadence, index: u32) {
        let slot = &mut self.slots[index as usize];
        let series = definitions.of(slot.id);
        if series.interval_ms == cadence.interval_ms {
            return;
        }
        let series = Series {
            interval_ms: cadence.interval_ms,
            ..series.clone()
        };
        slot.id = definitions.define(series).unwrap_or(slot.id);
    }

    fn series(&self, sample: Sample, cadence: Cadence) -> Series {
        let metric = Metric {
            name: sample.name,
            metric_type: sample.metric_type,
            unit: sample.unit.into(),
            collector: cadence.collector.into(),
        };
        let metric = match self.metrics.get(&metric) {
            Some(known) => Arc::clone(known),
            None => Arc::new(metric),
        };
        Series {
            metric,
            labels: sample.labels,
            resource_key: sample.resource.unwrap_or_else(ResourceKey::server),
            interval_ms: cadence.interval_ms,
        }
    }
}

/// Why a sample has no series.
enum Unfit {
    /// There are as many as there may be.
    OverLimit,
    /// The controller would refuse it; in words.
    Bad(String),
}

/// Refuses what the controller would refuse: one bad definition would hold up every series after it.
fn check(series: &Series) -> Result<(), String> {
    let name = &series.metric.name;
    check_name(name).map_err(|error| format!("sample dropped: {error}"))?;
    let key_bytes = series.resource_key.as_str().len();
    if key_bytes == 0 || limits::RESOURCE_KEY_BYTES_MAX < key_bytes {
        return Err(format!(
            "sample of {name} dropped: its resource's key has {key_bytes} bytes"
        ));
    }
    Ok(())
}

fn to_blocks(rows: Rows, collector: &str, problems: &mut Problems) -> Vec<SampleBlock> {
    let mut blocks = Vec::with_capacity(rows.len());
    let mut repeated = 0_usize;
    for (time_ms, mut row) in rows {
        // Stable, so that of two values of one series at one time the first stays, as it would in the store.
        row.sort_by_key(|(id, _)| *id);
        let count = row.len();
        row.dedup_by_key(|(id, _)| *id);
        repeated += count - row.len();
        for part in row.chunks(SAMPLES_PER_BLOCK) {
            let (series, values) = part.iter().copied().unzip();
            let block = SampleBlock::new(vec![time_ms], series, values);
            blocks.push(block.expect("one time and as many values as series, below the bound"));
        }
    }
    if 0 < repeated {
        let message =
            format!("{repeated} samples dropped: their series had a value at the same time already");
        problems.push(problem(collector, message));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use muster_model::{Labels, MetricType};

    use super::*;

    #[test]
    fn metrics_of_samples_that_are_not_taken_are_not_kept() {
        let outbox = Outbox::new(1, None, usize::MAX);
        let cadence = Cadence {
            collector: "textfile",
            started_ms: 1_000,
            interval_ms: 1_000,
        };
        let sample = |name: String| Sample {
            name: name.into(),
            labels: Labels::default(),
            value: 1.0,
            time_ms: None,
            resource: None,
            metric_type: MetricType::Gauge,
            unit: "",
        };
        let (mut dictionary, mut problems) = (Dictionary::default(), Problems::default());
        let bad = (0..10).map(|number| sample(format!("bad-{number}"))).collect();
        dictionary.blocks(&outbox, cadence, bad, &mut problems);
        assert_eq!(dictionary.metrics.len(), 0);
        let max = limits::SERIES_PER_AGENT_MAX;
        let many = (0..max + 10).map(|number| sample(format!("m{number}"))).collect();
        dictionary.blocks(&outbox, cadence, many, &mut problems);
        assert_eq!(dictionary.metrics.len(), max);
    }
}
