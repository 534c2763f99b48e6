//! Sealing: windows whose time is over leave memory for the day files.
//!
//! In this order: freeze what is due (readers still see it, appending goes on beside it), make the chunks, write
//! and sync the index, write and sync the chunks, forget the frozen windows. After a failure at any point everything is still in memory
//! or on disk, or both, which merging forgives.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Shared, Store};
use crate::chunk::{self, Chunk, ChunkKey};
use crate::day::{ChunkRow, DayWriter};
use crate::error::StoreError;
use crate::head::WindowHead;
use crate::run::{Run, SharedTimes, merge, subtract};
use crate::window::Window;

/// Bytes of chunks that are written in one transaction, if a single chunk has not more.
const TRANSACTION_BYTES: usize = 16 * 1024 * 1024;

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
    /// Seals the windows whose time is over by the controller's clock. To be called every half minute or so;
    /// does I/O.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be written; it stays in memory and is tried again next time.
    pub fn seal(&self, now_ms: i64) -> Result<Sealed, StoreError> {
        let options = &self.shared.options;
        self.shared.seal(options.group_samples_max, |head| {
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
        let mut writer = self.sealer.lock();
        let mut frozen = FrozenByWindow::new();
        for (group, window) in self.heads.freeze(group_samples_max, is_due) {
            frozen.entry((window.window, group)).or_default().push(window);
        }
        let mut total = Sealed::default();
        let mut transaction = Transaction::default();
        let mut bytes = 0;
        let mut frozen = frozen.into_iter().peekable();
        while let Some(((window, group), windows)) = frozen.next() {
            let row = self.encode(window, group, &windows, &mut transaction.sealed);
            bytes += row.as_ref().map_or(0, |row| row.data.len());
            transaction.rows.extend(row);
            transaction.windows.push((group, windows));
            let goes_on = frozen
                .peek()
                .is_some_and(|((next, _), _)| next.day() == window.day());
            if !goes_on || TRANSACTION_BYTES <= bytes {
                let done = std::mem::take(&mut transaction);
                bytes = 0;
                total = total.plus(self.commit(&mut writer, window.day(), done)?);
            }
        }
        writer.checkpoint();
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

    /// Makes the chunk of a window; none if all of it is sealed already.
    fn encode(&self, window: Window, group: u32, windows: &Frozen, sealed: &mut Sealed) -> Option<ChunkRow> {
        let mut runs = Vec::new();
        windows.iter().for_each(|head| head.read(None, &mut runs));
        let (mut runs, mut duplicates) = merge(runs);
        duplicates += self.subtract_sealed(window, group, &mut runs);
        let numbers = runs.iter().map(|run| run.series);
        self.index
            .write()
            .note_sealed(numbers, i32::try_from(window.day()).unwrap_or(i32::MAX));
        sealed.duplicates += duplicates as u64;
        let first = runs.iter().filter_map(|run| run.times_ms.first()).min()?;
        let last = runs.iter().filter_map(|run| run.times_ms.last()).max()?;
        let times = *first..=*last;
        let key = ChunkKey {
            group,
            start_ms: window.start_ms,
        };
        let data = chunk::encode(key, &runs, &self.pool);
        sealed.chunks += 1;
        sealed.samples += runs.iter().map(|run| run.values.len() as u64).sum::<u64>();
        sealed.bytes += data.len() as u64;
        Some(ChunkRow { key, times, data })
    }

    /// Takes away what chunks of the same window have. A damaged chunk counts as having nothing: what is applied
    /// again takes its place.
    fn subtract_sealed(&self, window: Window, group: u32, runs: &mut Vec<Run>) -> usize {
        let mut sealed: HashMap<u32, Vec<Arc<[i64]>>> = HashMap::new();
        let times = window.start_ms..=window.end_ms - 1;
        for file in self.days.files(window.day()..=window.day()) {
            self.days
                .read(&file, group, &times, &mut Vec::new(), |key, data| {
                    let outcome = Chunk::parse(data, key).and_then(|chunk| chunk.times(&self.pool));
                    let is_sound = outcome.is_ok();
                    for (series, times) in outcome.unwrap_or_default() {
                        sealed.entry(series).or_default().push(times);
                    }
                    is_sound
                });
        }
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

    fn commit(&self, writer: &mut DayWriter, day: i64, done: Transaction) -> Result<Sealed, StoreError> {
        if !done.rows.is_empty() {
            // First the series: a number in a chunk must be known.
            self.write_index()?;
            writer.write(&self.days, day, &done.rows)?;
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
