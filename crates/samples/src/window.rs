//! Where time is cut: into UTC days, and within them into windows of half an hour.
//!
//! Until its window is over a sample takes about three bytes of memory, in a chunk one: hence no longer windows. The
//! windows of a group begin at the group's own phase, so that sealing is spread over the half hour. Midnight always
//! cuts, so that a window belongs to one day file. A day thus has 48 whole windows, or 47 whole ones and two parts.

/// Length of a window, in milliseconds.
pub(crate) const WINDOW_MS: i64 = 1_800_000;
/// Length of a day, in milliseconds; Unix time has no leap seconds.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// A half-open span of time within one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Window {
    /// The first millisecond.
    pub(crate) start_ms: i64,
    /// The first millisecond after it.
    pub(crate) end_ms: i64,
}

impl Window {
    /// The window of a group with this phase that holds `time_ms`.
    pub(crate) fn of(time_ms: i64, phase_ms: i64) -> Self {
        let midnight = time_ms.div_euclid(DAY_MS) * DAY_MS;
        // Windows count from the phase of the day; what is before it is the (cut) window number -1.
        let number = (time_ms - midnight - phase_ms).div_euclid(WINDOW_MS);
        let start = midnight + phase_ms + number * WINDOW_MS;
        Self {
            start_ms: start.max(midnight),
            end_ms: (start + WINDOW_MS).min(midnight + DAY_MS),
        }
    }

    /// Days since 1970-01-01.
    pub(crate) const fn day(self) -> i64 {
        self.start_ms.div_euclid(DAY_MS)
    }

    /// Whether the time lies in the window.
    pub(crate) const fn holds(self, time_ms: i64) -> bool {
        self.start_ms <= time_ms && time_ms < self.end_ms
    }

    /// Whether any time of the closed range lies in the window.
    pub(crate) const fn meets(self, start_ms: i64, end_ms: i64) -> bool {
        self.start_ms <= end_ms && start_ms < self.end_ms
    }
}

/// The phase of a group: groups numbered one after another are spread evenly over a window.
pub(crate) const fn phase_of(group: u32) -> i64 {
    // Multiples of the golden ratio modulo 1 lie as far from each other as can be (Fibonacci hashing).
    let fraction = group.wrapping_mul(2_654_435_769) as i64;
    (fraction * WINDOW_MS) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDNIGHT: i64 = 20_000 * DAY_MS;

    #[test]
    fn midnight_cuts_a_window_that_would_cross_it() {
        let phase = 20 * 60_000;
        let last = Window::of(MIDNIGHT - 1, phase);
        assert_eq!(
            last,
            Window {
                start_ms: MIDNIGHT - (WINDOW_MS - phase),
                end_ms: MIDNIGHT
            }
        );
        let first = Window::of(MIDNIGHT, phase);
        assert_eq!(
            first,
            Window {
                start_ms: MIDNIGHT,
                end_ms: MIDNIGHT + phase
            }
        );
        assert_eq!(
            Window::of(MIDNIGHT + phase, phase).end_ms,
            MIDNIGHT + phase + WINDOW_MS
        );
        assert_eq!((last.day(), first.day()), (19_999, 20_000));
    }

    #[test]
    fn without_a_phase_windows_are_the_half_hours() {
        let window = Window::of(MIDNIGHT + WINDOW_MS, 0);
        assert_eq!(
            window,
            Window {
                start_ms: MIDNIGHT + WINDOW_MS,
                end_ms: MIDNIGHT + 2 * WINDOW_MS
            }
        );
    }

    #[test]
    fn groups_are_spread_over_the_window() {
        let mut phases: Vec<_> = (1..=60).map(phase_of).collect();
        phases.sort_unstable();
        let widest = phases.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest < 3 * 60_000, "{widest}");
        assert!(phases.iter().all(|phase| (0..WINDOW_MS).contains(phase)));
    }

    proptest! {
        #[test]
        fn windows_tile_time_and_never_cross_a_day(
            time in -1_000_000_000_000_000_i64..1_000_000_000_000_000, phase in 0..WINDOW_MS,
        ) {
            let window = Window::of(time, phase);
            prop_assert!(window.holds(time));
            prop_assert!(window.end_ms - window.start_ms <= WINDOW_MS);
            prop_assert_eq!(window.day(), (window.end_ms - 1).div_euclid(DAY_MS));
            prop_assert_eq!(Window::of(window.start_ms, phase), window);
            prop_assert_eq!(Window::of(window.end_ms, phase).start_ms, window.end_ms);
        }
    }
}
