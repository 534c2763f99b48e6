//! What a server's state is, from what was heard of it. Pure: the caller brings the clock.

use serde::{Deserialize, Serialize};

use super::presence::Live;

/// Nothing heard for this long makes a server late.
const LATE_MS: i64 = 30_000;
/// Nothing heard for this long makes it offline.
const OFFLINE_MS: i64 = 90_000;
/// A ping without an answer for this long makes it offline, whatever TCP believes.
const UNANSWERED_MS: i64 = 30_000;
/// For this long after its own start the controller calls no server offline: the agents are still coming back.
const GRACE_MS: i64 = 60_000;

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerStatus {
    /// It reports, and every collection does what it should.
    Online,
    /// Nothing came for 30 s.
    Late,
    /// Nothing came for 90 s, or it does not answer pings.
    Offline,
    /// It never reported.
    NeverSeen,
    /// It reports, but some collection fails.
    Failing,
    /// Monitoring is switched off; it only sends heartbeats.
    Disabled,
}

impl ServerStatus {
    /// The word used in JSON and on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Late => "late",
            Self::Offline => "offline",
            Self::NeverSeen => "never_seen",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        }
    }
}

/// Everything a status rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// Whether the server is monitored at all.
    pub monitoring_enabled: bool,
    /// When it was last heard according to the store, Unix ms.
    pub last_seen_ms: Option<i64>,
    /// Its stream since the controller started.
    pub live: Option<Live>,
    /// Whether some collector's last run failed.
    pub is_failing: bool,
    /// When the controller started, Unix ms.
    pub started_ms: i64,
}

impl Evidence {
    /// When the server was last heard, Unix ms.
    #[must_use]
    pub fn last_heard_ms(&self) -> Option<i64> {
        let live = self
            .live
            .map(|live| live.last_frame_ms.max(live.last_pong_ms))
            .filter(|&ms| 0 < ms);
        self.last_seen_ms.max(live)
    }

    /// How far the server's clock is ahead of ours, ms, while it is connected.
    #[must_use]
    pub fn clock_skew_ms(&self) -> Option<i64> {
        self.live
            .filter(|live| live.connected)
            .and_then(|live| live.clock_skew_ms)
    }

    /// The status at `now_ms`.
    #[must_use]
    pub fn status(&self, now_ms: i64) -> ServerStatus {
        if !self.monitoring_enabled {
            return ServerStatus::Disabled;
        }
        let Some(heard_ms) = self.last_heard_ms() else {
            return ServerStatus::NeverSeen;
        };
        let silent_ms = now_ms.saturating_sub(heard_ms);
        let ignores_pings = self
            .live
            .and_then(|live| live.unanswered_since_ms)
            .is_some_and(|since| UNANSWERED_MS <= now_ms.saturating_sub(since));
        let in_grace = now_ms.saturating_sub(self.started_ms) < GRACE_MS;
        if OFFLINE_MS <= silent_ms || ignores_pings {
            return if in_grace {
                ServerStatus::Late
            } else {
                ServerStatus::Offline
            };
        }
        if self.is_failing {
            return ServerStatus::Failing;
        }
        if LATE_MS <= silent_ms {
            return ServerStatus::Late;
        }
        ServerStatus::Online
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::presence::Presence;
    use muster_base::id::ServerId;

    const NOW: i64 = 1_000_000;

    fn heard(ago_ms: i64) -> Evidence {
        Evidence {
            monitoring_enabled: true,
            last_seen_ms: Some(NOW - ago_ms),
            live: None,
            is_failing: false,
            started_ms: 0,
        }
    }

    #[test]
    fn silence_makes_late_then_offline() {
        for (ago_ms, expected) in [
            (0, ServerStatus::Online),
            (29_999, ServerStatus::Online),
            (30_000, ServerStatus::Late),
            (89_999, ServerStatus::Late),
            (90_000, ServerStatus::Offline),
        ] {
            assert_eq!(heard(ago_ms).status(NOW), expected, "{ago_ms}");
        }
    }

    #[test]
    fn no_server_is_offline_within_a_minute_of_the_controllers_start() {
        let mut evidence = heard(900_000);
        evidence.started_ms = NOW - 59_999;
        assert_eq!(evidence.status(NOW), ServerStatus::Late);
        evidence.started_ms = NOW - 60_000;
        assert_eq!(evidence.status(NOW), ServerStatus::Offline);
    }

    #[test]
    fn unanswered_pings_make_a_connected_server_offline() {
        let presence = Presence::default();
        let stream = presence.connected(ServerId(1), NOW - 1_000);
        presence.pinged(stream, NOW - 30_000);
        let evidence = Evidence {
            live: presence.of(ServerId(1)),
            ..heard(1_000)
        };
        assert_eq!(evidence.status(NOW), ServerStatus::Offline);
    }

    #[test]
    fn a_host_that_stopped_answering_is_offline_after_half_a_minute_though_its_stream_was_closed_meanwhile() {
        let presence = Presence::default();
        let stream = presence.connected(ServerId(1), NOW - 40_000);
        presence.pinged(stream, NOW - 30_000);
        // The stream is closed from our side after 25 s of silence.
        presence.disconnected(stream);
        let evidence = |now_ms| {
            let live = presence.of(ServerId(1));
            Evidence {
                live,
                ..heard(31_000)
            }
            .status(now_ms)
        };
        assert_eq!(evidence(NOW - 1), ServerStatus::Late);
        assert_eq!(evidence(NOW), ServerStatus::Offline);
        presence.connected(ServerId(1), NOW + 1_000);
        assert_eq!(evidence(NOW + 1_000), ServerStatus::Online);
    }

    #[test]
    fn failing_collections_are_never_shown_as_online() {
        let evidence = Evidence {
            is_failing: true,
            ..heard(0)
        };
        assert_eq!(evidence.status(NOW), ServerStatus::Failing);
        let gone = Evidence {
            is_failing: true,
            ..heard(90_000)
        };
        assert_eq!(gone.status(NOW), ServerStatus::Offline);
    }

    #[test]
    fn a_server_that_never_reported_or_is_switched_off_says_so() {
        let never = Evidence {
            last_seen_ms: None,
            ..heard(0)
        };
        assert_eq!(never.status(NOW), ServerStatus::NeverSeen);
        let disabled = Evidence {
            monitoring_enabled: false,
            ..heard(0)
        };
        assert_eq!(disabled.status(NOW), ServerStatus::Disabled);
    }
}
