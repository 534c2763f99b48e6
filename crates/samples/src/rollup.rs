//! Roll-ups: what remains of samples when they are summed up by buckets of five minutes or an hour.
//!
//! A bucket begins at a multiple of its length and has at least one sample, be it a stale marker. It keeps the
//! last sample, the least and greatest value, sum and count, and for a counter by how much it rose since the
//! sample before each: resets included, so increases of buckets add up. Stale markers count as last sample only.
//!
//! On disk each of these is a series of its own (*aspect*). One that equals what follows from the others is left
//! out; the directory of the chunk, which has its own CRC, says which are there, so damage is never taken for it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use muster_model::{STALE_NAN, is_stale};

use crate::chunk::{ALL_TIMES, Chunk, Unreadable};
use crate::run::{Run, SharedTimes};
use crate::zstd_pool::ZstdPool;

/// Numbers of series that can be rolled up: beyond them there is no room for the aspect.
pub(crate) const SERIES_NUMBER_MAX: u32 = u32::MAX >> ASPECT_BITS;
const ASPECT_BITS: u32 = 3;

const LAST: u32 = 0;
const MIN: u32 = 1;
const MAX: u32 = 2;
const SUM: u32 = 3;
const COUNT: u32 = 4;
const INCREASE: u32 = 5;

/// Buckets of one series, ascending; all columns are of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Buckets {
    /// Where each begins, Unix milliseconds.
    pub(crate) times_ms: Vec<i64>,
    /// The last sample; a stale marker if the series ended with it.
    pub(crate) last: Vec<f64>,
    /// The least value; NaN if there is none.
    pub(crate) min: Vec<f64>,
    /// The greatest value; NaN if there is none.
    pub(crate) max: Vec<f64>,
    /// The sum of the values.
    pub(crate) sum: Vec<f64>,
    /// How many values there are.
    pub(crate) count: Vec<f64>,
    /// By how much the counter rose; of a series that is none: nothing.
    pub(crate) increase: Option<Vec<f64>>,
}

/// Sums up ascending samples. `before` is the last value before them, if it is known.
pub(crate) fn roll_up(
    times_ms: &[i64],
    values: &[f64],
    bucket_ms: i64,
    is_counter: bool,
    before: Option<f64>,
) -> Buckets {
    let mut buckets = Buckets {
        increase: is_counter.then(Vec::new),
        ..Buckets::default()
    };
    let mut previous = before;
    for (time, value) in times_ms.iter().zip(values) {
        let start = time.div_euclid(bucket_ms) * bucket_ms;
        if buckets.times_ms.last() != Some(&start) {
            buckets.begin(start);
        }
        buckets.add(*value, &mut previous);
    }
    buckets
}

impl Buckets {
    fn begin(&mut self, start_ms: i64) {
        self.times_ms.push(start_ms);
        self.last.push(STALE_NAN);
        self.min.push(f64::NAN);
        self.max.push(f64::NAN);
        self.sum.push(0.0);
        self.count.push(0.0);
        if let Some(increase) = &mut self.increase {
            increase.push(0.0);
        }
    }

    fn add(&mut self, value: f64, previous: &mut Option<f64>) {
        let Some(at) = self.times_ms.len().checked_sub(1) else {
            return;
        };
        self.last[at] = value;
        if is_stale(value) {
            return;
        }
        // The least and greatest of anything and NaN are the other.
        self.min[at] = self.min[at].min(value);
        self.max[at] = self.max[at].max(value);
        self.sum[at] += value;
        self.count[at] += 1.0;
        if let (Some(increase), false) = (&mut self.increase, value.is_nan()) {
            increase[at] += rise(*previous, value);
            *previous = Some(value);
        }
    }

    /// Takes over the buckets of `other` and keeps of its own those that begin outside of the days of `other`.
    pub(crate) fn replace(&mut self, range: &std::ops::Range<i64>, other: Self) {
        let start = self.times_ms.partition_point(|time| *time < range.start);
        let end = self.times_ms.partition_point(|time| *time < range.end);
        let length = other.times_ms.len();
        if other.increase.is_some() != self.increase.is_some() {
            // Its type has changed; what is not known is no increase.
            let missing = vec![0.0; self.times_ms.len()];
            self.increase = other.increase.is_some().then_some(missing);
        }
        self.times_ms.splice(start..end, other.times_ms);
        for (own, new) in [
            (&mut self.last, other.last),
            (&mut self.min, other.min),
            (&mut self.max, other.max),
            (&mut self.sum, other.sum),
            (&mut self.count, other.count),
        ] {
            own.splice(start..end, new);
        }
        if let Some(increase) = &mut self.increase {
            let new = other.increase.unwrap_or_else(|| vec![0.0; length]);
            increase.splice(start..end, new);
        }
    }

    /// Keeps the buckets for whose begin `keep` says so.
    pub(crate) fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        let kept: Vec<bool> = self.times_ms.iter().map(|time| keep(*time)).collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let filter = |column: &mut Vec<f64>| {
            let mut kept = kept.iter();
            column.retain(|_| kept.next().is_some_and(|kept| *kept));
        };
        let columns = [
            &mut self.last,
            &mut self.min,
            &mut self.max,
            &mut self.sum,
            &mut self.count,
        ];
        columns.into_iter().chain(&mut self.increase).for_each(filter);
        self.times_ms.retain(|time| keep(*time));
    }

    /// Takes over buckets for times for which it has none.
    pub(crate) fn fill_up(&mut self, other: &Self) {
        let mut other = other.clone();
        other.retain(|time| self.times_ms.binary_search(&time).is_err());
        for (index, time) in other.times_ms.iter().enumerate() {
            let at = self.times_ms.partition_point(|own| own < time);
            self.times_ms.insert(at, *time);
            for (own, new) in [
                (&mut self.last, &other.last),
                (&mut self.min, &other.min),
                (&mut self.max, &other.max),
                (&mut self.sum, &other.sum),
                (&mut self.count, &other.count),
            ] {
                own.insert(at, new[index]);
            }
            if let Some(increase) = &mut self.increase {
                let new = other.increase.as_ref().map_or(0.0, |other| other[index]);
                increase.insert(at, new);
            }
        }
    }

    /// One after the other, if that keeps them ascending; else as [`Buckets::fill_up`].
    pub(crate) fn append(&mut self, mut other: Self) {
        let follows = self.times_ms.last() < other.times_ms.first();
        if !follows || self.increase.is_some() != other.increase.is_some() {
            if self.times_ms.is_empty() {
                *self = other;
            } else {
                self.fill_up(&other);
            }
            return;
        }
        self.times_ms.append(&mut other.times_ms);
        self.last.append(&mut other.last);
        self.min.append(&mut other.min);
        self.max.append(&mut other.max);
        self.sum.append(&mut other.sum);
        self.count.append(&mut other.count);
        if let (Some(own), Some(mut new)) = (&mut self.increase, other.increase) {
            own.append(&mut new);
        }
    }
}

/// By how much a counter rose; one that fell began anew.
fn rise(previous: Option<f64>, value: f64) -> f64 {
    match previous {
        None => 0.0,
        Some(previous) if value < previous => value,
        Some(previous) => value - previous,
    }
}

/// The aspects of a series as runs, for a chunk.
pub(crate) fn runs(series: u32, buckets: Buckets, shared: &mut SharedTimes, out: &mut Vec<Run>) {
    let sums = buckets
        .last
        .iter()
        .zip(&buckets.count)
        .map(|(last, count)| last * count);
    let is_sum_known = sums
        .zip(&buckets.sum)
        .all(|(product, sum)| product.to_bits() == sum.to_bits());
    let is_last = |column: &[f64]| {
        let pairs = column.iter().zip(&buckets.last);
        pairs
            .into_iter()
            .all(|(value, last)| value.to_bits() == last.to_bits())
    };
    let (has_min, has_max) = (!is_last(&buckets.min), !is_last(&buckets.max));
    let times_ms = shared.share(buckets.times_ms);
    let mut push = |aspect: u32, values: Vec<f64>| {
        out.push(Run {
            series: series << ASPECT_BITS | aspect,
            times_ms: Arc::clone(&times_ms),
            values,
        });
    };
    push(LAST, buckets.last);
    if has_min {
        push(MIN, buckets.min);
    }
    if has_max {
        push(MAX, buckets.max);
    }
    if !is_sum_known {
        push(SUM, buckets.sum);
    }
    push(COUNT, buckets.count);
    if let Some(increase) = buckets.increase {
        push(INCREASE, increase);
    }
}

/// The series whose roll-ups a chunk has, ascending.
pub(crate) fn series(chunk: &Chunk<'_>) -> Vec<u32> {
    let mut all: Vec<u32> = chunk.series().map(|number| number >> ASPECT_BITS).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Reads the buckets of each series of `wanted` (ascending) that the chunk has. A series of which anything is
/// damaged is left out, and [`Unreadable`] comes with the others.
pub(crate) fn read(
    chunk: &Chunk<'_>,
    wanted: &[u32],
    pool: &ZstdPool,
) -> (BTreeMap<u32, Buckets>, Result<(), Unreadable>) {
    let is_wanted = |number: &u32| wanted.binary_search(&(number >> ASPECT_BITS)).is_ok();
    let mut present: Vec<u32> = chunk.series().filter(is_wanted).collect();
    present.sort_unstable();
    let mut found = Vec::new();
    let outcome = chunk.read(&present, &ALL_TIMES, pool, &mut found);
    let read: HashSet<u32> = found.iter().map(|run| run.series).collect();
    let lost: HashSet<u32> = present
        .iter()
        .filter(|number| !read.contains(number))
        .map(|number| number >> ASPECT_BITS)
        .collect();
    let mut of_series: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
    for run in found {
        let series = run.series >> ASPECT_BITS;
        if !lost.contains(&series) {
            of_series.entry(series).or_default().push(run);
        }
    }
    let all = of_series
        .into_iter()
        .filter_map(|(series, runs)| Some((series, buckets(runs)?)));
    (all.collect(), outcome)
}

/// Puts the aspects of a series together; `None` if there is no last sample to begin with.
fn buckets(mut runs: Vec<Run>) -> Option<Buckets> {
    let mut take = |aspect: u32| {
        let index = runs
            .iter()
            .position(|run| run.series & !(u32::MAX << ASPECT_BITS) == aspect)?;
        Some(runs.swap_remove(index))
    };
    let last = take(LAST)?;
    let count = take(COUNT)?.values;
    let values = |run: Run| run.values;
    let min = take(MIN).map(values);
    let max = take(MAX).map(values);
    let sum = take(SUM).map(values);
    let increase = take(INCREASE).map(values);
    let product = || last.values.iter().zip(&count).map(|(last, count)| last * count);
    Some(Buckets {
        times_ms: last.times_ms.to_vec(),
        min: min.unwrap_or_else(|| last.values.clone()),
        max: max.unwrap_or_else(|| last.values.clone()),
        sum: sum.unwrap_or_else(|| product().collect()),
        count,
        increase,
        last: last.values,
    })
}

#[cfg(test)]
mod tests;
