//! The time by which certificates are judged, which must not hang on a wall clock that may show anything.
//!
//! The controller names its time in each ping, on a stream that TLS has verified. While the machine runs, that and the
//! time since boot tell what time it is, however the wall clock is set. After a boot it is the latest of the wall
//! clock, the last time a controller named (kept on disk, about once an hour), and the time this program was built: so
//! a machine that wakes in 1970 still finds its controller's certificate valid.
//!
//! A wall clock later than the agent's own certificate can be renewed is wrong, or the agent has been away for so long
//! that its certificate is worth nothing to anyone: it is not believed. Then it is at least as late as the last time that
//! is known, and as a certificate of the controller's begins that its root has signed. What that costs: an agent that
//! really was away for that long takes a controller's certificate that has expired since; it shows it a certificate
//! that has expired too, and no true controller answers that. Between those two ends, a clock that is ahead after a
//! boot by weeks, certificates look expired until it is set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use muster_model::Clock;
use muster_proto::EXPIRED_GRACE_MS;
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
    /// When the agent's certificate was issued: a controller's word too.
    issued_ms: i64,
    /// Until when the agent's certificate can be renewed.
    renewable_ms: Option<i64>,
}

impl GoodTime {
    pub(crate) fn new(clocks: ClockReader) -> Self {
        Self {
            clocks,
            learned: Arc::default(),
        }
    }

    /// Reads what an earlier start has kept in `path`, and keeps it there from now on. No controller has named a time
    /// after the end of the agent's own certificate, which is valid from and to `validity`: what says so is damaged.
    pub(super) fn keep_in(&self, path: Utf8PathBuf, validity: Option<(i64, i64)>) {
        self.certified(validity);
        let expires_ms = validity.map(|(_, expires_ms)| expires_ms);
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let kept_ms = kept.trim().parse().unwrap_or(0);
        let mut learned = self.lock();
        if expires_ms.is_none_or(|expires_ms| kept_ms <= expires_ms) {
            learned.last_ms = learned.last_ms.max(kept_ms);
            learned.kept_ms = learned.last_ms;
        }
        learned.path = Some(path);
    }

    /// Notes when the agent's certificate was issued and when it expires.
    pub(super) fn certified(&self, validity: Option<(i64, i64)>) {
        let mut learned = self.lock();
        learned.issued_ms = validity.map_or(0, |(issued_ms, _)| issued_ms);
        learned.renewable_ms = validity.map(|(_, expires_ms)| expires_ms.saturating_add(EXPIRED_GRACE_MS));
    }

    /// Whether the wall clock shows what can't be, and no controller has named its time in this boot.
    pub(super) fn is_in_doubt(&self) -> bool {
        let clock = self.clocks.now();
        self.lock().doubts(&clock)
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
            _ => {
                let known_ms = learned.last_ms.max(learned.issued_ms).max(BUILT_MS);
                if learned.doubts(&clock) {
                    known_ms
                } else {
                    clock.wall_ms.max(known_ms)
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        // Each change is a few assignments that fit each other in any order.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learned {
    fn doubts(&self, clock: &Clock) -> bool {
        let is_known = self
            .boot
            .as_ref()
            .is_some_and(|(boot_id, _)| *boot_id == clock.boot_id);
        !is_known
            && self
                .renewable_ms
                .is_some_and(|renewable_ms| renewable_ms < clock.wall_ms)
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
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const DAY: i64 = 86_400_000;
    const CERTIFICATE: Option<(i64, i64)> = Some((NOW - DAY, NOW + 7 * DAY));

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
        time.keep_in(path.clone(), CERTIFICATE);
        let (to, kept_ms) = time.learn(NOW).unwrap();
        durable::write(&to, kept_ms.to_string().as_bytes(), durable::PUBLIC).unwrap();
        assert!(time.learn(NOW + 60_000).is_none(), "not at each ping");
        assert!(time.learn(NOW + KEEP_EVERY_MS).is_some());
        let woken = Machine::new(5_000).time();
        woken.keep_in(path.clone(), CERTIFICATE);
        assert_eq!(woken.now_ms(), NOW);
        let right = Machine::new(NOW + DAY).time();
        right.keep_in(path.clone(), CERTIFICATE);
        assert_eq!(right.now_ms(), NOW + DAY);
        // Damage must not lock the agent out for ever.
        for damaged in ["4102444800000", "", "nonsense", "-5"] {
            durable::write(&path, damaged.as_bytes(), durable::PUBLIC).unwrap();
            let time = Machine::new(NOW).time();
            time.keep_in(path.clone(), CERTIFICATE);
            assert_eq!(time.now_ms(), NOW, "{damaged}");
        }
    }

    /// D12
    #[test]
    fn a_clock_that_is_years_ahead_after_a_boot_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("last-good-time")).unwrap();
        let ahead = Machine::new(NOW + 4_000 * DAY);
        let time = ahead.time();
        time.keep_in(path.clone(), CERTIFICATE);
        assert!(time.is_in_doubt());
        assert_eq!(
            time.now_ms(),
            NOW - DAY,
            "the certificate's issue is all that is known"
        );
        durable::write(&path, NOW.to_string().as_bytes(), durable::PUBLIC).unwrap();
        time.keep_in(path, CERTIFICATE);
        assert_eq!(time.now_ms(), NOW);
        // Away for as long as a certificate can be renewed: the clock may well be right.
        for days in [1, 8, 36] {
            ahead.set(NOW + days * DAY, 10_000, "boot");
            assert!(!time.is_in_doubt());
            assert_eq!(time.now_ms(), NOW + days * DAY);
        }
        // A controller's word counts more than either, and a new certificate moves the end.
        ahead.set(NOW + 4_000 * DAY, 10_000, "boot");
        time.learn(NOW + 2 * DAY);
        assert_eq!((time.is_in_doubt(), time.now_ms()), (false, NOW + 2 * DAY));
        ahead.set(NOW + 40 * DAY, 5, "another boot");
        assert!(time.is_in_doubt());
        time.certified(Some((NOW + 38 * DAY, NOW + 45 * DAY)));
        assert_eq!((time.is_in_doubt(), time.now_ms()), (false, NOW + 40 * DAY));
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
