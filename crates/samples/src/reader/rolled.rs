//! Reading roll-ups: buckets of five minutes or an hour.
//!
//! For a day that is compacted they are read; for one that is not (today, or one to which late samples have just
//! come) they are made of its samples on the spot, so that an answer never lags behind. Days whose samples are gone
//! have roll-ups only.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use muster_model::{MetricType, is_stale};

use super::{Reader, Select};
use crate::chunk::Chunk;
use crate::chunks::Wanted;
use crate::damage::Damage;
use crate::rollup::{self, Buckets, roll_up};
use crate::run::Run;
use crate::series::SeriesMeta;
use crate::store::Shared;
use crate::tier::{Period, Tier};
use crate::window::DAY_MS;

/// How long before a day its counters' last values are looked for, in milliseconds.
const BEFORE_MS: i64 = 2 * 3_600_000;

/// How fine buckets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
}

impl Resolution {
    /// Length of a bucket, in milliseconds.
    #[must_use]
    pub const fn bucket_ms(self) -> i64 {
        self.tier().bucket_ms()
    }

    const fn tier(self) -> Tier {
        match self {
            Self::FiveMinutes => Tier::FiveMinutes,
            Self::Hour => Tier::Hour,
        }
    }
}

/// Buckets of one series; all columns are of the same length.
#[derive(Debug, Clone)]
pub struct RolledSeries {
    /// The series.
    pub meta: Arc<SeriesMeta>,
    /// Where each bucket begins, Unix milliseconds, ascending, each a multiple of the bucket's length.
    pub times_ms: Vec<i64>,
    /// The last sample of each bucket; a stale marker ([`muster_model::is_stale`]) if the series ended with it.
    pub last: Vec<f64>,
    /// The least value; NaN if there is none.
    pub min: Vec<f64>,
    /// The greatest value; NaN if there is none.
    pub max: Vec<f64>,
    /// The sum of the values.
    pub sum: Vec<f64>,
    /// How many values there are.
    pub count: Vec<f64>,
    /// Of a counter: by how much it rose since the last sample before the bucket, resets included. Those of several
    /// buckets add up.
    pub increase: Option<Vec<f64>>,
}

/// The answer of [`Reader::rolled`].
#[derive(Debug, Clone, Default)]
pub struct Rolled {
    /// Series that have buckets in the range, by server and collector, then in the order of their creation.
    pub series: Vec<RolledSeries>,
    /// Whether there is more than was wanted; the series that are here are whole.
    pub is_truncated: bool,
    /// What may be missing because it cannot be read.
    pub damaged: Vec<Damage>,
}

impl Reader {
    /// The roll-ups of the range: every bucket that begins in it. Of [`Select::samples_max`] a bucket is one.
    ///
    /// ```
    /// # use muster_base::id::{ResourceId, ServerId};
    /// # use muster_model::{Labels, MetricType};
    /// # use muster_samples::{Batch, Filter, Options, Resolution, Select, SeriesSpec, Store, selector};
    /// # let folder = tempfile::tempdir()?;
    /// # let store = Store::open(camino::Utf8Path::from_path(folder.path()).unwrap(), Options::default())?;
    /// # let spec = SeriesSpec {
    /// #     server: ServerId(1), resource: ResourceId(1), name: "node_disk_reads_total".to_owned(),
    /// #     labels: Labels::default(), metric_type: MetricType::Counter, unit: String::new(),
    /// #     collector: "disk".to_owned(), interval_ms: 60_000,
    /// # };
    /// # let series = store.series(&spec)?;
    /// # let start = 1_763_769_600_000;
    /// # let times = [0, 1, 2, 5].map(|minute| start + minute * 60_000);
    /// # store.append(&Batch {
    /// #     position: 1, received_ms: start, times_ms: &times, series: &[series], values: &[5.0, 7.0, 8.0, 2.0],
    /// # })?;
    /// let matchers = selector::parse("node_disk_reads_total")?;
    /// let select = Select::new(Filter::new(&matchers), start, start + 3_600_000);
    /// let found = store.snapshot().rolled(&select, Resolution::FiveMinutes);
    /// assert_eq!(found.series[0].times_ms, [start, start + 300_000]);
    /// assert_eq!(found.series[0].max, [8.0, 2.0]);
    /// // The counter began anew in the second bucket.
    /// assert_eq!(found.series[0].increase, Some(vec![3.0, 2.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn rolled(&self, select: &Select<'_>, resolution: Resolution) -> Rolled {
        let (metas, is_truncated) = self.series(&select.filter);
        let mut rolled = Rolled {
            is_truncated,
            ..Rolled::default()
        };
        let times = select.start_ms..=select.end_ms;
        let mut room = select.samples_max;
        for metas in metas.chunk_by(|left, right| left.group == right.group) {
            let shared = &self.shared;
            let all = shared.rolled(metas, &times, resolution.tier(), room, &mut rolled.damaged);
            let count = all
                .as_ref()
                .map_or(0, |all| all.values().map(|buckets| buckets.times_ms.len()).sum());
            let Some(all) = all.filter(|_| count <= room) else {
                rolled.is_truncated = true;
                break;
            };
            room -= count;
            let found = all.into_iter().filter_map(|(number, buckets)| {
                let index = metas.binary_search_by_key(&number, |meta| meta.id.0).ok()?;
                Some(RolledSeries::new(&metas[index], buckets))
            });
            rolled.series.extend(found);
        }
        rolled
    }

    /// From when on there are samples as they were measured, Unix milliseconds; `None` if there are none.
    #[must_use]
    pub fn samples_since_ms(&self) -> Option<i64> {
        let in_memory = self.shared.heads.first_ms();
        let on_disk = self.shared.since_ms(Tier::Raw);
        in_memory.into_iter().chain(on_disk).min()
    }

    /// From when on there are roll-ups, Unix milliseconds; `None` if there are none yet.
    #[must_use]
    pub fn rolled_since_ms(&self, resolution: Resolution) -> Option<i64> {
        self.shared.since_ms(resolution.tier())
    }
}

impl RolledSeries {
    fn new(meta: &Arc<SeriesMeta>, buckets: Buckets) -> Self {
        Self {
            meta: Arc::clone(meta),
            times_ms: buckets.times_ms,
            last: buckets.last,
            min: buckets.min,
            max: buckets.max,
            sum: buckets.sum,
            count: buckets.count,
            increase: buckets.increase,
        }
    }
}

impl Shared {
    fn since_ms(&self, tier: Tier) -> Option<i64> {
        let first = self
            .chunks
            .periods(tier, &(i64::MIN..=i64::MAX))
            .first()
            .copied()?;
        Some(first.day.saturating_mul(DAY_MS))
    }

    /// The buckets of series of one group that begin in a closed range; `None` if making some takes more than
    /// `samples_max` samples for each bucket there is room for.
    fn rolled(
        &self,
        metas: &[Arc<SeriesMeta>],
        times: &RangeInclusive<i64>,
        tier: Tier,
        samples_max: usize,
        damaged: &mut Vec<Damage>,
    ) -> Option<BTreeMap<u32, Buckets>> {
        /// Samples in memory at once, beyond which an answer is cut.
        const SAMPLES_MAX: usize = 64_000_000;
        let group = metas.first()?.group;
        let open_days = self.open_days(group, times);
        let is_open = |time_ms: i64| open_days.binary_search(&time_ms.div_euclid(DAY_MS)).is_ok();
        let mut all = self.stored_buckets(metas, times, tier, damaged);
        for buckets in all.values_mut() {
            buckets.retain(|time| times.contains(&time) && !is_open(time));
        }
        let room = SAMPLES_MAX.min(samples_max.saturating_mul(1_000));
        for day in &open_days {
            let midnight = day * DAY_MS;
            // A bucket that begins in the range may end after it.
            let end = times
                .end()
                .saturating_add(tier.bucket_ms())
                .min(midnight + DAY_MS - 1);
            let damaged_before = damaged.len();
            let runs = self.read(metas, midnight - BEFORE_MS..=end, room, damaged)?;
            if damaged_before < damaged.len() {
                // Summed up without what cannot be read they would be wrong.
                continue;
            }
            for run in runs {
                let mut buckets = buckets_of(metas, &run, midnight, tier);
                buckets.retain(|time| times.contains(&time));
                all.entry(run.series).or_default().append(buckets);
            }
        }
        all.retain(|_, buckets| !buckets.times_ms.is_empty());
        Some(all)
    }

    /// The days of the range that are not compacted, ascending.
    fn open_days(&self, group: u32, times: &RangeInclusive<i64>) -> Vec<i64> {
        let mut days: Vec<i64> = Vec::new();
        if let Some(head) = self.heads.shard(group).read().get(&group) {
            let meeting = head
                .windows()
                .filter(|head| head.window.meets(*times.start(), *times.end()));
            days.extend(meeting.map(|head| head.window.day()));
        }
        let periods = self.chunks.periods(Tier::Raw, times);
        let is_open = |period: &&Period| !self.chunks.is_final(**period, group);
        days.extend(periods.iter().filter(is_open).map(|period| period.day));
        days.sort_unstable();
        days.dedup();
        days
    }

    fn stored_buckets(
        &self,
        metas: &[Arc<SeriesMeta>],
        times: &RangeInclusive<i64>,
        tier: Tier,
        damaged: &mut Vec<Damage>,
    ) -> BTreeMap<u32, Buckets> {
        let numbers: Vec<u32> = metas.iter().map(|meta| meta.id.0).collect();
        let group = metas.first().map_or(0, |meta| meta.group);
        // The last sample's bucket may begin before the range: it is cut away later.
        let wanted = Wanted {
            group,
            times: times.clone(),
            series: Some(&numbers),
        };
        let mut all: BTreeMap<u32, Buckets> = BTreeMap::new();
        for period in self.chunks.periods(tier, times) {
            let mut of_period = Vec::new();
            self.chunks.read(period, &wanted, damaged, &mut |found, data| {
                let Ok(chunk) = Chunk::parse(data, found.key) else {
                    return false;
                };
                let (buckets, outcome) = rollup::read(&chunk, &numbers, &self.pool);
                of_period.push((found.key.start_ms, buckets));
                outcome.is_ok()
            });
            // Stable: of the same chunk the one that was written later comes later.
            of_period.sort_by_key(|(start_ms, _)| *start_ms);
            for (series, buckets) in of_period.into_iter().flat_map(|(_, buckets)| buckets) {
                let known = all.entry(series).or_default();
                if known.times_ms.last() < buckets.times_ms.first() {
                    known.append(buckets);
                } else {
                    let mut later = buckets;
                    later.fill_up(known);
                    *known = later;
                }
            }
        }
        all
    }
}

/// The buckets of a day, of samples that begin somewhat before it.
fn buckets_of(metas: &[Arc<SeriesMeta>], run: &Run, midnight_ms: i64, tier: Tier) -> Buckets {
    let meta = metas.binary_search_by_key(&run.series, |meta| meta.id.0).ok();
    let is_counter = meta.is_some_and(|index| metas[index].metric_type == MetricType::Counter);
    let first = run.times_ms.partition_point(|time| *time < midnight_ms);
    let is_value = |value: &&f64| !is_stale(**value) && !value.is_nan();
    let before = run.values[..first].iter().rev().find(is_value).copied();
    roll_up(
        &run.times_ms[first..],
        &run.values[first..],
        tier.bucket_ms(),
        is_counter,
        before,
    )
}
