//! Retention: days that are too old go, and series that have no samples left go with them.

use super::{Shared, Store};
use crate::error::StoreError;
use crate::window::DAY_MS;

/// What retention did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Day files removed.
    pub day_files_removed: u64,
    /// Series that are no longer counted or shown, because none of their samples is left.
    pub series_retired: u64,
}

impl Store {
    /// Removes days all of whose samples are older than retention, and series without samples. To be called
    /// every few minutes; cheap unless a day has ended.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be removed or the index cannot be written.
    pub fn retain(&self, now_ms: i64) -> Result<Retained, StoreError> {
        let shared = &self.shared;
        let oldest = now_ms
            .saturating_sub(shared.options.retention_ms)
            .div_euclid(DAY_MS);
        let _maintenance = shared.maintenance.lock();
        let mut writer = shared.sealer.lock();
        writer.close_before(oldest);
        let removed = shared.days.remove_before(oldest)?;
        let retired = shared.retire_series(oldest);
        shared.write_index()?;
        Ok(Retained {
            day_files_removed: removed as u64,
            series_retired: retired as u64,
        })
    }
}

impl Shared {
    /// Retires series whose last samples are from before the day.
    fn retire_series(&self, oldest_day: i64) -> usize {
        let Ok(oldest_day) = i32::try_from(oldest_day) else {
            return 0;
        };
        let mut idle = self.index.read().idle(oldest_day);
        if idle.is_empty() {
            return 0;
        }
        // What comes into memory after this look is revived when it is sealed, or by the next append.
        let in_memory = self.heads.series();
        idle.retain(|number| !in_memory.contains(number));
        self.index.write().retire(&idle)
    }
}
