//! Which reports came so late that they tell of what was.
//!
//! Measured by the agent's time since boot, which no clock that is set can move: how much longer a report took than the
//! fastest ones of the last while. So a slow link is not late, and a report that waited for a controller is.

use std::collections::HashMap;

use muster_base::id::AgentId;
use muster_model::{Clock, limits};

/// How long a fastest report counts, ms.
const BUCKET_MS: i64 = 10 * 60_000;
/// A clock that is off by more is not believed.
const DISAGREEMENT_MS: i64 = crate::app::ingest::DISAGREEMENT_MS;
/// Most agents remembered; more begin anew.
const AGENTS_MAX: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct Lateness {
    agents: HashMap<AgentId, Boot>,
}

#[derive(Debug)]
struct Boot {
    id: String,
    /// The least difference between the controller's clock and the time since boot: now, and in the time before.
    least_ms: i64,
    before_ms: i64,
    since_ms: i64,
}

impl Lateness {
    /// Whether a report with this clock, received now, is late.
    pub(super) fn is_late(&mut self, agent: AgentId, clock: &Clock, received_ms: i64) -> bool {
        let late_ms = i64::from(limits::LIVE_MS);
        let offset_ms = received_ms.saturating_sub(clock.boottime_ms);
        let old_by_wall = received_ms.saturating_sub(clock.wall_ms);
        if AGENTS_MAX <= self.agents.len() && !self.agents.contains_key(&agent) {
            self.agents.clear();
        }
        let known = self.agents.get_mut(&agent);
        match known {
            Some(boot) if boot.id == clock.boot_id => {
                if BUCKET_MS <= received_ms.saturating_sub(boot.since_ms) {
                    boot.before_ms = boot.least_ms;
                    boot.least_ms = offset_ms;
                    boot.since_ms = received_ms;
                }
                boot.least_ms = boot.least_ms.min(offset_ms);
                late_ms < offset_ms - boot.least_ms.min(boot.before_ms)
            }
            // Of a boot before the one that is known, or the first of a new one.
            Some(_) if late_ms < old_by_wall => true,
            None if DISAGREEMENT_MS + late_ms < old_by_wall => true,
            _ => {
                let boot = Boot {
                    id: clock.boot_id.clone(),
                    least_ms: offset_ms,
                    before_ms: offset_ms,
                    since_ms: received_ms,
                };
                self.agents.insert(agent, boot);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn clock(wall_ms: i64, boottime_ms: i64, boot: &str) -> Clock {
        Clock {
            wall_ms,
            boottime_ms,
            boot_id: boot.to_owned(),
        }
    }

    fn agent() -> AgentId {
        AgentId(uuid::Uuid::from_u128(1))
    }

    #[test]
    fn what_waited_is_late_and_what_comes_from_a_wrong_clock_is_not() {
        let mut lateness = Lateness::default();
        for skew in [0, 540_000, -540_000] {
            let now = NOW + skew;
            assert!(
                !lateness.is_late(agent(), &clock(now, 1_000_000, "a"), NOW),
                "{skew}"
            );
            assert!(
                !lateness.is_late(agent(), &clock(now, 1_010_000, "a"), NOW + 10_500),
                "{skew}"
            );
            assert!(
                lateness.is_late(agent(), &clock(now - 90_000, 910_000, "a"), NOW + 10_600),
                "{skew}"
            );
            // The wall clock is set by a day: nothing of it is late.
            assert!(!lateness.is_late(agent(), &clock(now - 86_400_000, 1_020_000, "a"), NOW + 20_000));
        }
    }

    #[test]
    fn what_is_left_of_an_earlier_boot_is_late() {
        let mut lateness = Lateness::default();
        assert!(!lateness.is_late(agent(), &clock(NOW, 5_000, "b"), NOW));
        assert!(lateness.is_late(agent(), &clock(NOW - 600_000, 900_000, "a"), NOW));
        assert!(!lateness.is_late(agent(), &clock(NOW + 1_000, 6_000, "b"), NOW + 1_000));
    }

    #[test]
    fn a_link_that_becomes_slow_for_good_is_late_for_a_while_only() {
        let mut lateness = Lateness::default();
        let mut late = 0;
        for minute in 0..60 {
            let delay = if minute < 10 { 0 } else { 120_000 };
            let made = NOW + minute * 60_000;
            late += i32::from(lateness.is_late(agent(), &clock(made, minute * 60_000, "a"), made + delay));
        }
        assert!((5..=22).contains(&late), "{late}");
    }
}
