//! Sealing: windows whose time is over leave memory for the day files.
//!
//! In this order: freeze what is due (readers still see it, appending goes on beside it), make the chunks, write
//! and sync the index, write and sync the chunks, forget the frozen windows. After a failure at any point everything is still in memory
//! or on disk, or both, which merging forgives.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Shared, Store};
use crate::chunk::{self, Chunk, ChunkKey, Form};
use crate::chunks::{ChunkRow, Wanted};
use crate::error::StoreError;
use crate::head::WindowHead;
use crate::run::{Run, SharedTimes, merge, subtract};
use crate::steps;
use crate::tier::{Period, Tier};
use crate::window::Window;
use crate::zstd_pool::ZstdPool;

/// Bytes of chunks that are written in one transaction, if a single chunk has not more.
const TRANSACTION_BYTES: usize = 16 * 1024 * 1024;
/// Samples of one series in one chunk. An hour of milliseconds does not fit, and need not.
const CHUNK_POINTS_MAX: usize = 1 << 20;

/// What a sealing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Chunks written.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Samples left out because they were there already.
    pub duplicates: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
}

/// The frozen windows that become one chunk.
type Frozen = Vec<Arc<WindowHead>>;
/// All of them by group and begin, so that what is read together stands together.
type FrozenByWindow = BTreeMap<(Window, u32), Frozen>;

/// Chunks of one day that are to be written together.
#[derive(Default)]
struct Transaction {
    rows: Vec<ChunkRow>,
    windows: Vec<(u32, Frozen)>,
    sealed: Sealed,
}

impl Store {
    /// Seals the windows whose time is over by the controller's clock, or all if memory is full. To be called every half minute or so;
    /// does I/O.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be written; it stays in memory and is tried again next time.
    pub fn seal(&self, now_ms: i64) -> Result<Sealed, StoreError> {
        let options = &self.shared.options;
        let group_samples_max = if self.is_full() {
            0
        } else {
            options.group_samples_max
        };
        self.shared.seal(group_samples_max, |head| {
            let seen_ms = *head.seen_ms.get_or_insert(now_ms);
            head.window.end_ms.saturating_add(options.seal_delay_ms) <= now_ms
                && seen_ms.saturating_add(options.seal_late_ms) <= now_ms
        })
    }

    /// Seals everything, whether its time is over or not, so that nothing has to be applied again after a
    /// restart.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be written; it stays in memory.
    pub fn flush_all(&self) -> Result<Sealed, StoreError> {
        self.shared.seal(0, |_| true)
    }
}

impl Shared {
    fn seal(
        &self,
        group_samples_max: usize,
        is_due: impl FnMut(&mut WindowHead) -> bool,
    ) -> Result<Sealed, StoreError> {
        let _sealer = self.sealer.lock();
        let mut frozen = FrozenByWindow::new();
        for (group, window) in self.heads.freeze(group_samples_max, is_due) {
            frozen.entry((window.window, group)).or_default().push(window);
        }
        let mut total = Sealed::default();
        let mut transaction = Transaction::default();
        let mut bytes = 0;
        let mut frozen = frozen.into_iter().peekable();
        while let Some(((window, group), windows)) = frozen.next() {
            let rows = self.encode(window, group, &windows, &mut transaction.sealed);
            bytes += rows.iter().map(|row| row.data.len()).sum::<usize>();
            transaction.rows.extend(rows);
            transaction.windows.push((group, windows));
            let goes_on = frozen
                .peek()
                .is_some_and(|((next, _), _)| next.day() == window.day());
            if !goes_on || TRANSACTION_BYTES <= bytes {
                let done = std::mem::take(&mut transaction);
                bytes = 0;
                total = total.plus(self.commit(window.day(), &done)?);
            }
        }
        if 0 < total.chunks {
            self.chunks.settle(0);
        }
        Ok(total)
    }

    /// Writes new and changed series; always before chunks that have their samples.
    pub(crate) fn write_index(&self) -> Result<(), StoreError> {
        let mut database = self.index_db.lock();
        let changes = self.index.write().take_changes();
        let outcome = database.write(&changes);
        if outcome.is_err() {
            self.index.write().give_back(changes);
        }
        outcome
    }

    /// Makes the chunk of a window, or several if a series has very many samples; none if all of it is sealed
    /// already.
    fn encode(&self, window: Window, group: u32, windows: &Frozen, sealed: &mut Sealed) -> Vec<ChunkRow> {
        let mut runs = Vec::new();
        windows
            .iter()
            .for_each(|head| head.read(None, i64::MIN, &mut runs));
        let (mut runs, mut duplicates) = merge(runs);
        duplicates += self.subtract_sealed(window, group, &mut runs);
        sealed.duplicates += duplicates as u64;
        let numbers = runs.iter().map(|run| run.series);
        let day = i32::try_from(window.day()).unwrap_or(i32::MAX);
        self.index.write().note_sealed(numbers, day);
        let key = ChunkKey {
            tier: Tier::Raw,
            group,
            start_ms: window.start_ms,
        };
        let rows: Vec<ChunkRow> = split(runs, CHUNK_POINTS_MAX)
            .iter()
            .filter_map(|runs| chunk_row(key, runs, &self.pool, Form::Quick))
            .collect();
        sealed.chunks += rows.len() as u64;
        sealed.samples += rows.iter().map(|row| row.samples).sum::<u64>();
        sealed.bytes += rows.iter().map(|row| row.data.len() as u64).sum::<u64>();
        rows
    }

    /// Takes away what chunks of the same window have. What is damaged does not count: what is applied again
    /// takes its place.
    fn subtract_sealed(&self, window: Window, group: u32, runs: &mut Vec<Run>) -> usize {
        let mut sealed: HashMap<u32, Vec<Arc<[i64]>>> = HashMap::new();
        let wanted = Wanted {
            group,
            times: window.start_ms..=window.end_ms - 1,
            series: None,
        };
        let period = Period::holding(Tier::Raw, window.day());
        self.chunks
            .read(period, &wanted, &mut Vec::new(), &mut |found, data| {
                let Ok(chunk) = Chunk::parse(data, found.key) else {
                    return false;
                };
                let (sound, outcome) = chunk.times(&self.pool);
                for (series, times) in sound {
                    sealed.entry(series).or_default().push(times);
                }
                outcome.is_ok()
            });
        if sealed.is_empty() {
            return 0;
        }
        let mut shared = SharedTimes::default();
        let mut duplicates = 0;
        for run in runs.iter_mut() {
            if let Some(times) = sealed.get(&run.series) {
                duplicates += subtract(run, times, &mut shared);
            }
        }
        runs.retain(|run| !run.values.is_empty());
        duplicates
    }

    fn commit(&self, day: i64, done: &Transaction) -> Result<Sealed, StoreError> {
        if !done.rows.is_empty() {
            // First the series: a number in a chunk must be known.
            self.write_index()?;
            steps::done("index written");
            self.chunks.add(Period::holding(Tier::Raw, day), &done.rows)?;
            steps::done("chunks written");
        }
        for (group, windows) in &done.windows {
            self.heads.forget(*group, windows);
        }
        self.counters
            .sealed
            .fetch_add(done.sealed.samples, Ordering::Relaxed);
        self.counters
            .duplicates
            .fetch_add(done.sealed.duplicates, Ordering::Relaxed);
        Ok(done.sealed)
    }
}

/// Cuts runs so that none is longer than `points_max`; nearly always there is nothing to cut.
fn split(runs: Vec<Run>, points_max: usize) -> Vec<Vec<Run>> {
    let longest = runs.iter().map(|run| run.values.len()).max().unwrap_or(0);
    if longest <= points_max {
        return vec![runs];
    }
    let mut pieces = vec![Vec::new(); longest.div_ceil(points_max)];
    let mut shared = SharedTimes::default();
    for run in runs {
        let parts = run.times_ms.chunks(points_max).zip(run.values.chunks(points_max));
        for (piece, (times, values)) in pieces.iter_mut().zip(parts) {
            let times_ms = shared.share(times.to_vec());
            piece.push(Run {
                series: run.series,
                times_ms,
                values: values.to_vec(),
            });
        }
    }
    pieces
}

/// The chunk of runs that are ascending in time, to be finished later if it is a quick one.
pub(super) fn chunk_row(key: ChunkKey, runs: &[Run], pool: &ZstdPool, form: Form) -> Option<ChunkRow> {
    let numbers = || runs.iter().map(|run| run.series);
    let first = runs.iter().filter_map(|run| run.times_ms.first()).min()?;
    let last = runs.iter().filter_map(|run| run.times_ms.last()).max()?;
    let samples = runs.iter().map(|run| run.values.len() as u64).sum();
    Some(ChunkRow {
        key,
        times: *first..=*last,
        series: numbers().min()?..=numbers().max()?,
        samples,
        is_final: form == Form::Dense,
        data: chunk::encode(key, runs, pool, form),
    })
}

impl Sealed {
    const fn plus(self, other: Self) -> Self {
        Self {
            chunks: self.chunks + other.chunks,
            samples: self.samples + other.samples,
            duplicates: self.duplicates + other.duplicates,
            bytes: self.bytes + other.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_with_very_many_samples_is_cut_and_nothing_is_lost() {
        let run = |series, length: i64| Run {
            series,
            times_ms: (0..length).collect(),
            values: (0..length).map(|n| n as f64).collect(),
        };
        let pieces = split(vec![run(1, 25), run(2, 4), run(3, 10)], 10);
        let shape: Vec<Vec<(u32, usize)>> = pieces
            .iter()
            .map(|runs| runs.iter().map(|run| (run.series, run.values.len())).collect())
            .collect();
        assert_eq!(
            shape,
            [vec![(1, 10), (2, 4), (3, 10)], vec![(1, 10)], vec![(1, 5)]]
        );
        assert_eq!((pieces[2][0].times_ms[4], pieces[2][0].values[4]), (24, 24.0));
        assert_eq!(split(vec![run(1, 10)], 10).len(), 1);
    }
}
