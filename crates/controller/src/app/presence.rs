//! Which servers are connected right now, and when they were last heard.
//!
//! Kept in memory only: what must survive a restart (`last_seen`) is in the store. One entry per server, so it is
//! bounded by the number of servers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_base::id::ServerId;

/// A clock that is off by more is shown.
const SKEW_SHOWN_MS: u64 = 5_000;
/// How long a slow answer counts at least, ms.
const SLOW_MS: i64 = 10 * 60_000;
/// An answer that takes so much longer than the fastest of late waited for a packet to be sent again, ms: TCP does so
/// after 200 ms at the earliest (tcp(7), its least time-out).
const SENT_AGAIN_MS: i64 = 150;
/// One who comes back within this was hard to reach meanwhile, ms; after longer it was away.
const HARD_TO_REACH_MS: i64 = 90_000;

/// Whether a clock is wrong enough to be shown.
#[must_use]
pub const fn is_skewed(skew_ms: i64) -> bool {
    SKEW_SHOWN_MS < skew_ms.unsigned_abs()
}

/// What is known of one server's stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Whether a stream is open.
    pub connected: bool,
    /// When the last frame of any kind came, Unix ms; 0: none since the controller started.
    pub last_frame_ms: i64,
    /// When the last pong came, Unix ms; 0: none on this stream.
    pub last_pong_ms: i64,
    /// When the oldest ping without an answer was sent, Unix ms; also on a stream that has ended since.
    pub unanswered_since_ms: Option<i64>,
    /// How far the server's clock is ahead of ours, ms; `None` until it was read on this stream.
    pub clock_skew_ms: Option<i64>,
    /// Whether it is us who do not read, for want of room.
    pub is_held_up: bool,
    /// The slowest answers to pings, on this and earlier streams, ms: of the last ten minutes, and of those before.
    slow_ms: [i64; 2],
    /// The fastest, of the same two times.
    fast_ms: [Option<i64>; 2],
    /// The last answers to pings, the newest in the lowest bit: those that took much longer than the fastest.
    late_answers: u16,
    /// When the last ten minutes began, Unix ms.
    slow_since_ms: i64,
    connection: u64,
}

impl Live {
    /// Changes whenever something is heard.
    #[must_use]
    pub const fn mark(&self) -> (u64, i64, i64) {
        (self.connection, self.last_frame_ms, self.last_pong_ms)
    }

    /// How long the slowest answer to a ping took within the last ten to twenty minutes, ms.
    #[must_use]
    pub fn slowest_pong_ms(&self) -> i64 {
        self.slow_ms[0].max(self.slow_ms[1])
    }

    /// How many of the last 16 answers to pings took as much longer than the fastest as they do where packets are lost.
    #[must_use]
    pub const fn late_answers(&self) -> u32 {
        self.late_answers.count_ones()
    }

    /// Remembers how long an answer took.
    fn answered_in(&mut self, took_ms: i64, now_ms: i64) {
        // A clock that went back begins anew.
        if !(0..SLOW_MS).contains(&now_ms.saturating_sub(self.slow_since_ms)) {
            self.slow_ms = [0, self.slow_ms[0]];
            self.fast_ms = [None, self.fast_ms[0]];
            self.slow_since_ms = now_ms;
        }
        self.slow_ms[0] = self.slow_ms[0].max(took_ms);
        let fastest_ms = self.fast_ms[0].map_or(took_ms, |fast_ms| fast_ms.min(took_ms));
        self.fast_ms[0] = Some(fastest_ms);
        let fastest_ms = self.fast_ms[1].map_or(fastest_ms, |fast_ms| fast_ms.min(fastest_ms));
        let is_late = SENT_AGAIN_MS <= took_ms.saturating_sub(fastest_ms);
        self.late_answers = self.late_answers << 1 | u16::from(is_late);
    }
}

/// Names one stream of a server, so that the end of an old stream does not end its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    server: ServerId,
    id: u64,
}

/// The table of live streams.
#[derive(Debug, Default)]
pub struct Presence {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    servers: HashMap<ServerId, Live>,
    connections: u64,
}

impl Presence {
    /// A stream of `server` is open as of now; an older one counts no more.
    pub fn connected(&self, server: ServerId, now_ms: i64) -> Connection {
        let mut inner = self.lock();
        inner.connections += 1;
        let id = inner.connections;
        let mut before = inner.servers.get(&server).copied().unwrap_or_default();
        // A stream that was given up for want of an answer tells most of how hard a server is to reach.
        if let Some(since_ms) = before.unanswered_since_ms
            && (0..HARD_TO_REACH_MS).contains(&now_ms.saturating_sub(since_ms))
        {
            before.answered_in(now_ms - since_ms, now_ms);
        }
        inner.servers.insert(
            server,
            Live {
                connected: true,
                last_frame_ms: now_ms,
                last_pong_ms: 0,
                unanswered_since_ms: None,
                clock_skew_ms: None,
                is_held_up: false,
                slow_ms: before.slow_ms,
                fast_ms: before.fast_ms,
                late_answers: before.late_answers,
                slow_since_ms: before.slow_since_ms,
                connection: id,
            },
        );
        Connection { server, id }
    }

    /// Anything at all came on the stream.
    pub fn frame(&self, connection: Connection, now_ms: i64) {
        self.change(connection, |live| live.last_frame_ms = now_ms);
    }

    /// A ping went out.
    pub fn pinged(&self, connection: Connection, now_ms: i64) {
        self.change(connection, |live| {
            live.unanswered_since_ms.get_or_insert(now_ms);
        });
    }

    /// A pong came in.
    pub fn ponged(&self, connection: Connection, now_ms: i64) {
        self.change(connection, |live| {
            live.last_frame_ms = now_ms;
            live.last_pong_ms = now_ms;
            if let Some(since_ms) = live.unanswered_since_ms.take() {
                live.answered_in(now_ms.saturating_sub(since_ms), now_ms);
            }
        });
    }

    /// It is us who do not read, or do again.
    pub fn held_up(&self, connection: Connection, is_held_up: bool) {
        self.change(connection, |live| live.is_held_up = is_held_up);
    }

    /// The server's clock was read.
    pub fn clock_read(&self, connection: Connection, skew_ms: i64) {
        self.change(connection, |live| live.clock_skew_ms = Some(skew_ms));
    }

    /// How many servers were connected since the controller started.
    #[must_use]
    pub fn known_count(&self) -> usize {
        self.lock().servers.len()
    }

    /// The stream has ended. Returns whether it was still the server's current one.
    pub fn disconnected(&self, connection: Connection) -> bool {
        let mut was_current = false;
        self.change(connection, |live| {
            live.connected = false;
            // A ping that was not answered before the stream ended never is, and counts until there is another stream.
            live.is_held_up = false;
            was_current = true;
        });
        was_current
    }

    /// What is known of `server`; `None` if it was not connected since the controller started.
    #[must_use]
    pub fn of(&self, server: ServerId) -> Option<Live> {
        self.lock().servers.get(&server).copied()
    }

    /// How many streams are open.
    #[must_use]
    pub fn connected_count(&self) -> usize {
        self.lock().servers.values().filter(|live| live.connected).count()
    }

    /// When each server was last heard, Unix ms.
    #[must_use]
    pub fn heard(&self) -> Vec<(ServerId, i64)> {
        let inner = self.lock();
        inner
            .servers
            .iter()
            .map(|(server, live)| (*server, live.last_frame_ms))
            .collect()
    }

    /// Forgets a server that was deleted.
    pub fn forget(&self, server: ServerId) {
        self.lock().servers.remove(&server);
    }

    fn change(&self, connection: Connection, change: impl FnOnce(&mut Live)) {
        if let Some(live) = self.lock().servers.get_mut(&connection.server)
            && live.connection == connection.id
        {
            change(live);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is a few plain assignments, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(7);

    #[test]
    fn the_end_of_an_old_stream_does_not_end_its_successor() {
        let presence = Presence::default();
        let old = presence.connected(SERVER, 1);
        let new = presence.connected(SERVER, 2);
        assert!(!presence.disconnected(old));
        assert!(presence.of(SERVER).unwrap().connected);
        assert!(presence.disconnected(new));
        assert!(!presence.of(SERVER).unwrap().connected);
    }

    #[test]
    fn the_oldest_unanswered_ping_counts_until_a_pong() {
        let presence = Presence::default();
        let stream = presence.connected(SERVER, 1);
        presence.pinged(stream, 10);
        presence.pinged(stream, 20);
        assert_eq!(presence.of(SERVER).unwrap().unanswered_since_ms, Some(10));
        presence.ponged(stream, 25);
        let live = presence.of(SERVER).unwrap();
        assert_eq!((live.unanswered_since_ms, live.last_frame_ms), (None, 25));
    }

    #[test]
    fn a_ping_that_nobody_answered_before_the_stream_ended_counts_until_the_next_stream() {
        let presence = Presence::default();
        let stream = presence.connected(SERVER, 1);
        presence.pinged(stream, 10);
        presence.disconnected(stream);
        assert_eq!(presence.of(SERVER).unwrap().unanswered_since_ms, Some(10));
        presence.connected(SERVER, 40);
        assert_eq!(presence.of(SERVER).unwrap().unanswered_since_ms, None);
    }

    #[test]
    fn answers_are_late_if_they_take_much_longer_than_the_fastest_and_the_last_sixteen_count() {
        let presence = Presence::default();
        let mut now_ms = 1_000_000;
        let stream = presence.connected(SERVER, now_ms);
        let mut answer = |took_ms: i64| {
            now_ms += 10_000;
            presence.pinged(stream, now_ms);
            presence.ponged(stream, now_ms + took_ms);
            presence.of(SERVER).unwrap().late_answers()
        };
        // A link that is slow and steady loses nothing.
        assert_eq!([600, 620, 745].map(&mut answer), [0, 0, 0]);
        assert_eq!([750, 5_000, 640].map(&mut answer), [1, 2, 2]);
        assert_eq!((0..16).map(|_| answer(600)).last(), Some(0));
    }

    #[test]
    fn one_who_is_back_soon_after_a_ping_nobody_answered_was_hard_to_reach_and_later_was_away() {
        for (back_after_ms, slowest_ms) in [(40_000, 40_000), (89_999, 89_999), (90_000, 0), (3_600_000, 0)] {
            let presence = Presence::default();
            let stream = presence.connected(SERVER, 1_000_000);
            presence.pinged(stream, 1_000_000);
            presence.disconnected(stream);
            presence.connected(SERVER, 1_000_000 + back_after_ms);
            let live = presence.of(SERVER).unwrap();
            assert_eq!(live.slowest_pong_ms(), slowest_ms, "{back_after_ms}");
        }
    }

    #[test]
    fn a_forgotten_server_is_unknown() {
        let presence = Presence::default();
        let stream = presence.connected(SERVER, 1);
        presence.forget(SERVER);
        presence.frame(stream, 5);
        assert_eq!((presence.of(SERVER), presence.connected_count()), (None, 0));
    }
}
