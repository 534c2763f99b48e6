//! Reading: which series, then for each group its chunks and its head, merged.
//!
//! The head is looked at before the files: a window that is sealed in between is then seen twice, which merging
//! forgives, and never not at all. What cannot be read is left out and said, so that nobody takes a part for
//! the whole.

mod rolled;

use std::ops::RangeInclusive;
use std::sync::Arc;

use muster_base::id::{ResourceId, ServerId};
use muster_model::is_stale;

use crate::chunk::{ALL_TIMES, Chunk, ChunkKey};
use crate::chunks::Wanted;
use crate::damage::Damage;
use crate::matcher::Matcher;
use crate::run::{Run, SharedTimes, merge};
use crate::series::SeriesMeta;
use crate::store::Shared;
use crate::tier::Tier;
use crate::zstd_pool::ZstdPool;

pub use rolled::{Resolution, Rolled, RolledSeries};

/// Which series are meant.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Conditions on the name (`__name__`) and the series' own labels, all of which must be met.
    pub matchers: &'a [Matcher],
    /// The servers; `None`: all.
    pub servers: Option<&'a [ServerId]>,
    /// The resources; `None`: all.
    pub resources: Option<&'a [ResourceId]>,
    /// Most series that are wanted.
    pub series_max: usize,
}

impl<'a> Filter<'a> {
    /// All series that meet the matchers, without a bound.
    #[must_use]
    pub const fn new(matchers: &'a [Matcher]) -> Self {
        Self {
            matchers,
            servers: None,
            resources: None,
            series_max: usize::MAX,
        }
    }
}

/// Which samples are meant.
#[derive(Debug, Clone, Copy)]
pub struct Select<'a> {
    /// The series.
    pub filter: Filter<'a>,
    /// The first time, Unix milliseconds.
    pub start_ms: i64,
    /// The last time, itself included.
    pub end_ms: i64,
    /// Most samples that are wanted; it bounds the memory that the answer takes.
    pub samples_max: usize,
}

impl<'a> Select<'a> {
    /// All samples of a closed range of time, without a bound.
    #[must_use]
    pub const fn new(filter: Filter<'a>, start_ms: i64, end_ms: i64) -> Self {
        Self {
            filter,
            start_ms,
            end_ms,
            samples_max: usize::MAX,
        }
    }
}

/// Samples of one series.
#[derive(Debug, Clone)]
pub struct SeriesData {
    /// The series.
    pub meta: Arc<SeriesMeta>,
    /// Times, Unix milliseconds, ascending, each once; series that come together share them.
    pub times_ms: Arc<[i64]>,
    /// A value for each time; stale markers ([`muster_model::is_stale`]) are among them.
    pub values: Vec<f64>,
}

/// The answer to a [`Select`].
#[derive(Debug, Clone, Default)]
pub struct Selected {
    /// Series that have samples in the range, by server and collector, then in the order of their creation.
    pub series: Vec<SeriesData>,
    /// Whether there is more than was wanted; the series that are here are whole.
    pub is_truncated: bool,
    /// What may be missing because it cannot be read.
    pub damaged: Vec<Damage>,
}

/// The sample of a series that counts at some time.
#[derive(Debug, Clone)]
pub struct LatestSample {
    /// The series.
    pub meta: Arc<SeriesMeta>,
    /// Its time, Unix milliseconds.
    pub time_ms: i64,
    /// Its value.
    pub value: f64,
}

/// The answer of [`Reader::latest`].
#[derive(Debug, Clone, Default)]
pub struct Latest {
    /// A sample for each series that has one, in the order of [`Selected::series`].
    pub samples: Vec<LatestSample>,
    /// Whether there are more series than were wanted.
    pub is_truncated: bool,
    /// What may be missing because it cannot be read.
    pub damaged: Vec<Damage>,
}

/// Reads the store; see [`crate::Store::snapshot`].
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The series that meet a filter, and whether there are more than were wanted.
    #[must_use]
    pub fn series(&self, filter: &Filter<'_>) -> (Vec<Arc<SeriesMeta>>, bool) {
        let mut metas = self
            .shared
            .index
            .read()
            .select(filter.matchers, filter.servers, filter.resources);
        let is_truncated = filter.series_max < metas.len();
        metas.truncate(filter.series_max);
        metas.sort_by_key(|meta| (meta.group, meta.id));
        (metas, is_truncated)
    }

    /// All samples of the range, as they were measured.
    #[must_use]
    pub fn select(&self, select: &Select<'_>) -> Selected {
        let (metas, is_truncated) = self.series(&select.filter);
        let mut selected = Selected {
            is_truncated,
            ..Selected::default()
        };
        let mut samples_left = select.samples_max;
        for metas in metas.chunk_by(|left, right| left.group == right.group) {
            let times = select.start_ms..=select.end_ms;
            let Some(runs) = self
                .shared
                .read(metas, times, samples_left, &mut selected.damaged)
            else {
                selected.is_truncated = true;
                break;
            };
            samples_left -= runs.iter().map(|run| run.values.len()).sum::<usize>();
            selected
                .series
                .extend(with_metas(metas, runs).map(|(meta, run)| SeriesData {
                    meta: Arc::clone(meta),
                    times_ms: run.times_ms,
                    values: run.values,
                }));
        }
        selected
    }

    /// The sample of each series that counts at a time: the latest that is not later, unless it is a stale
    /// marker or as old as [`SeriesMeta::staleness_ms`].
    #[must_use]
    pub fn latest(&self, filter: &Filter<'_>, now_ms: i64) -> Latest {
        let (metas, is_truncated) = self.series(filter);
        let mut latest = Latest {
            is_truncated,
            ..Latest::default()
        };
        for metas in metas.chunk_by(|left, right| left.group == right.group) {
            let longest = metas.iter().map(|meta| meta.staleness_ms()).max().unwrap_or(0);
            let times = now_ms.saturating_sub(longest)..=now_ms;
            let runs = self.shared.read(metas, times, usize::MAX, &mut latest.damaged);
            for (meta, run) in with_metas(metas, runs.unwrap_or_default()) {
                let (Some(time_ms), Some(value)) = (run.times_ms.last(), run.values.last()) else {
                    continue;
                };
                let counts = now_ms.saturating_sub(*time_ms) < meta.staleness_ms() && !is_stale(*value);
                if counts {
                    let meta = Arc::clone(meta);
                    latest.samples.push(LatestSample {
                        meta,
                        time_ms: *time_ms,
                        value: *value,
                    });
                }
            }
        }
        latest
    }
}

impl Shared {
    /// The samples of series of one group (ascending by number) in a closed range: a run for each series that
    /// has any. `None` if there are more than `samples_max`.
    fn read(
        &self,
        metas: &[Arc<SeriesMeta>],
        times: RangeInclusive<i64>,
        samples_max: usize,
        damaged: &mut Vec<Damage>,
    ) -> Option<Vec<Run>> {
        let group = metas.first()?.group;
        let wanted: Vec<u32> = metas.iter().map(|meta| meta.id.0).collect();
        let mut in_memory = Vec::new();
        if let Some(head) = self.heads.shard(group).read().get(&group) {
            let meeting = head
                .windows()
                .filter(|head| head.window.meets(*times.start(), *times.end()));
            meeting.for_each(|head| head.read(Some(&wanted), *times.start(), &mut in_memory));
        }
        let mut runs = Vec::new();
        let chunks = Wanted {
            group,
            times: times.clone(),
            series: Some(&wanted),
        };
        for period in self.chunks.periods(Tier::Raw, &times) {
            let mut read = 0;
            self.chunks.read(period, &chunks, damaged, &mut |found, data| {
                if samples_max < read {
                    return true;
                }
                let before = runs.len();
                let chunk = Chunk::parse(data, found.key);
                let outcome = chunk.and_then(|chunk| chunk.read(&wanted, &times, &self.pool, &mut runs));
                read += runs[before..]
                    .iter()
                    .map(|run: &Run| count_within(run, &times))
                    .sum::<usize>();
                outcome.is_ok()
            });
        }
        // Sealed samples were accepted before those in memory.
        runs.append(&mut in_memory);
        let (mut runs, _) = merge(runs);
        cut(&mut runs, &times);
        (runs.iter().map(|run| run.values.len()).sum::<usize>() <= samples_max).then_some(runs)
    }
}

/// How many samples of an ascending run lie in a closed range.
fn count_within(run: &Run, times: &RangeInclusive<i64>) -> usize {
    let (start, end) = bounds(&run.times_ms, times);
    end - start
}

fn bounds(times_ms: &[i64], times: &RangeInclusive<i64>) -> (usize, usize) {
    let start = times_ms.partition_point(|time| time < times.start());
    let end = times_ms.partition_point(|time| time <= times.end());
    (start, end.max(start))
}

/// Takes away what lies outside of the range, and runs of which nothing is left.
fn cut(runs: &mut Vec<Run>, times: &RangeInclusive<i64>) {
    let mut shared = SharedTimes::default();
    for run in runs.iter_mut() {
        let (start, end) = bounds(&run.times_ms, times);
        if end - start < run.values.len() {
            run.times_ms = shared.share(run.times_ms[start..end].to_vec());
            run.values.truncate(end);
            run.values.drain(..start);
        }
    }
    runs.retain(|run| !run.values.is_empty());
}

/// Each run with its series; both stand by number, and every run is of one of the series.
fn with_metas(metas: &[Arc<SeriesMeta>], runs: Vec<Run>) -> impl Iterator<Item = (&Arc<SeriesMeta>, Run)> {
    runs.into_iter().filter_map(|run| {
        let index = metas.binary_search_by_key(&run.series, |meta| meta.id.0).ok()?;
        Some((&metas[index], run))
    })
}

/// Whether everything in a chunk can be decoded.
pub(crate) fn is_sound(key: ChunkKey, data: &[u8], pool: &ZstdPool) -> bool {
    let Ok(chunk) = Chunk::parse(data, key) else {
        return false;
    };
    let mut all: Vec<u32> = chunk.series().collect();
    all.sort_unstable();
    chunk.read(&all, &ALL_TIMES, pool, &mut Vec::new()).is_ok()
}
