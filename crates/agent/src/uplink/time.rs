//! The time by which certificates are judged, which must not hang on a wall clock that may show anything.
//!
//! The controller names its time in each ping, on a stream that TLS has verified. While the machine runs, that and the
//! time since boot tell what time it is, however the wall clock is set. After a boot it is the latest of the wall
//! clock, the last time a controller named (kept on disk, about once an hour), and the time this program was built: so
//! a machine that wakes in 1970 still finds its controller's certificate valid.
//!
//! Only a clock that is far ahead after a boot remains: certificates then look expired until it is set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tracing::{debug, warn};

use crate::clocks::{BUILT_MS, ClockReader};
use crate::durable;

/// How often the last good time is written down.
const KEEP_EVERY_MS: i64 = 3_600_000;

/// Tells the time; clones share what was learned.
#[derive(Debug, Clone)]
pub(crate) struct GoodTime {
    clocks: ClockReader,
    learned: Arc<Mutex<Learned>>,
}

#[derive(Debug, Default)]
struct Learned {
    /// The latest time that a controller has named.
    last_ms: i64,
    /// The boot in which that was, and the time at which it began.
    boot: Option<(String, i64)>,
    path: Option<Utf8PathBuf>,
    kept_ms: i64,
}

impl GoodTime {
    pub(crate) fn new(clocks: ClockReader) -> Self {
        Self {
            clocks,
            learned: Arc::default(),
        }
    }

    /// Reads what an earlier start has kept in `path`, and keeps it there from now on. No controller has named a time
    /// after `expires_ms`, the end of the agent's own certificate: what says so is damaged.
    pub(super) fn keep_in(&self, path: Utf8PathBuf, expires_ms: Option<i64>) {
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let kept_ms = kept.trim().parse().unwrap_or(0);
        let mut learned = self.lock();
        if expires_ms.is_none_or(|expires_ms| kept_ms <= expires_ms) {
            learned.last_ms = learned.last_ms.max(kept_ms);
            learned.kept_ms = learned.last_ms;
        }
        learned.path = Some(path);
    }

    /// Takes the time that a verified controller has named. Returns what is to be written down, if it is time.
    pub(super) fn learn(&self, controller_ms: i64) -> Option<(Utf8PathBuf, i64)> {
        if controller_ms < BUILT_MS {
            // It has just been booted itself.
            return None;
        }
        let clock = self.clocks.now();
        let mut learned = self.lock();
        learned.last_ms = controller_ms;
        if !clock.boot_id.is_empty() {
            learned.boot = Some((clock.boot_id, controller_ms.saturating_sub(clock.boottime_ms)));
        }
        let is_due = KEEP_EVERY_MS <= controller_ms.saturating_sub(learned.kept_ms)
            // One that was ahead is corrected.
            || controller_ms < learned.kept_ms;
        let path = learned.path.clone().filter(|_| is_due)?;
        learned.kept_ms = controller_ms;
        Some((path, controller_ms))
    }

    /// As [`GoodTime::learn`], and writes it down beside the work that goes on.
    pub(super) fn learn_and_keep(&self, controller_ms: i64) {
        let Some((path, time_ms)) = self.learn(controller_ms) else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            match durable::write(&path, time_ms.to_string().as_bytes(), durable::PUBLIC) {
                Ok(()) => debug!(time_ms, "controller's time is kept"),
                Err(error) => warn!(error = %ErrorChain(&error), "controller's time is not kept"),
            }
        });
    }

    /// Unix milliseconds now.
    pub(crate) fn now_ms(&self) -> i64 {
        let clock = self.clocks.now();
        let learned = self.lock();
        match &learned.boot {
            Some((boot_id, began_ms)) if *boot_id == clock.boot_id => {
                began_ms.saturating_add(clock.boottime_ms)
            }
            _ => clock.wall_ms.max(learned.last_ms).max(BUILT_MS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        // Each change is a few assignments that fit each other in any order.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeProvider for GoodTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now_ms = u64::try_from(self.now_ms()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use muster_model::Clock;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const DAY: i64 = 86_400_000;

    /// A machine whose wall clock can be set.
    struct Machine {
        clock: Arc<Mutex<Clock>>,
    }

    impl Machine {
        fn new(wall_ms: i64) -> Self {
            let clock = Clock {
                wall_ms,
                boottime_ms: 10_000,
                boot_id: "boot".to_owned(),
            };
            Self {
                clock: Arc::new(Mutex::new(clock)),
            }
        }

        fn time(&self) -> GoodTime {
            let clock = Arc::clone(&self.clock);
            GoodTime::new(ClockReader::new(move || clock.lock().unwrap().clone()))
        }

        fn set(&self, wall_ms: i64, boottime_ms: i64, boot_id: &str) {
            *self.clock.lock().unwrap() = Clock {
                wall_ms,
                boottime_ms,
                boot_id: boot_id.to_owned(),
            };
        }
    }

    /// D12: no certificate is refused for what the wall clock shows.
    #[test]
    fn once_a_controller_has_named_its_time_the_wall_clock_may_show_anything() {
        let machine = Machine::new(NOW);
        let time = machine.time();
        time.learn(NOW);
        let jumps = [
            3_600_000,
            -3_600_000,
            DAY,
            -DAY,
            -NOW,
            2_147_483_648_000 - NOW,
            4_102_444_800_000 - NOW,
        ];
        for jump_ms in jumps {
            machine.set(NOW + jump_ms, 70_000, "boot");
            assert_eq!(time.now_ms(), NOW + 60_000, "{jump_ms}");
        }
    }

    /// D12
    #[test]
    fn a_machine_that_wakes_in_1970_goes_by_the_last_good_time_or_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("last-good-time")).unwrap();
        let time = Machine::new(0).time();
        assert_eq!(time.now_ms(), BUILT_MS);
        time.keep_in(path.clone(), Some(NOW + 7 * DAY));
        let (to, kept_ms) = time.learn(NOW).unwrap();
        durable::write(&to, kept_ms.to_string().as_bytes(), durable::PUBLIC).unwrap();
        assert!(time.learn(NOW + 60_000).is_none(), "not at each ping");
        assert!(time.learn(NOW + KEEP_EVERY_MS).is_some());
        let woken = Machine::new(5_000).time();
        woken.keep_in(path.clone(), Some(NOW + 7 * DAY));
        assert_eq!(woken.now_ms(), NOW);
        let right = Machine::new(NOW + DAY).time();
        right.keep_in(path.clone(), Some(NOW + 7 * DAY));
        assert_eq!(right.now_ms(), NOW + DAY);
        // Damage must not lock the agent out for ever.
        for damaged in ["4102444800000", "", "nonsense", "-5"] {
            durable::write(&path, damaged.as_bytes(), durable::PUBLIC).unwrap();
            let time = Machine::new(NOW).time();
            time.keep_in(path.clone(), Some(NOW + 7 * DAY));
            assert_eq!(time.now_ms(), NOW, "{damaged}");
        }
    }

    #[test]
    fn a_controller_that_was_ahead_is_believed_when_it_is_right_again() {
        let machine = Machine::new(NOW);
        let time = machine.time();
        time.learn(NOW + 3 * DAY);
        time.learn(NOW);
        assert_eq!(time.now_ms(), NOW);
    }
}
