//! Muster's own sample store: heads in memory, sealed chunks and roll-ups in SQLite files, label postings.
//!
//! A sample goes [`Store::append`] → head of its group (server and collector) → [`Store::seal`] → chunk in the
//! file of its UTC day → [`Store::compact`] → one chunk a day, and its roll-ups to 5 minutes and an hour → removed
//! with the day by [`Store::retain`], and the roll-ups later. A [`Reader`] sees heads and chunks as one.
//! What is in memory is lost with the process and is appended again from the intake, which may delete what
//! [`Store::safe_position`] has passed.
//!
//! Must not know: alerts, HTTP, gRPC, the intake's format, the clock (times come as arguments), joined labels.
//!
//! Invariants: of several samples with the same series and time the first stays, wherever they are; every bit
//! of a value comes back; nothing damaged is ever served as a value; whatever is refused or damaged is counted.

mod aside;
mod bytes;
mod chunk;
mod chunks;
mod codec;
mod damage;
mod error;
mod files;
mod head;
mod heads;
mod index;
mod matcher;
mod reader;
mod rollup;
mod run;
pub mod selector;
mod series;
mod sqlite;
mod steps;
mod store;
mod tier;
mod window;
mod zstd_pool;

pub use damage::{Damage, DamageKind};
pub use error::StoreError;
pub use index::{Cut, Family, SeriesLimits};
pub use matcher::{MatchOp, Matcher, PatternError};
pub use reader::{
    Filter, Latest, LatestSample, Reader, Resolution, Rolled, RolledSeries, Select, Selected, SeriesData,
};
pub use series::{SeriesMeta, SeriesRef, SeriesRefused, SeriesSpec, staleness_ms};
pub use store::{AppendOutcome, Batch, BatchError, Compacted, Options, Retained, Sealed, Stats, Store};

/// The label that stands for the metric's name in matchers.
pub const NAME_LABEL: &str = "__name__";
