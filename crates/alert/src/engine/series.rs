//! Series that rules look at, and their newest numbers.

use muster_model::{Labels, is_stale};

use super::{FRESH_MS, SeriesInfo};

/// What names a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SeriesKey {
    pub(super) server: i64,
    pub(super) resource: i64,
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) is_fact: bool,
}

impl SeriesKey {
    pub(super) fn of(info: &SeriesInfo) -> Self {
        Self {
            server: info.server,
            resource: info.resource,
            name: info.name.clone(),
            labels: info.labels.clone(),
            is_fact: info.is_fact,
        }
    }
}

/// How far behind a newer number one may be that was overtaken on its way: what is later is history.
const OVERTAKEN_MAX_MS: i64 = 120_000;

#[derive(Debug)]
pub(super) struct Series {
    pub(super) info: SeriesInfo,
    /// What came in time.
    pub(super) live: Lane,
    /// What came late.
    pub(super) history: Lane,
    /// What is judged by it, and which part of that it is.
    pub(super) edges: Vec<(u32, usize)>,
    /// When it was bound last.
    pub(super) bound_t: i64,
}

impl Series {
    /// How long a number of it counts, ms.
    pub(super) fn fresh_ms(&self) -> i64 {
        FRESH_MS.max(i64::from(self.info.interval_ms) * 5 / 2)
    }
}

/// The last two numbers of a series, as they came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    pub(super) time_ms: i64,
    pub(super) value: f64,
    before_ms: i64,
    before: f64,
    /// When the last one came, by `t`.
    pub(super) heard_t: i64,
    /// The series has ended: it has no number, and that was said.
    pub(super) is_ended: bool,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            time_ms: i64::MIN,
            value: f64::NAN,
            before_ms: i64::MIN,
            before: f64::NAN,
            heard_t: i64::MIN,
            is_ended: false,
        }
    }
}

impl Lane {
    /// Whether a number of that time comes after a newer one has come. A time that lies further back is that of a clock
    /// that was set: it is what is now.
    pub(super) fn is_overtaken(&self, time_ms: i64) -> bool {
        let behind_ms = self.time_ms.saturating_sub(time_ms);
        self.time_ms != i64::MIN && 0 < behind_ms && behind_ms <= OVERTAKEN_MAX_MS
    }

    pub(super) fn take(&mut self, time_ms: i64, value: f64, t: i64) {
        if is_stale(value) {
            *self = Self {
                heard_t: t,
                is_ended: true,
                ..Self::default()
            };
            return;
        }
        if self.time_ms != time_ms {
            self.before_ms = self.time_ms;
            self.before = self.value;
        }
        self.time_ms = time_ms;
        self.value = value;
        self.heard_t = t;
        self.is_ended = false;
    }

    /// How much it grew in a second, of late; `None` if it has only one number, its numbers lie too far apart, or what
    /// is counted started anew.
    pub(super) fn rate(&self, apart_max_ms: i64) -> Option<f64> {
        let apart_ms = self.time_ms.checked_sub(self.before_ms)?;
        let grown = self.value - self.before;
        (0 < apart_ms && apart_ms <= apart_max_ms && 0.0 <= grown).then(|| grown * 1_000.0 / apart_ms as f64)
    }
}
