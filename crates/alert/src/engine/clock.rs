//! Two times: what the wall clock shows, for people, and `t`, by which durations are measured.
//!
//! `t` never goes back and goes forward by a bounded step, so that a wall clock that is set, by an hour or a decade,
//! neither ends a `for` early nor makes anything absent or overdue.

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    wall_ms: i64,
    t: i64,
}

impl Clock {
    pub(super) const fn new(now_ms: i64) -> Self {
        Self {
            wall_ms: now_ms,
            t: now_ms,
        }
    }

    /// The wall clock shows `now_ms`.
    pub(super) fn advance(&mut self, now_ms: i64, step_max_ms: i64) {
        let step = now_ms.saturating_sub(self.wall_ms).clamp(0, step_max_ms);
        self.wall_ms = now_ms;
        self.t = self.t.saturating_add(step);
    }

    pub(super) const fn now_ms(&self) -> i64 {
        self.wall_ms
    }

    pub(super) const fn t(&self) -> i64 {
        self.t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_do_not_see_the_wall_clock_being_set() {
        let mut clock = Clock::new(1_000_000);
        clock.advance(1_001_000, 30_000);
        clock.advance(86_400_000_000, 30_000);
        clock.advance(0, 30_000);
        clock.advance(i64::MIN, 30_000);
        clock.advance(i64::MAX, 30_000);
        assert_eq!(
            (clock.t(), clock.now_ms()),
            (1_000_000 + 1_000 + 30_000 + 30_000, i64::MAX)
        );
    }
}
