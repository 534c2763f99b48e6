//! Which time a report's facts get, from what is known of its agent's clocks.
//!
//! A wall clock may show anything; the time since boot only goes forward. Each connect and each pong brings both, and
//! so the offset between them by the controller's clock, one for each boot. Where a report's wall clock is more than
//! ten minutes from that, its times are moved by the difference. A boot that was never heard keeps its own times,
//! unless its clock shows what cannot be: then its reports are laid out by the time since boot, the boot's last one at
//! the time of receipt.
//!
//! Decided once, before the commit, so that what is stored never moves again. The report keeps the clocks that its
//! agent read. Pure, but for the lock: the caller brings the time of receipt and what the database remembers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_model::Clock;
pub use muster_model::TimeBasis as Basis;

/// A wall clock that is off by more is not believed.
pub const DISAGREEMENT_MS: i64 = 10 * 60 * 1_000;
/// No agent was built before this (2025-01-01), whatever it says; so no clock of one is right that shows less.
const BUILT_BEFORE_NONE_MS: i64 = 1_735_689_600_000;
/// Most boots that one stream's reports may be of; of further ones nothing is remembered.
const BOOTS_MAX: usize = 64;
/// A change of an offset that is worth writing down.
const NEWS_MS: u64 = 1_000;

/// How a report's times are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Where they come from.
    pub basis: Basis,
    /// What is added to each of them, ms.
    pub shift_ms: i64,
}

impl Placement {
    /// As the agent has them.
    pub const AS_SENT: Self = Self {
        basis: Basis::Wall,
        shift_ms: 0,
    };
}

/// What a reading of an agent's clocks has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// How far the agent's wall clock is ahead of the controller's, ms.
    pub skew_ms: i64,
    /// The boot's offset, if it is worth writing down.
    pub news_ms: Option<i64>,
}

/// What is known of the clocks of one agent, on one stream.
#[derive(Debug, Default)]
pub struct Timeline {
    built_ms: i64,
    boots: Mutex<Vec<Boot>>,
}

#[derive(Debug)]
struct Boot {
    id: String,
    /// From time since boot to the controller's wall clock; `None`: never heard.
    offset_ms: Option<i64>,
    /// As it was last written down.
    written_ms: Option<i64>,
    /// The same, guessed from the boot's last report.
    guess_ms: Option<i64>,
    /// Whether the database was asked for it.
    is_asked: bool,
}

impl Timeline {
    /// A timeline of an agent that was built at `built_ms` and holds reports up to `last_clocks`, received at
    /// `received_ms`.
    pub fn new(built_ms: i64, last_clocks: &[Clock], received_ms: i64) -> Self {
        let timeline = Self {
            built_ms: built_ms.clamp(BUILT_BEFORE_NONE_MS, received_ms.max(BUILT_BEFORE_NONE_MS)),
            boots: Mutex::default(),
        };
        let mut latest: Vec<&Clock> = last_clocks.iter().collect();
        latest.sort_by_key(|clock| clock.boottime_ms);
        {
            let mut boots = timeline.lock();
            // The last one of each boot counts.
            for clock in latest {
                let now_ms = if timeline.is_possible(clock.wall_ms, received_ms) {
                    clock.wall_ms
                } else {
                    received_ms
                };
                if let Some(boot) = boot_mut(&mut boots, &clock.boot_id) {
                    boot.guess_ms = Some(now_ms.saturating_sub(clock.boottime_ms));
                }
            }
        }
        timeline
    }

    /// Takes a reading of the agent's clocks, received at `received_ms`.
    pub fn read(&self, clock: &Clock, received_ms: i64) -> Reading {
        let skew_ms = clock.wall_ms.saturating_sub(received_ms);
        let offset_ms = received_ms.saturating_sub(clock.boottime_ms);
        let mut boots = self.lock();
        let Some(boot) = boot_mut(&mut boots, &clock.boot_id) else {
            return Reading {
                skew_ms,
                news_ms: None,
            };
        };
        boot.offset_ms = Some(offset_ms);
        let is_news = boot
            .written_ms
            .is_none_or(|written| NEWS_MS <= written.abs_diff(offset_ms));
        if is_news {
            boot.written_ms = Some(offset_ms);
        }
        Reading {
            skew_ms,
            news_ms: is_news.then_some(offset_ms),
        }
    }

    /// Whether the database is to be asked for this boot: nothing is known of it. True once for each boot.
    pub fn is_to_be_asked(&self, boot_id: &str) -> bool {
        boot_mut(&mut self.lock(), boot_id)
            .is_some_and(|boot| boot.offset_ms.is_none() && !std::mem::replace(&mut boot.is_asked, true))
    }

    /// Takes what the database remembers of a boot.
    pub fn remember(&self, boot_id: &str, offset_ms: i64) {
        if let Some(boot) = boot_mut(&mut self.lock(), boot_id) {
            boot.written_ms = Some(offset_ms);
            boot.offset_ms.get_or_insert(offset_ms);
        }
    }

    /// Decides on the times of a report that was made at `clock` and received at `received_ms`.
    pub fn place(&self, clock: &Clock, received_ms: i64) -> Placement {
        let mut boots = self.lock();
        let boot = boot_mut(&mut boots, &clock.boot_id);
        let offset_ms = boot.as_ref().and_then(|boot| boot.offset_ms);
        if let Some(offset_ms) = offset_ms {
            let right_ms = clock.boottime_ms.saturating_add(offset_ms);
            if right_ms.abs_diff(clock.wall_ms) <= DISAGREEMENT_MS.unsigned_abs() {
                return Placement::AS_SENT;
            }
            return Placement {
                basis: Basis::Boot,
                shift_ms: right_ms.saturating_sub(clock.wall_ms),
            };
        }
        if self.is_possible(clock.wall_ms, received_ms) {
            return Placement::AS_SENT;
        }
        let first_guess_ms = received_ms.saturating_sub(clock.boottime_ms);
        let guess_ms = boot.map_or(first_guess_ms, |boot| {
            *boot.guess_ms.get_or_insert(first_guess_ms)
        });
        // Nothing was before it came.
        let right_ms = clock.boottime_ms.saturating_add(guess_ms).min(received_ms);
        Placement {
            basis: Basis::Unknown,
            shift_ms: right_ms.saturating_sub(clock.wall_ms),
        }
    }

    fn is_possible(&self, wall_ms: i64, received_ms: i64) -> bool {
        self.built_ms <= wall_ms && wall_ms <= received_ms.saturating_add(DISAGREEMENT_MS)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Boot>> {
        // Each change is one assignment.
        self.boots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of a boot; `None` without an id, or if there are too many.
fn boot_mut<'a>(boots: &'a mut Vec<Boot>, id: &str) -> Option<&'a mut Boot> {
    if id.is_empty() {
        return None;
    }
    if let Some(index) = boots.iter().position(|boot| boot.id == id) {
        return boots.get_mut(index);
    }
    if BOOTS_MAX <= boots.len() {
        return None;
    }
    boots.push(Boot {
        id: id.to_owned(),
        offset_ms: None,
        written_ms: None,
        guess_ms: None,
        is_asked: false,
    });
    boots.last_mut()
}

#[cfg(test)]
mod tests;
