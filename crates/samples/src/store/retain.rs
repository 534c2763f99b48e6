//! Retention: periods that are too old go, and series that have nothing left go with them.

use super::{Shared, Store};
use crate::error::StoreError;
use crate::tier::Tier;
use crate::window::DAY_MS;

/// Days for which samples that could not be rolled up are kept beyond their time.
const GRACE_DAYS: i64 = 2;

/// What retention did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Day files removed.
    pub day_files_removed: u64,
    /// Files of roll-ups removed.
    pub rollup_files_removed: u64,
    /// Series that are no longer counted, because none of their samples is left.
    pub series_rested: u64,
    /// Series that are no longer shown, because none of their roll-ups is left either or there are too many.
    pub series_retired: u64,
}

impl Store {
    /// Removes days all of whose samples are older than retention, roll-ups that are older than theirs, and series
    /// without either. To be called every few minutes; cheap unless a day has ended.
    ///
    /// A day that was never compacted is before it goes, so that its roll-ups stay; if that fails it is kept two
    /// days longer.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be removed or the index cannot be written.
    pub fn retain(&self, now_ms: i64) -> Result<Retained, StoreError> {
        let shared = &self.shared;
        let options = &shared.options;
        let _maintenance = shared.maintenance.lock();
        let oldest = |retention_ms: i64| now_ms.saturating_sub(retention_ms).div_euclid(DAY_MS);
        let raw = oldest(options.retention_ms);
        let five_minutes = oldest(options.five_minutes_retention_ms).min(raw);
        let hour = oldest(options.hour_retention_ms).min(five_minutes);
        let unfinished = shared.first_unfinished_before(raw);
        let (removed, removed_rollups) = {
            let _sealer = shared.sealer.lock();
            shared.chunks.settle(raw);
            let removed = shared
                .chunks
                .remove_before(Tier::Raw, unfinished.max(raw - GRACE_DAYS))?;
            let five_minutes = shared.chunks.remove_before(Tier::FiveMinutes, five_minutes)?;
            (
                removed,
                five_minutes + shared.chunks.remove_before(Tier::Hour, hour)?,
            )
        };
        let rested = shared.rest_series(raw);
        let retired = shared.retire_series(hour);
        shared.write_index()?;
        Ok(Retained {
            day_files_removed: removed as u64,
            rollup_files_removed: removed_rollups as u64,
            series_rested: rested as u64,
            series_retired: retired as u64,
        })
    }
}

impl Shared {
    /// Compacts what is left to compact of the days before `day`; the first of them that cannot be, or `day`.
    fn first_unfinished_before(&self, day: i64) -> i64 {
        let end_ms = day.saturating_mul(DAY_MS).saturating_sub(1);
        for period in self.chunks.periods(Tier::Raw, &(0..=end_ms)) {
            if day <= period.day {
                break;
            }
            if let Err(error) = self.compact_period(period) {
                tracing::warn!(
                    day = period.name(),
                    error = %muster_base::ErrorChain(&error),
                    "samples could not be rolled up before they are removed"
                );
                return period.day;
            }
        }
        day
    }

    /// No longer counts series whose last samples are from before the day.
    fn rest_series(&self, oldest_day: i64) -> usize {
        let idle = self.idle_before(oldest_day);
        self.index.write().rest(&idle)
    }

    /// Forgets series whose last samples are from before the day, and those that are too many.
    fn retire_series(&self, oldest_day: i64) -> usize {
        let mut idle = self.idle_before(oldest_day);
        idle.extend(self.index.read().rested_beyond(self.options.series_rested_max));
        self.index.write().retire(&idle)
    }

    fn idle_before(&self, day: i64) -> Vec<u32> {
        let Ok(day) = i32::try_from(day) else {
            return Vec::new();
        };
        let mut idle = self.index.read().idle(day);
        if !idle.is_empty() {
            // What comes into memory after this look is revived when it is sealed, or by the next append.
            let in_memory = self.heads.series();
            idle.retain(|number| !in_memory.contains(number));
        }
        idle
    }
}
