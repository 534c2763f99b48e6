//! Where chunks are kept: what the store needs of it, whatever it is made of.
//!
//! Chunks come in periods ([`Period`]): what is added to one is read until the period is rewritten or removed. A
//! chunk is *final* once its day was compacted and rolled up with it; the others wait for that.
//!
//! Whoever keeps chunks knows them only as bytes with a key, and reports what it cannot read instead of failing.

use std::fmt;
use std::ops::RangeInclusive;

use camino::Utf8Path;

use crate::chunk::ChunkKey;
use crate::damage::Damage;
use crate::error::StoreError;
use crate::tier::{Period, Tier};

/// A chunk to be kept.
#[derive(Debug)]
pub(crate) struct ChunkRow {
    /// Which chunk it is, or a part of which.
    pub(crate) key: ChunkKey,
    /// The first and last time in it, Unix milliseconds.
    pub(crate) times: RangeInclusive<i64>,
    /// The lowest and highest number of a series in it.
    pub(crate) series: RangeInclusive<u32>,
    /// How many samples are in it.
    pub(crate) samples: u64,
    /// Whether nothing remains to be done with it.
    pub(crate) is_final: bool,
    /// The chunk.
    pub(crate) data: Vec<u8>,
}

/// Which chunks are meant.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// The group.
    pub(crate) group: u32,
    /// A closed range of times, Unix milliseconds.
    pub(crate) times: RangeInclusive<i64>,
    /// The series, ascending; `None`: all.
    pub(crate) series: Option<&'a [u32]>,
}

/// Names a kept chunk for as long as its period is not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowRef {
    /// The file.
    pub(crate) file: u32,
    /// The row in it.
    pub(crate) row: i64,
}

/// A chunk that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Where.
    pub(crate) place: RowRef,
    /// Which it is.
    pub(crate) key: ChunkKey,
}

/// What remains to be done in a period.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Every group that has chunks, ascending, and whether all of them are final.
    pub(crate) groups: Vec<(u32, bool)>,
    /// Whether it was rewritten and nothing has happened since that calls for doing so again.
    pub(crate) is_rewritten: bool,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Files.
    pub(crate) files: u64,
    /// Their bytes, what belongs to them included.
    pub(crate) bytes: u64,
}

/// Takes the chunks of a rewritten period.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Vec<ChunkRow>) -> Result<(), StoreError>;

/// Whether everything that was to be rewritten could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// It could; the old chunks are removed.
    Whole,
    /// Some of it could not; what was there is set aside.
    Partly,
}

/// Keeps chunks.
pub(crate) trait ChunkStore: fmt::Debug + Send + Sync {
    /// The periods of a tier that are kept, ascending.
    fn periods(&self, tier: Tier, times: &RangeInclusive<i64>) -> Vec<Period>;

    /// Adds chunks to a period; they are durable when this returns.
    fn add(&self, period: Period, rows: &[ChunkRow]) -> Result<(), StoreError>;

    /// Hands the chunks that are wanted to `each`, in the order in which they were added, as of one moment; some
    /// perhaps more than once. What cannot be read, or what `each` finds unsound, is reported.
    fn read(
        &self,
        period: Period,
        wanted: &Wanted<'_>,
        damaged: &mut Vec<Damage>,
        each: &mut dyn FnMut(Found, &[u8]) -> bool,
    );

    /// What remains to be done in a period.
    fn state(&self, period: Period) -> Result<State, StoreError>;

    /// Whether a group has chunks in a period and all of them are final.
    fn is_final(&self, period: Period, group: u32) -> bool;

    /// Takes chunks out and others in, at once; all of `outs` that are in a file that may be written.
    fn replace(&self, period: Period, outs: &[RowRef], ins: &[ChunkRow]) -> Result<(), StoreError>;

    /// Puts what `fill` gives in the place of all chunks of a period, at once. What is added meanwhile is kept.
    fn rewrite(
        &self,
        period: Period,
        fill: &mut dyn FnMut(Sink<'_>) -> Result<Rewritten, StoreError>,
    ) -> Result<(), StoreError>;

    /// Removes the periods of a tier that end before a day; returns how many files that were.
    fn remove_before(&self, tier: Tier, day: i64) -> Result<usize, StoreError>;

    /// Looks at everything in a period.
    fn verify(&self, period: Period, is_sound: &dyn Fn(ChunkKey, &[u8]) -> bool) -> Vec<Damage>;

    /// Copies everything into a folder. Nothing must be rewritten or removed meanwhile.
    fn copy_to(&self, dir: &Utf8Path) -> Result<(), StoreError>;

    /// Puts what was added lately to where it stays, and lets go of what was written before that day.
    fn settle(&self, day: i64);

    /// How much is kept of a tier.
    fn usage(&self, tier: Tier) -> Usage;
}
