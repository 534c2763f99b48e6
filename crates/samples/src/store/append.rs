//! Appending: from a batch to rows in the heads of its groups.

use std::sync::atomic::Ordering;

use thiserror::Error;

use super::{Shared, Store};
use crate::head::{Head, Rows};
use crate::index::Place;
use crate::series::SeriesRef;

/// Samples that came together: every series has a value at every time.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Where the intake keeps the record; batches come in the order of their positions, several may have the
    /// same.
    pub position: i64,
    /// When the controller received it, Unix milliseconds; the same when it is applied again.
    pub received_ms: i64,
    /// The times, Unix milliseconds, in any order.
    pub times_ms: &'a [i64],
    /// The series; best those of one collector, in the same order each time.
    pub series: &'a [SeriesRef],
    /// All values, those of one time together.
    pub values: &'a [f64],
}

/// What became of a batch's samples; together they are all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppendOutcome {
    /// How many were taken. Those that are there already in another shape are found, and dropped, when sealing.
    pub appended: u64,
    /// How many were seen to be there already.
    pub duplicates: u64,
    /// How many are older than retention.
    pub too_old: u64,
    /// How many are too far ahead of their reception.
    pub too_new: u64,
    /// How many belong to no series: their [`SeriesRef`] is from another store or long out of use.
    pub unknown: u64,
}

/// The batch contradicts itself; nothing of it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Values do not fill the rectangle of times by series.
    #[error("{values} values for {times} times of {series} series")]
    NotARectangle {
        /// Number of values.
        values: usize,
        /// Number of times.
        times: usize,
        /// Number of series.
        series: usize,
    },
}

/// The columns of a batch that belong to one group.
struct Part {
    group: u32,
    columns: Vec<usize>,
}

impl Store {
    /// Takes samples into memory, which may be full already: see [`Store::is_full`]. Of several with the same series and time the first that was ever appended
    /// stays; to append a batch again is harmless.
    ///
    /// # Errors
    /// [`BatchError`] if the batch contradicts itself.
    pub fn append(&self, batch: &Batch<'_>) -> Result<AppendOutcome, BatchError> {
        if batch.times_ms.len().checked_mul(batch.series.len()) != Some(batch.values.len()) {
            return Err(BatchError::NotARectangle {
                values: batch.values.len(),
                times: batch.times_ms.len(),
                series: batch.series.len(),
            });
        }
        let mut outcome = AppendOutcome::default();
        // A batch without samples only moves the position.
        if let Some(first) = batch.series.first() {
            self.shared.append(batch, *first, &mut outcome);
        }
        self.shared.count(outcome);
        // After the samples: whoever sees the position must see what it stands for.
        self.shared.position.fetch_max(batch.position, Ordering::AcqRel);
        Ok(outcome)
    }

    /// Takes samples of one time that stand in no record of the intake: what the controller itself knows. Nothing
    /// applies them again, so those that are not sealed when the process dies are lost.
    ///
    /// # Errors
    /// [`BatchError`] if there are not as many values as series.
    pub fn append_unrecorded(
        &self,
        time_ms: i64,
        series: &[SeriesRef],
        values: &[f64],
    ) -> Result<AppendOutcome, BatchError> {
        self.append(&Batch {
            // Never before what was handed over: the intake must not keep records for these.
            position: self.shared.position.load(Ordering::Acquire),
            received_ms: time_ms,
            times_ms: &[time_ms],
            series,
            values,
        })
    }
}

impl Shared {
    fn append(&self, batch: &Batch<'_>, first: SeriesRef, outcome: &mut AppendOutcome) {
        let place = self.index.read().place(first);
        if let Place::Group(group) = place {
            let mut shard = self.heads.shard(group).write();
            // Nearly always the same series came before; then none of them has to be looked up.
            if let Some(head) = shard.get_mut(&group)
                && head.knows(batch.series)
            {
                self.push_rows(head, batch, outcome);
                return;
            }
        }
        let parts = self.split(batch, outcome);
        for part in &parts {
            let series: Vec<SeriesRef> = part.columns.iter().map(|column| batch.series[*column]).collect();
            let values: Vec<f64> = batch
                .values
                .chunks(batch.series.len())
                .flat_map(|row| part.columns.iter().map(|column| row[*column]))
                .collect();
            let mut shard = self.heads.shard(part.group).write();
            let head = shard.entry(part.group).or_insert_with(|| Head::new(part.group));
            self.push_rows(
                head,
                &Batch {
                    series: &series,
                    values: &values,
                    ..*batch
                },
                outcome,
            );
        }
    }

    fn push_rows(&self, head: &mut Head, batch: &Batch<'_>, outcome: &mut AppendOutcome) {
        let width = batch.series.len() as u64;
        // Nothing from before 1970, whatever retention and the clock say: days are counted from there.
        let oldest = batch.received_ms.saturating_sub(self.options.retention_ms).max(0);
        let newest = batch
            .received_ms
            .saturating_add(self.options.ahead_ms_max)
            .min(TIME_MS_MAX);
        for (time_ms, values) in batch.times_ms.iter().zip(batch.values.chunks(batch.series.len())) {
            let rows = Rows {
                position: batch.position,
                series: batch.series,
                time_ms: *time_ms,
                values,
            };
            if *time_ms < oldest {
                outcome.too_old += width;
            } else if newest < *time_ms {
                outcome.too_new += width;
            } else if head.push(rows) {
                outcome.appended += width;
            } else {
                outcome.duplicates += width;
            }
        }
    }

    /// Which columns go to which group; those of no group are counted.
    fn split(&self, batch: &Batch<'_>, outcome: &mut AppendOutcome) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut places = {
            let index = self.index.read();
            batch
                .series
                .iter()
                .map(|series| index.place(*series))
                .collect::<Vec<_>>()
        };
        if places.contains(&Place::Retired) {
            let mut index = self.index.write();
            for (place, series) in places.iter_mut().zip(batch.series) {
                index.revive(*series);
                *place = index.place(*series);
            }
        }
        for (column, place) in places.into_iter().enumerate() {
            let Place::Group(group) = place else {
                outcome.unknown += batch.times_ms.len() as u64;
                continue;
            };
            match parts.iter_mut().find(|part| part.group == group) {
                Some(part) => part.columns.push(column),
                None => parts.push(Part {
                    group,
                    columns: vec![column],
                }),
            }
        }
        parts
    }

    fn count(&self, outcome: AppendOutcome) {
        self.heads
            .count_pushed(usize::try_from(outcome.appended).unwrap_or(usize::MAX));
        let counters = &self.counters;
        for (counter, count) in [
            (&counters.appended, outcome.appended),
            (&counters.duplicates, outcome.duplicates),
            (&counters.too_old, outcome.too_old),
            (&counters.too_new, outcome.too_new),
            (&counters.unknown, outcome.unknown),
        ] {
            if 0 < count {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// The last millisecond of the year 9998; file names have four digits for the year.
const TIME_MS_MAX: i64 = 253_370_764_799_999;
