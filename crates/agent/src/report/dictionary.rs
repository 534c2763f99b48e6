//! Series and their ids in this epoch, and the end of series that are gone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use muster_model::{Labels, MetricType, ResourceKey, STALE_NAN, Sample, SampleBlock, SeriesDef, limits};

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

/// What tells one series from another.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    collector: &'static str,
    name: String,
    labels: Labels,
    /// Absent: the server.
    resource: Option<ResourceKey>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    id: u32,
    interval_ms: u32,
    /// The collector's run that brought it last.
    run: u64,
}

/// Every series of the epoch. Never forgets one, because ids are never reused; bounded by the limit of series.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    slots: Vec<Slot>,
    by_key: HashMap<SeriesKey, usize, RandomState>,
    /// Per collector: number of its last successful run, and the slots that this run brought.
    live: HashMap<&'static str, (u64, Vec<usize>)>,
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
        let (last_run, before) = self.live.remove(cadence.collector).unwrap_or_default();
        let run = last_run + 1;
        let (mut rows, now) = self.rows(outbox, cadence, run, samples, problems);
        for slot in before
            .into_iter()
            .map(|index| self.slots[index])
            .filter(|slot| slot.run != run)
        {
            rows.entry(cadence.started_ms)
                .or_default()
                .push((slot.id, STALE_NAN));
        }
        self.live.insert(cadence.collector, (run, now));
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
        let (rows, _) = self.rows(outbox, cadence, 0, samples, problems);
        to_blocks(rows, cadence.collector, problems)
    }

    fn rows(
        &mut self,
        outbox: &Outbox,
        cadence: Cadence,
        run: u64,
        samples: Vec<Sample>,
        problems: &mut Problems,
    ) -> (Rows, Vec<usize>) {
        let mut rows = Rows::new();
        let mut seen = Vec::with_capacity(samples.len());
        let mut over_limit = 0_usize;
        for sample in samples {
            let (time_ms, value) = (sample.time_ms.unwrap_or(cadence.started_ms), sample.value);
            let Some(index) = self.slot(outbox, cadence, sample, &mut over_limit, problems) else {
                continue;
            };
            let slot = &mut self.slots[index];
            if slot.run != run || run == 0 {
                slot.run = run;
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
        sample: Sample,
        over_limit: &mut usize,
        problems: &mut Problems,
    ) -> Option<usize> {
        let Sample {
            name,
            labels,
            resource,
            metric_type,
            unit,
            ..
        } = sample;
        let resource = resource.filter(|key| !key.is_server());
        let key = SeriesKey {
            collector: cadence.collector,
            name,
            labels,
            resource,
        };
        match self.by_key.entry(key) {
            Entry::Occupied(entry) => {
                let index = *entry.get();
                let slot = &mut self.slots[index];
                if slot.interval_ms != cadence.interval_ms {
                    // A new cadence needs a new definition. Where no more fit, the series goes on under the old one.
                    let series = definition(entry.key(), cadence, metric_type, unit);
                    slot.id = outbox.define(Arc::new(series)).unwrap_or(slot.id);
                    slot.interval_ms = cadence.interval_ms;
                }
                Some(index)
            }
            Entry::Vacant(entry) => {
                let series = definition(entry.key(), cadence, metric_type, unit);
                if let Err(error) = check(&series) {
                    problems.push(problem(cadence.collector, error));
                    return None;
                }
                let Some(id) = outbox.define(Arc::new(series)) else {
                    *over_limit += 1;
                    return None;
                };
                self.slots.push(Slot {
                    id,
                    interval_ms: cadence.interval_ms,
                    run: 0,
                });
                Some(*entry.insert(self.slots.len() - 1))
            }
        }
    }
}

fn definition(key: &SeriesKey, cadence: Cadence, metric_type: MetricType, unit: &str) -> SeriesDef {
    SeriesDef {
        name: key.name.clone(),
        labels: key.labels.clone(),
        metric_type,
        unit: unit.to_owned(),
        collector: cadence.collector.to_owned(),
        resource_key: key.resource.clone().unwrap_or_else(ResourceKey::server),
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
