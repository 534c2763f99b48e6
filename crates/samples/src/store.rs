//! The store as its users see it: making series, appending, sealing, retention.
//!
//! Who calls what: one consumer appends in the order of the intake; a periodic task calls [`Store::seal`] and
//! [`Store::retain`]; anyone reads through a [`Reader`]. Everything is synchronous; sealing and reading do I/O
//! and belong on a thread that may block.
//!
//! Locks, always taken in this order: maintenance, sealer, index database, index, one shard of the heads. None is held
//! during I/O on chunks.

mod append;
mod compact;
mod copy;
mod retain;
mod seal;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use camino::Utf8Path;
use parking_lot::{Mutex, RwLock};

use crate::aside;
use crate::chunks::{ChunkStore, Usage};
use crate::damage::{Damage, Damages};
use crate::error::StoreError;
use crate::files::Files;
use crate::heads::Heads;
use crate::index::{Cut, Index, IndexDb, Loaded, SeriesLimits};
use crate::reader::Reader;
use crate::series::{SeriesRef, SeriesRefused, SeriesSpec};
use crate::tier::{Period, Tier};
use crate::zstd_pool::ZstdPool;

pub use append::{AppendOutcome, Batch, BatchError};
pub use compact::Compacted;
pub use retain::Retained;
pub use seal::Sealed;

/// Settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many series a server may have; those of the last retention period count.
    pub series: SeriesLimits,
    /// Most series that have no samples any more, only roll-ups. Beyond it those that ended first are forgotten.
    pub series_rested_max: usize,
    /// How long samples are kept, in milliseconds. Whole days are removed, once all of a day is older.
    pub retention_ms: i64,
    /// How long roll-ups to 5 minutes are kept, in milliseconds. Whole weeks are removed.
    pub five_minutes_retention_ms: i64,
    /// How long roll-ups to an hour are kept, in milliseconds. Whole years are removed.
    pub hour_retention_ms: i64,
    /// How long after its end a day is compacted, in milliseconds: when what is live has been sealed.
    pub compact_delay_ms: i64,
    /// How far a sample may be ahead of its reception, in milliseconds.
    pub ahead_ms_max: i64,
    /// How long after its end a window is still waited for, in milliseconds.
    pub seal_delay_ms: i64,
    /// How long a window that is first seen after its end waits for more of the same backlog, in milliseconds.
    pub seal_late_ms: i64,
    /// Samples in memory beyond which a group's windows are sealed before their time, per group.
    pub group_samples_max: usize,
    /// Samples in memory, over all groups, from which on [`Store::is_full`] and everything is sealed before its
    /// time.
    pub head_samples_max: usize,
}

impl Options {
    /// The default of [`Options::series_rested_max`].
    pub const SERIES_RESTED_MAX: usize = 500_000;
    /// The default of [`Options::retention_ms`]: 7 days.
    pub const RETENTION_MS: i64 = 7 * 86_400_000;
    /// The default of [`Options::five_minutes_retention_ms`]: 90 days.
    pub const FIVE_MINUTES_RETENTION_MS: i64 = 90 * 86_400_000;
    /// The default of [`Options::hour_retention_ms`]: 5 years.
    pub const HOUR_RETENTION_MS: i64 = 5 * 365 * 86_400_000;
    /// The default of [`Options::compact_delay_ms`]: half an hour.
    pub const COMPACT_DELAY_MS: i64 = 1_800_000;
    /// The default of [`Options::ahead_ms_max`]: an hour. Whoever decides about clocks is stricter.
    pub const AHEAD_MS_MAX: i64 = 3_600_000;
    /// The default of [`Options::seal_delay_ms`]: 5 minutes, so that what is live is in memory.
    pub const SEAL_DELAY_MS: i64 = 300_000;
    /// The default of [`Options::seal_late_ms`]: 10 minutes.
    pub const SEAL_LATE_MS: i64 = 600_000;
    /// The default of [`Options::group_samples_max`].
    pub const GROUP_SAMPLES_MAX: usize = 8_000_000;
    /// The default of [`Options::head_samples_max`]: about 1 GB, and an hour of a million series every 15 s.
    pub const HEAD_SAMPLES_MAX: usize = 250_000_000;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            series: SeriesLimits::default(),
            series_rested_max: Self::SERIES_RESTED_MAX,
            retention_ms: Self::RETENTION_MS,
            five_minutes_retention_ms: Self::FIVE_MINUTES_RETENTION_MS,
            hour_retention_ms: Self::HOUR_RETENTION_MS,
            compact_delay_ms: Self::COMPACT_DELAY_MS,
            ahead_ms_max: Self::AHEAD_MS_MAX,
            seal_delay_ms: Self::SEAL_DELAY_MS,
            seal_late_ms: Self::SEAL_LATE_MS,
            group_samples_max: Self::GROUP_SAMPLES_MAX,
            head_samples_max: Self::HEAD_SAMPLES_MAX,
        }
    }
}

/// Figures about a store; counters count from its opening.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series in use.
    pub series: u64,
    /// Series without samples that still have roll-ups.
    pub series_rested: u64,
    /// Samples in memory that are not sealed.
    pub head_samples: u64,
    /// About how much memory they take, in bytes.
    pub head_bytes: u64,
    /// Day files.
    pub day_files: u64,
    /// Their size, in bytes.
    pub day_file_bytes: u64,
    /// Files of roll-ups.
    pub rollup_files: u64,
    /// Their size, in bytes.
    pub rollup_file_bytes: u64,
    /// Days of a group that were compacted and rolled up.
    pub compacted: u64,
    /// Periods that were looked through for damage.
    pub verified: u64,
    /// Samples that were appended.
    pub appended: u64,
    /// Samples that were there already, whether found when appending or when sealing.
    pub duplicates: u64,
    /// Samples refused for being older than retention.
    pub too_old: u64,
    /// Samples refused for being ahead of their reception.
    pub too_new: u64,
    /// Samples refused for belonging to no series.
    pub unknown: u64,
    /// Samples that were sealed.
    pub sealed: u64,
    /// Series that were refused.
    pub series_refused: u64,
    /// Parts found damaged.
    pub damaged: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    appended: AtomicU64,
    duplicates: AtomicU64,
    too_old: AtomicU64,
    too_new: AtomicU64,
    unknown: AtomicU64,
    sealed: AtomicU64,
    series_refused: AtomicU64,
    compacted: AtomicU64,
    verified: AtomicU64,
}

/// What store and readers share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) index: RwLock<Index>,
    pub(crate) index_db: Mutex<IndexDb>,
    pub(crate) heads: Heads,
    pub(crate) chunks: Box<dyn ChunkStore>,
    pub(crate) pool: ZstdPool,
    pub(crate) damages: Arc<Damages>,
    pub(crate) counters: Counters,
    /// Held by whoever replaces or removes files, or needs them to stay.
    maintenance: Mutex<()>,
    sealer: Mutex<()>,
    /// The period that was looked through last.
    verified: Mutex<Option<Period>>,
    /// The highest intake position that was handed over, in whole or in part.
    position: AtomicI64,
}

/// The sample store: heads in memory, chunks in day files, an index of series.
///
/// ```
/// use muster_base::id::{ResourceId, ServerId};
/// use muster_model::{Labels, MetricType};
/// use muster_samples::{Batch, Filter, Options, Select, SeriesSpec, Store, selector};
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = camino::Utf8Path::from_path(folder.path()).unwrap();
/// let store = Store::open(dir, Options::default())?;
/// let load = store.series(&SeriesSpec {
///     server: ServerId(1),
///     resource: ResourceId(1),
///     name: "node_load1".to_owned(),
///     labels: Labels::default(),
///     metric_type: MetricType::Gauge,
///     unit: String::new(),
///     collector: "load".to_owned(),
///     interval_ms: 15_000,
/// })?;
/// let now = 1_763_769_600_000;
/// store.append(&Batch { position: 1, received_ms: now, times_ms: &[now], series: &[load], values: &[0.5] })?;
/// let matchers = selector::parse("node_load1")?;
/// let found = store.snapshot().select(&Select::new(Filter::new(&matchers), now - 1_000, now));
/// assert_eq!(found.series[0].values, [0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens the store in a folder, which is made if need be. What is damaged is set aside or passed over, and
    /// told by [`Store::damaged`].
    ///
    /// # Errors
    /// [`StoreError`] if the folder or a sound file cannot be used, or a file is of a newer version.
    pub fn open(dir: &Utf8Path, options: Options) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|source| StoreError::io("create", dir, source))?;
        let damages = Arc::new(Damages::default());
        aside::note_all(dir, &damages)?;
        let (index_db, loaded) = open_index(dir, &damages)?;
        for damage in &loaded.damaged {
            damages.note(damage);
        }
        let shared = Shared {
            index: RwLock::new(Index::new(loaded, options.series)),
            index_db: Mutex::new(index_db),
            heads: Heads::default(),
            chunks: Box::new(Files::open(dir, Arc::clone(&damages))?),
            pool: ZstdPool::default(),
            damages,
            counters: Counters::default(),
            maintenance: Mutex::new(()),
            sealer: Mutex::new(()),
            verified: Mutex::new(None),
            position: AtomicI64::new(0),
            options,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Finds a series or makes it. Type, unit and interval are taken over if they have changed.
    ///
    /// # Errors
    /// [`SeriesRefused`] if it is new and its server has as many as it may have, or its name is none.
    pub fn series(&self, spec: &SeriesSpec) -> Result<SeriesRef, SeriesRefused> {
        if let Some(known) = self.shared.index.read().find(spec) {
            return Ok(known);
        }
        let outcome = self.shared.index.write().find_or_create(spec);
        if outcome.is_err() {
            self.shared
                .counters
                .series_refused
                .fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// The lowest intake position that may hold samples which are not on disk yet; records below it are no
    /// longer needed. 0 before anything was handed over.
    #[must_use]
    pub fn safe_position(&self) -> i64 {
        // Read before the heads: what is handed over meanwhile has a higher position.
        let position = self.shared.position.load(Ordering::Acquire);
        self.shared
            .heads
            .first_position()
            .map_or(position, |first| first.min(position))
    }

    /// Says that everything up to and including `position` was handed over, samples or not, so that
    /// [`Store::safe_position`] can pass it.
    pub fn passed(&self, position: i64) {
        self.shared
            .position
            .fetch_max(position.saturating_add(1), Ordering::AcqRel);
    }

    /// Whether memory holds as many samples as it may. Whoever appends asks before, and waits: the intake keeps
    /// what is not appended, and the next sealing makes room unless it fails.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.options.head_samples_max <= self.shared.heads.sample_count()
    }

    /// A reader, which any thread may use for as long as it likes; each of its calls sees every batch that was
    /// appended before it, and of a batch all rows of a group or none.
    #[must_use]
    pub fn snapshot(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Everything found damaged since the store was opened.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        self.shared.damages.all()
    }

    /// Reads everything on disk and returns what is damaged. Takes as long as reading it takes.
    #[must_use]
    pub fn verify(&self) -> Vec<Damage> {
        let periods = self.shared.periods();
        periods
            .into_iter()
            .flat_map(|period| self.verify_period(period))
            .collect()
    }

    /// Reads the next part of what is on disk (a day, a week of roll-ups, a year of them), in turn, and returns what
    /// is damaged. Called every hour it comes around about once a day.
    #[must_use]
    pub fn verify_next(&self) -> Vec<Damage> {
        let periods = self.shared.periods();
        let mut last = self.shared.verified.lock();
        let next = periods
            .iter()
            .find(|period| last.is_none_or(|last| last < **period));
        let Some(period) = next.or(periods.first()).copied() else {
            return Vec::new();
        };
        *last = Some(period);
        drop(last);
        self.verify_period(period)
    }

    fn verify_period(&self, period: Period) -> Vec<Damage> {
        let shared = &self.shared;
        let is_sound = |key, data: &[u8]| crate::reader::is_sound(key, data, &shared.pool);
        let damaged = shared.chunks.verify(period, &is_sound);
        shared.counters.verified.fetch_add(1, Ordering::Relaxed);
        damaged
    }

    /// Series that were refused since the store was opened, by server, family and reason: of each how often.
    #[must_use]
    pub fn cut(&self) -> Vec<Cut> {
        self.shared.index.read().cut()
    }

    /// Figures for the controller's own metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared {
            counters,
            heads,
            chunks,
            ..
        } = &*self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let days = chunks.usage(Tier::Raw);
        let rollups = [Tier::FiveMinutes, Tier::Hour].map(|tier| chunks.usage(tier));
        let sum = |of: fn(&Usage) -> u64| rollups.iter().map(of).sum();
        let (series, series_rested) = self.shared.index.read().counts();
        Stats {
            series: series as u64,
            series_rested: series_rested as u64,
            head_samples: heads.sample_count() as u64,
            head_bytes: heads.byte_count() as u64,
            day_files: days.files,
            day_file_bytes: days.bytes,
            rollup_files: sum(|usage| usage.files),
            rollup_file_bytes: sum(|usage| usage.bytes),
            compacted: count(&counters.compacted),
            verified: count(&counters.verified),
            appended: count(&counters.appended),
            duplicates: count(&counters.duplicates),
            too_old: count(&counters.too_old),
            too_new: count(&counters.too_new),
            unknown: count(&counters.unknown),
            sealed: count(&counters.sealed),
            series_refused: count(&counters.series_refused),
            damaged: self.shared.damages.all().len() as u64,
        }
    }
}

impl Shared {
    /// Everything that is on disk.
    fn periods(&self) -> Vec<Period> {
        let all = i64::MIN..=i64::MAX;
        Tier::ALL
            .iter()
            .flat_map(|tier| self.chunks.periods(*tier, &all))
            .collect()
    }
}

/// Opens the index. One that cannot be read takes all files of chunks with it: without it nobody knows whose samples
/// they hold, and its numbers will be given anew.
fn open_index(dir: &Utf8Path, damages: &Damages) -> Result<(IndexDb, Loaded), StoreError> {
    let path = dir.join("index.db");
    let had_chunks = crate::files::exist(dir)?;
    if had_chunks && !path.exists() {
        crate::files::set_all_aside(dir, damages)?;
    }
    let open = || {
        let database = IndexDb::open(&path)?;
        let loaded = database.load()?;
        Ok((database, loaded))
    };
    match open() {
        Err(error) if StoreError::is_damage(&error) => {
            aside::set_aside(&path, damages)?;
            crate::files::set_all_aside(dir, damages)?;
            open()
        }
        outcome => outcome,
    }
}
