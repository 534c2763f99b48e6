//! Compacting: the chunks of a day that is over become one chunk a group, and roll-ups.
//!
//! In this order for each group: read what is there, make roll-ups and write them, write the dense chunk in the
//! place of what was read. A day is compacted into a new file the first time, and in place where late samples
//! have come since. What is not final yet is compacted (again): after a crash at any point the same comes out.
//!
//! Memory is bounded by taking the series of a group a slice at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use muster_model::{MetricType, is_stale};

use super::seal::chunk_row;
use super::{Shared, Store};
use crate::chunk::{Chunk, ChunkKey, Form};
use crate::chunks::{ChunkRow, Rewritten, RowRef, Wanted};
use crate::error::StoreError;
use crate::rollup::{self, Buckets, roll_up};
use crate::run::{Run, SharedTimes, merge};
use crate::steps;
use crate::tier::{Period, Tier};
use crate::window::DAY_MS;

/// Series that are in memory at once.
const SLICE_SERIES: usize = 1_000;
/// Samples of a dense chunk, about: few enough that reading one series of it is cheap.
const ROW_SAMPLES: usize = 1 << 18;
/// Bytes of roll-ups that are written in one transaction.
const TRANSACTION_BYTES: usize = 8 * 1024 * 1024;
/// How long before a day its counters' last values are looked for, in milliseconds.
const BEFORE_MS: i64 = 2 * 3_600_000;

/// What compacting did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Days of a group that were compacted and rolled up.
    pub groups: u64,
    /// Chunks written.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
}

/// One group's chunks of a day.
struct GroupDay {
    period: Period,
    group: u32,
    /// Every series that has samples, ascending.
    series: Vec<u32>,
    /// Where they were found.
    places: Vec<RowRef>,
    is_damaged: bool,
}

/// Roll-ups to be written.
#[derive(Default)]
struct Pending {
    by_period: BTreeMap<Period, (Vec<RowRef>, Vec<ChunkRow>)>,
    bytes: usize,
}

impl Store {
    /// Compacts and rolls up the days that are over, and those to which late samples have come since. To be called
    /// every quarter of an hour or so; cheap if there is nothing to do, else as long as it takes to read and write a
    /// day. Reading, appending and sealing go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be written; what was there stays, and is compacted next time.
    pub fn compact(&self, now_ms: i64) -> Result<Compacted, StoreError> {
        let shared = &self.shared;
        let _maintenance = shared.maintenance.lock();
        let over_ms = now_ms.saturating_sub(shared.options.compact_delay_ms);
        let mut total = Compacted::default();
        for period in shared.chunks.periods(Tier::Raw, &(0..=over_ms)) {
            if (period.day + 1) * DAY_MS <= over_ms {
                total = total.plus(shared.compact_period(period)?);
            }
        }
        Ok(total)
    }
}

impl Shared {
    /// Compacts what is not final in a day.
    pub(super) fn compact_period(&self, period: Period) -> Result<Compacted, StoreError> {
        let state = self.chunks.state(period)?;
        let open = state.groups.iter().filter(|(_, is_final)| !is_final);
        let open: Vec<u32> = open.map(|(group, _)| *group).collect();
        if open.is_empty() && state.is_rewritten {
            return Ok(Compacted::default());
        }
        let mut total = Compacted::default();
        if state.is_rewritten {
            let mut is_whole = true;
            for group in open {
                match self.compact_in_place(period, group)? {
                    Some(compacted) => total = total.plus(compacted),
                    None => is_whole = false,
                }
            }
            self.chunks.settle(0);
            if is_whole {
                return Ok(total);
            }
            // What is damaged is set aside with the file, and what is not goes to a new one.
        }
        self.chunks.rewrite(period, &mut |sink| {
            let mut rewritten = Rewritten::Whole;
            let mut pending = Pending::default();
            for (group, _) in &state.groups {
                let mut day = self.group_day(period, *group);
                let rows = self.compact_group(&mut day, &mut pending);
                if day.is_damaged {
                    rewritten = Rewritten::Partly;
                }
                total = total.plus(Compacted::of(&rows));
                sink(rows)?;
                self.flush_if(TRANSACTION_BYTES, &mut pending)?;
            }
            self.flush_if(0, &mut pending)?;
            Ok(rewritten)
        })?;
        self.counters.compacted.fetch_add(total.groups, Ordering::Relaxed);
        self.chunks.settle(0);
        Ok(total)
    }

    /// Nothing is done if some of it is damaged.
    fn compact_in_place(&self, period: Period, group: u32) -> Result<Option<Compacted>, StoreError> {
        let mut day = self.group_day(period, group);
        let mut pending = Pending::default();
        let rows = self.compact_group(&mut day, &mut pending);
        if day.is_damaged {
            return Ok(None);
        }
        self.flush_if(0, &mut pending)?;
        steps::done("rolled up");
        self.chunks.replace(period, &day.places, &rows)?;
        steps::done("replaced");
        self.counters.compacted.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Compacted::of(&rows)))
    }

    /// Looks at what a group has in a day.
    fn group_day(&self, period: Period, group: u32) -> GroupDay {
        let mut day = GroupDay {
            period,
            group,
            series: Vec::new(),
            places: Vec::new(),
            is_damaged: false,
        };
        let mut series = BTreeSet::new();
        let mut damaged = Vec::new();
        let wanted = day.wanted(None);
        self.chunks
            .read(period, &wanted, &mut damaged, &mut |found, data| {
                let Ok(chunk) = Chunk::parse(data, found.key) else {
                    return false;
                };
                series.extend(chunk.series());
                day.places.push(found.place);
                true
            });
        day.series = series.into_iter().collect();
        day.places.sort_unstable();
        day.places.dedup();
        day.is_damaged = !damaged.is_empty();
        day
    }

    /// The dense chunks of a group's day; its roll-ups are put to the pending ones.
    fn compact_group(&self, day: &mut GroupDay, pending: &mut Pending) -> Vec<ChunkRow> {
        let mut rows = Vec::new();
        let mut fine = Vec::new();
        let mut coarse = BTreeMap::new();
        let series = std::mem::take(&mut day.series);
        for slice in series.chunks(SLICE_SERIES) {
            let (runs, is_sound) = self.read_samples(day.period, &day.wanted(Some(slice)));
            day.is_damaged |= !is_sound;
            let values_before = self.values_before(day, slice);
            let mut buckets = BTreeMap::new();
            for run in &runs {
                let is_counter = self.is_counter(run.series);
                let before = values_before.get(&run.series).copied();
                let of =
                    |tier: Tier| roll_up(&run.times_ms, &run.values, tier.bucket_ms(), is_counter, before);
                buckets.insert(run.series, of(Tier::FiveMinutes));
                coarse.insert(run.series, of(Tier::Hour));
            }
            fine.extend(self.rollup_rows(day.key(Tier::FiveMinutes), buckets));
            rows.extend(self.dense_rows(day.key(Tier::Raw), &runs));
        }
        let week = day.chunk_times(Tier::Hour);
        let (mut hours, hour_places) = self.read_rollups(Tier::Hour, day.group, &week);
        let span = day.span();
        hours
            .values_mut()
            .for_each(|buckets| buckets.retain(|time| !span.contains(&time)));
        for (series, buckets) in coarse {
            hours
                .entry(series)
                .or_default()
                .replace(&(*span.start()..*span.end() + 1), buckets);
        }
        hours.retain(|_, buckets| !buckets.times_ms.is_empty());
        let (_, fine_places) = self.read_rollups(Tier::FiveMinutes, day.group, &span);
        // Of a damaged day the roll-ups that were made of it while it was whole are better.
        if !day.is_damaged || fine_places.is_empty() {
            pending.push(
                Period::holding(Tier::FiveMinutes, day.period.day),
                fine_places,
                fine,
            );
            let hours = self.rollup_rows(day.key(Tier::Hour), hours);
            pending.push(Period::holding(Tier::Hour, day.period.day), hour_places, hours);
        }
        rows
    }

    /// All samples of some series of a day, and whether none is damaged.
    fn read_samples(&self, period: Period, wanted: &Wanted<'_>) -> (Vec<Run>, bool) {
        let series = wanted.series.unwrap_or_default();
        let mut runs = Vec::new();
        let mut damaged = Vec::new();
        self.chunks
            .read(period, wanted, &mut damaged, &mut |found, data| {
                let chunk = Chunk::parse(data, found.key);
                chunk
                    .and_then(|chunk| chunk.read(series, &wanted.times, &self.pool, &mut runs))
                    .is_ok()
            });
        (merge(runs).0, damaged.is_empty())
    }

    /// The last values of counters before a day.
    fn values_before(&self, day: &GroupDay, series: &[u32]) -> BTreeMap<u32, f64> {
        let counters: Vec<u32> = series
            .iter()
            .copied()
            .filter(|number| self.is_counter(*number))
            .collect();
        let midnight = *day.span().start();
        let wanted = Wanted {
            group: day.group,
            times: midnight - BEFORE_MS..=midnight - 1,
            series: Some(&counters),
        };
        let yesterday = Period::holding(Tier::Raw, day.period.day - 1);
        if counters.is_empty() || yesterday == day.period {
            return BTreeMap::new();
        }
        let (runs, _) = self.read_samples(yesterday, &wanted);
        let last = |run: &Run| {
            let recent = run.times_ms.iter().zip(&run.values).rev();
            let mut recent = recent.take_while(|(time, _)| midnight - BEFORE_MS <= **time);
            recent
                .find(|(_, value)| !is_stale(**value) && !value.is_nan())
                .map(|(_, value)| *value)
        };
        runs.iter()
            .filter_map(|run| Some((run.series, last(run)?)))
            .collect()
    }

    fn is_counter(&self, series: u32) -> bool {
        let index = self.index.read();
        index
            .live(series)
            .is_some_and(|meta| meta.metric_type == MetricType::Counter)
    }

    fn dense_rows(&self, key: ChunkKey, runs: &[Run]) -> Vec<ChunkRow> {
        pieces(runs, ROW_SAMPLES)
            .filter_map(|runs| chunk_row(key, runs, &self.pool, Form::Dense))
            .collect()
    }

    /// The chunks of roll-ups, with the numbers of the series themselves beside them.
    fn rollup_rows(&self, key: ChunkKey, all: BTreeMap<u32, Buckets>) -> Vec<ChunkRow> {
        let mut shared = SharedTimes::default();
        let mut rows = Vec::new();
        let mut all = all.into_iter().peekable();
        while all.peek().is_some() {
            let mut runs = Vec::new();
            let mut numbers: Vec<u32> = Vec::new();
            let mut samples = 0;
            while samples < ROW_SAMPLES
                && let Some((series, buckets)) = all.next()
            {
                numbers.push(series);
                rollup::runs(series, buckets, &mut shared, &mut runs);
                samples = runs.iter().map(|run| run.values.len()).sum();
            }
            if let (Some(first), Some(last)) = (numbers.first(), numbers.last())
                && let Some(row) = chunk_row(key, &runs, &self.pool, Form::Dense)
            {
                rows.push(ChunkRow {
                    series: *first..=*last,
                    ..row
                });
            }
        }
        rows
    }

    /// The roll-ups of a group, and where they are; what was written later counts.
    fn read_rollups(
        &self,
        tier: Tier,
        group: u32,
        times: &RangeInclusive<i64>,
    ) -> (BTreeMap<u32, Buckets>, Vec<RowRef>) {
        let mut places = Vec::new();
        let mut all: Vec<BTreeMap<u32, Buckets>> = Vec::new();
        let wanted = Wanted {
            group,
            times: times.clone(),
            series: None,
        };
        for period in self.chunks.periods(tier, times) {
            self.chunks
                .read(period, &wanted, &mut Vec::new(), &mut |found, data| {
                    let Ok(chunk) = Chunk::parse(data, found.key) else {
                        return false;
                    };
                    let (buckets, outcome) = rollup::read(&chunk, &rollup::series(&chunk), &self.pool);
                    all.push(buckets);
                    if outcome.is_ok() {
                        // What is damaged stays where it is, and is reported for as long as it does.
                        places.push(found.place);
                    }
                    outcome.is_ok()
                });
        }
        let mut merged: BTreeMap<u32, Buckets> = BTreeMap::new();
        for (series, buckets) in all.into_iter().rev().flatten() {
            match merged.get_mut(&series) {
                Some(later) => later.fill_up(&buckets),
                None => drop(merged.insert(series, buckets)),
            }
        }
        (merged, places)
    }

    /// Writes roll-ups if there are more bytes of them.
    fn flush_if(&self, bytes_max: usize, pending: &mut Pending) -> Result<(), StoreError> {
        if pending.bytes < bytes_max {
            return Ok(());
        }
        for (period, (outs, ins)) in std::mem::take(&mut pending.by_period) {
            self.chunks.replace(period, &outs, &ins)?;
            steps::done("roll-ups written");
        }
        pending.bytes = 0;
        Ok(())
    }
}

impl Pending {
    fn push(&mut self, period: Period, outs: Vec<RowRef>, ins: Vec<ChunkRow>) {
        self.bytes += ins.iter().map(|row| row.data.len()).sum::<usize>();
        let (all_outs, all_ins) = self.by_period.entry(period).or_default();
        all_outs.extend(outs);
        all_ins.extend(ins);
    }
}

impl GroupDay {
    /// Its times, Unix milliseconds.
    const fn span(&self) -> RangeInclusive<i64> {
        self.period.day * DAY_MS..=(self.period.day + 1) * DAY_MS - 1
    }

    /// The times of the chunk of a tier that has the day.
    fn chunk_times(&self, tier: Tier) -> RangeInclusive<i64> {
        let days = tier.chunk_days(self.period.day);
        days.start() * DAY_MS..=(days.end() + 1) * DAY_MS - 1
    }

    fn key(&self, tier: Tier) -> ChunkKey {
        ChunkKey {
            tier,
            group: self.group,
            start_ms: *self.chunk_times(tier).start(),
        }
    }

    fn wanted<'a>(&self, series: Option<&'a [u32]>) -> Wanted<'a> {
        Wanted {
            group: self.group,
            times: self.span(),
            series,
        }
    }
}

/// Cuts runs (ascending by series) into pieces of about so many samples.
fn pieces(runs: &[Run], samples_max: usize) -> impl Iterator<Item = &[Run]> {
    let mut rest = runs;
    std::iter::from_fn(move || {
        let mut samples = 0;
        let count = rest
            .iter()
            .take_while(|run| {
                let has_room = samples < samples_max;
                samples += run.values.len();
                has_room
            })
            .count();
        let (piece, others) = rest.split_at(count);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

impl Compacted {
    fn of(rows: &[ChunkRow]) -> Self {
        Self {
            groups: 1,
            chunks: rows.len() as u64,
            samples: rows.iter().map(|row| row.samples).sum(),
            bytes: rows.iter().map(|row| row.data.len() as u64).sum(),
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            groups: self.groups + other.groups,
            chunks: self.chunks + other.chunks,
            samples: self.samples + other.samples,
            bytes: self.bytes + other.bytes,
        }
    }
}

#[cfg(test)]
mod tests;
