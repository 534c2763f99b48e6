//! Series and their ids in this epoch, and the end of series that are gone.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use muster_model::{Labels, ResourceKey, STALE_NAN, Sample, SampleBlock, SeriesDef, limits};

use super::bounds::Problems;
use super::problem;
use crate::outbox::Outbox;

/// Most samples of one block, so that a block always fits into a report: 13 bytes a sample at worst.
const SAMPLES_PER_BLOCK: usize = 8_192;

/// When and how often a collector runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cadence {
    pub(super) collector: &'static str,
    pub(super) started_ms: i64,
    pub(super) interval_ms: u32,
}

/// A series: what defines it is shared with the outbox, which says it.
#[derive(Debug)]
struct Slot {
    id: u32,
    series: Arc<SeriesDef>,
    /// The collector's run that brought it last, and its place among what that run brought.
    run: u64,
    place: usize,
}

impl Slot {
    fn is_of(&self, collector: &str, sample: &Sample) -> bool {
        let series = &self.series;
        series.name == sample.name
            && series.labels == sample.labels
            && series.collector == collector
            && own(&series.resource_key) == sample.resource.as_ref().and_then(own)
    }
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
    by_key: HashTable<usize>,
    hasher: RandomState,
    live: HashMap<&'static str, Live, RandomState>,
}

/// What a collector brought last.
#[derive(Debug, Default)]
struct Live {
    /// The number of its last successful run.
    run: u64,
    /// The slots that this run brought.
    slots: Vec<usize>,
    /// The slots of what the runner measured.
    measured: Vec<usize>,
}

/// The slots that are expected, in order.
#[derive(Debug)]
struct Expected<'a> {
    run: u64,
    slots: &'a [usize],
    next: usize,
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
        live.run += 1;
        let (mut rows, now) = self.rows(outbox, cadence, (live.run, expected), samples, problems);
        for slot in before
            .iter()
            .map(|&index| &self.slots[index])
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
        (run, mut expected): (u64, Expected<'_>),
        samples: Vec<Sample>,
        problems: &mut Problems,
    ) -> (Rows, Vec<usize>) {
        let mut rows = Rows::new();
        let mut seen = Vec::with_capacity(samples.len());
        let mut over_limit = 0_usize;
        for sample in samples {
            let (time_ms, value) = (sample.time_ms.unwrap_or(cadence.started_ms), sample.value);
            let found = self.slot(
                outbox,
                cadence,
                (sample, &mut expected),
                &mut over_limit,
                problems,
            );
            let Some(index) = found else {
                continue;
            };
            let slot = &mut self.slots[index];
            if slot.run != run || run == 0 {
                (slot.run, slot.place) = (run, seen.len());
                seen.push(index);
            }
            rows.entry(time_ms).or_default().push((slot.id, value));
        }
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
        outbox: &Outbox,
        cadence: Cadence,
        (sample, expected): (Sample, &mut Expected<'_>),
        over_limit: &mut usize,
        problems: &mut Problems,
    ) -> Option<usize> {
        let is_it = |index: &usize| self.slots[*index].is_of(cadence.collector, &sample);
        if let Some(&index) = expected.slots.get(expected.next).filter(|index| is_it(index)) {
            expected.next += 1;
            self.keep_cadence(outbox, cadence, index);
            return Some(index);
        }
        let resource = sample.resource.as_ref().and_then(own);
        let hash = hash(
            &self.hasher,
            cadence.collector,
            &sample.name,
            &sample.labels,
            resource,
        );
        if let Some(&index) = self.by_key.find(hash, is_it) {
            // Some are gone or new: what comes next is what came after this one.
            let slot = &self.slots[index];
            if slot.run == expected.run {
                expected.next = slot.place + 1;
            }
            self.keep_cadence(outbox, cadence, index);
            return Some(index);
        }
        let series = Arc::new(definition(sample, cadence));
        if let Err(error) = check(&series) {
            problems.push(problem(cadence.collector, error));
            return None;
        }
        let Some(id) = outbox.define(Arc::clone(&series)) else {
            *over_limit += 1;
            return None;
        };
        let index = self.slots.len();
        self.slots.push(Slot {
            id,
            series,
            run: 0,
            place: 0,
        });
        let Self {
            by_key,
            slots,
            hasher,
            ..
        } = self;
        by_key.insert_unique(hash, index, |&index| {
            let series = &slots[index].series;
            let resource = own(&series.resource_key);
            self::hash(hasher, &series.collector, &series.name, &series.labels, resource)
        });
        Some(index)
    }

    /// A new cadence needs a new definition. Where no more fit, the series goes on under the old one.
    fn keep_cadence(&mut self, outbox: &Outbox, cadence: Cadence, index: usize) {
        let slot = &mut self.slots[index];
        if slot.series.interval_ms == cadence.interval_ms {
            return;
        }
        let series = Arc::new(SeriesDef {
            interval_ms: cadence.interval_ms,
            ..SeriesDef::clone(&slot.series)
        });
        slot.id = outbox.define(Arc::clone(&series)).unwrap_or(slot.id);
        slot.series = series;
    }
}

fn hash(hasher: &RandomState, collector: &str, name: &str, labels: &Labels, resource: Option<&str>) -> u64 {
    hasher.hash_one((collector, name, labels, resource))
}

fn definition(sample: Sample, cadence: Cadence) -> SeriesDef {
    SeriesDef {
        name: sample.name,
        labels: sample.labels,
        metric_type: sample.metric_type,
        unit: sample.unit.into(),
        collector: cadence.collector.into(),
        resource_key: sample.resource.unwrap_or_else(ResourceKey::server),
        interval_ms: cadence.interval_ms,
    }
}

/// Refuses what the controller would refuse: one bad definition would hold up every series after it.
fn check(series: &SeriesDef) -> Result<(), String> {
    series
        .check()
        .map_err(|error| format!("sample dropped: {error}"))?;
    let key_bytes = series.resource_key.as_str().len();
    if key_bytes == 0 || limits::RESOURCE_KEY_BYTES_MAX < key_bytes {
        return Err(format!(
            "sample of {} dropped: its resource's key has {key_bytes} bytes",
            series.name
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
