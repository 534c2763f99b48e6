//! When the next stream is tried: a fleet that lost its controller at one moment must not come back at one moment.
//!
//! The first try is spread evenly over as many seconds as the controller's fleet has two hundreds of agents (1 to
//! 120 s), the next ones with full jitter over a ceiling that doubles up to half a minute, unless the fleet needs more.

use std::time::Duration;

use muster_base::backoff::Backoff;

/// How many agents may come back in a second.
const AGENTS_PER_S: f64 = 200.0;
const SPREAD_MIN: Duration = Duration::from_secs(1);
const SPREAD_MAX: Duration = Duration::from_secs(120);
/// Longest ceiling of the jitter, unless the fleet needs more: a link that is well again is used within this time.
const CEILING_MAX: Duration = Duration::from_secs(30);

/// The pauses between streams.
#[derive(Debug)]
pub(super) struct Pace {
    fleet_size: u32,
    backoff: Backoff,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            fleet_size: 0,
            backoff: Backoff::new(SPREAD_MIN, CEILING_MAX),
        }
    }

    /// Takes the controller's word on how many agents it has; 0 says nothing.
    pub(super) fn learn(&mut self, fleet_size: u32) {
        if fleet_size != 0 && fleet_size != self.fleet_size {
            self.fleet_size = fleet_size;
            let spread = spread(fleet_size);
            self.backoff = Backoff::new(spread, CEILING_MAX.max(spread));
        }
    }

    /// The last stream was of use: the next try is a first one.
    pub(super) const fn reset(&mut self) {
        self.backoff.reset();
    }

    /// Pause before the next try, which the controller wants no earlier than after `retry_after`. Whoever was told
    /// the same time still comes apart from the others.
    pub(super) fn pause(&mut self, retry_after: Duration) -> Duration {
        retry_after + self.backoff.next_delay()
    }

    /// How many pauses there were since the last stream that was of use.
    pub(super) const fn attempt(&self) -> u32 {
        self.backoff.attempt()
    }
}

/// The time over which a fleet's first tries are spread.
fn spread(fleet_size: u32) -> Duration {
    Duration::from_secs_f64(f64::from(fleet_size) / AGENTS_PER_S).clamp(SPREAD_MIN, SPREAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleets_first_tries_are_spread_over_a_two_hundredth_of_its_size() {
        let seconds = [0, 1, 200, 10_000, 24_000, u32::MAX].map(|fleet| spread(fleet).as_secs());
        assert_eq!(seconds, [1, 1, 1, 50, 120, 120]);
    }

    /// D11: the rate of first tries, and that a second try is as spread out.
    #[test]
    fn ten_thousand_agents_come_back_at_no_more_than_five_hundred_a_second() {
        for tries in 1..=3 {
            let mut seconds = [0_u32; 61];
            for _ in 0..10_000 {
                let mut pace = Pace::new();
                pace.learn(10_000);
                let delay = (0..tries).map(|_| pace.pause(Duration::ZERO)).last();
                seconds[delay.unwrap_or_default().as_secs() as usize] += 1;
            }
            let most = seconds.into_iter().max().unwrap_or_default();
            println!("try {tries}: at most {most} a second");
            assert!(most <= 300, "{most} in one second");
        }
    }

    #[test]
    fn what_the_controller_asks_for_is_waited_for_and_jitter_comes_on_top() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            assert!(Duration::from_secs(5) <= pace.pause(Duration::from_secs(5)));
        }
        assert!(0 < pace.attempt());
    }
}
