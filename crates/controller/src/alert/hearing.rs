//! Whether servers are heard, as alerts see it: a host that is dead is told of within half a minute, and one whose link
//! is bad, or that comes back after a restart of the controller, is not accused.
//!
//! Silence is counted in looks, not by any clock: time in which nobody looked (the controller stood still, its clock was
//! set) is no silence. An agent answers a ping every ten seconds, so [`LOST_MS`] is one answer that did not come and
//! most of the time to the next. Where answers have been slow of late, or several of them late, as they are where packets
//! are lost, more patience is had. One entry per server.

use std::collections::HashMap;

use muster_base::id::ServerId;

use crate::app::presence::Live;

/// Silence after which a server is lost, ms. With the time that losses wait for each other (8 s, of which the rule wants
/// 6 before it is an alert), and two looks, it is told before 30 s are over.
const LOST_MS: i64 = 18_000;
/// Answers within this are as fast as any, ms.
const FAST_MS: i64 = 1_000;
/// More patience for each ms that answers have been slower, ms.
const PATIENCE_PER_MS: i64 = 8;
/// Late answers among the last 16 that say nothing: a machine may be busy for a moment.
const LATE_FREE: u32 = 1;
/// More patience for each further one, ms: where packets are lost on the way, TCP waits twice as long each time before
/// it sends one again, so that seven losses in a row are a silence of 25 s.
const PATIENCE_PER_LATE_MS: i64 = 18_000;
/// Most patience for late answers, ms.
const PATIENCE_LATE_MAX_MS: i64 = 54_000;
/// Most patience, ms: what is silent for so long is offline by any measure.
const PATIENCE_MAX_MS: i64 = 90_000;
/// After the controller's start agents are coming back for at least this long, ms.
const GRACE_MS: i64 = 60_000;
/// Large fleets come back by so many in a second.
const RETURNS_PER_S: i64 = 200;
/// Most that one look counts, ms: two times the time between two.
const LOOK_MAX_MS: i64 = 2_000;

/// What of a stream changes whenever something is heard on it.
type Mark = (u64, i64, i64);

#[derive(Debug, Default)]
struct Heard {
    mark: Option<Mark>,
    silent_ms: i64,
    verdict: Option<bool>,
}

/// How long each server has been silent.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    servers: HashMap<ServerId, Heard>,
}

impl Hearing {
    /// Looks at a server, `step_ms` after the last look, and says whether it is heard; `None`: that cannot be said yet.
    pub(super) fn look(&mut self, server: ServerId, live: Option<Live>, step_ms: i64) -> Option<bool> {
        let fleet = i64::try_from(self.servers.len()).unwrap_or(i64::MAX);
        let heard = self.servers.entry(server).or_default();
        let mark = live.map(|live| live.mark());
        let is_news = mark.is_some() && mark != heard.mark;
        if is_news {
            heard.mark = mark;
            heard.silent_ms = 0;
            heard.verdict = Some(true);
            return heard.verdict;
        }
        // What is not read for want of room may have been said.
        if !live.is_some_and(|live| live.is_held_up) {
            heard.silent_ms = heard.silent_ms.saturating_add(step_ms.clamp(0, LOOK_MAX_MS));
        }
        let patience_ms = match live {
            Some(live) => patience_ms(live),
            None => GRACE_MS.max(GRACE_MS / 2 + fleet / RETURNS_PER_S * 1_000),
        };
        if patience_ms <= heard.silent_ms {
            heard.verdict = Some(false);
        }
        heard.verdict
    }

    /// What the last look at a server said.
    pub(super) fn verdict(&self, server: ServerId) -> Option<bool> {
        self.servers.get(&server)?.verdict
    }

    /// Forgets a server.
    pub(super) fn forget(&mut self, server: ServerId) {
        self.servers.remove(&server);
    }
}

/// How long a server may be silent whose answers took so long of late.
fn patience_ms(live: Live) -> i64 {
    let slow_ms = live.slowest_pong_ms().saturating_sub(FAST_MS).max(0);
    let late = i64::from(live.late_answers().saturating_sub(LATE_FREE));
    let for_late_ms = (late * PATIENCE_PER_LATE_MS).min(PATIENCE_LATE_MAX_MS);
    let for_slow_ms = slow_ms.saturating_mul(PATIENCE_PER_MS);
    LOST_MS
        .saturating_add(for_slow_ms.max(for_late_ms))
        .min(PATIENCE_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::presence::Presence;

    const SERVER: ServerId = ServerId(1);
    const NOW: i64 = 1_800_000_000_000;

    /// Looks once a second for so long; the verdict of the last look.
    fn look_for(hearing: &mut Hearing, presence: &Presence, seconds: i64) -> Option<bool> {
        (0..seconds).fold(None, |_, _| hearing.look(SERVER, presence.of(SERVER), 1_000))
    }

    #[test]
    fn a_server_is_lost_after_eighteen_seconds_of_silence_whether_its_stream_ended_or_not() {
        for ends in [false, true] {
            let (mut hearing, presence) = (Hearing::default(), Presence::default());
            let stream = presence.connected(SERVER, NOW);
            assert_eq!(look_for(&mut hearing, &presence, 1), Some(true));
            presence.pinged(stream, NOW + 1);
            if ends {
                presence.disconnected(stream);
            }
            assert_eq!(look_for(&mut hearing, &presence, 17), Some(true), "{ends}");
            assert_eq!(look_for(&mut hearing, &presence, 1), Some(false), "{ends}");
            presence.connected(SERVER, NOW + 40_000);
            assert_eq!(look_for(&mut hearing, &presence, 1), Some(true), "{ends}");
        }
    }

    /// D12: neither the controller's clock nor a standstill of the controller makes silence.
    #[test]
    fn clocks_that_are_set_and_time_in_which_nobody_looked_are_no_silence() {
        let (mut hearing, presence) = (Hearing::default(), Presence::default());
        let stream = presence.connected(SERVER, NOW);
        for jump_ms in [3_600_000, -86_400_000, i64::MIN / 4, i64::MAX / 4] {
            assert_eq!(look_for(&mut hearing, &presence, 15), Some(true), "{jump_ms}");
            presence.frame(stream, NOW + jump_ms);
            // A look after an hour of standing still counts as two seconds.
            assert_eq!(hearing.look(SERVER, presence.of(SERVER), 1_000), Some(true));
            assert_eq!(hearing.look(SERVER, presence.of(SERVER), 3_600_000), Some(true));
            presence.ponged(stream, NOW + jump_ms + 1);
            assert_eq!(hearing.look(SERVER, presence.of(SERVER), 1_000), Some(true));
        }
    }

    #[test]
    fn nothing_is_said_for_a_minute_after_a_start_and_nobody_is_accused_whom_nobody_reads() {
        let (mut hearing, presence) = (Hearing::default(), Presence::default());
        assert_eq!(look_for(&mut hearing, &presence, 59), None);
        assert_eq!(look_for(&mut hearing, &presence, 1), Some(false));
        let stream = presence.connected(SERVER, NOW);
        assert_eq!(look_for(&mut hearing, &presence, 1), Some(true));
        presence.held_up(stream, true);
        assert_eq!(look_for(&mut hearing, &presence, 600), Some(true));
        presence.held_up(stream, false);
        assert_eq!(look_for(&mut hearing, &presence, 18), Some(false));
    }

    #[test]
    fn where_answers_are_slow_more_patience_is_had_for_a_while() {
        let (mut hearing, presence) = (Hearing::default(), Presence::default());
        let stream = presence.connected(SERVER, NOW);
        presence.pinged(stream, NOW);
        presence.ponged(stream, NOW + 4_000);
        assert_eq!(look_for(&mut hearing, &presence, 42), Some(true));
        assert_eq!(look_for(&mut hearing, &presence, 1), Some(false));
        let mut now = NOW;
        for _ in 0..130 {
            now += 10_000;
            presence.pinged(stream, now);
            presence.ponged(stream, now + 20);
        }
        assert_eq!(look_for(&mut hearing, &presence, 18), Some(true));
        assert_eq!(look_for(&mut hearing, &presence, 1), Some(false));
    }

    /// D13
    #[test]
    fn where_answers_come_late_now_and_then_silences_are_borne_that_lost_packets_make() {
        for (late, silence_s) in [(0, 18), (1, 18), (2, 36), (3, 54), (4, 72), (9, 72)] {
            let (mut hearing, presence) = (Hearing::default(), Presence::default());
            let stream = presence.connected(SERVER, NOW);
            let mut now_ms = NOW;
            for number in 0..10 {
                now_ms += 10_000;
                presence.pinged(stream, now_ms);
                presence.ponged(stream, now_ms + if number < 10 - late { 20 } else { 400 });
            }
            // The look that hears it is the first.
            assert_eq!(look_for(&mut hearing, &presence, silence_s), Some(true), "{late}");
            assert_eq!(look_for(&mut hearing, &presence, 1), Some(false), "{late}");
        }
    }
}
