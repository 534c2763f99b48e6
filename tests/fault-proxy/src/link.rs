//! The state of the line, the same for all connections, changed while they run.

use std::time::Duration;

use crate::script::Direction;

/// After this time TCP sends a packet again for the first time (RFC 6298 asks for 1 s; Linux takes this).
const RETRANSMISSION_MIN: Duration = Duration::from_millis(200);
/// A packet that was late by so much is not lost once more: nobody waits for it any longer.
const RETRANSMISSION_MAX: Duration = Duration::from_secs(60);

/// What becomes of bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// They arrive.
    #[default]
    Pass,
    /// Nothing arrives while this lasts, and all of it afterwards: a line that loses every packet, which TCP then
    /// sends again.
    Hold,
    /// They are taken and never arrive. Nothing can be said any more in this direction of a connection that has lost
    /// bytes: it stays silent until it is cut.
    Discard,
}

/// One direction of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Line {
    /// Of a thousand packets so many are lost. As TCP sends them again, what was lost and all that follows it arrives
    /// later: after 200 ms, and twice as long each time it is lost once more.
    pub lost_of_thousand: u16,
    /// Time on the way: half a round trip.
    pub delay: Duration,
    /// Most bytes per second of each connection; no limit if `None`.
    pub bytes_per_s: Option<u32>,
    /// What becomes of bytes.
    pub flow: Flow,
}

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// They are passed on.
    #[default]
    Open,
    /// They are reset at once: nobody listens there.
    Reset,
    /// They are taken and never answered: a machine that is gone, or a firewall that says nothing.
    Silent,
}

/// The line as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// From the client to the server.
    pub up: Line,
    /// From the server to the client.
    pub down: Line,
    /// New connections.
    pub door: Door,
}

impl Link {
    /// A line that does nothing to what it carries.
    pub const CLEAR: Self = Self {
        up: Line::CLEAR,
        down: Line::CLEAR,
        door: Door::Open,
    };

    /// A line with this round trip.
    #[must_use]
    pub fn with_round_trip(mut self, round_trip: Duration) -> Self {
        self.up.delay = round_trip / 2;
        self.down.delay = round_trip / 2;
        self
    }

    /// A line that carries so many bits per second each way, for each connection.
    #[must_use]
    pub const fn with_bits_per_s(mut self, bits_per_s: u32) -> Self {
        self.up.bytes_per_s = Some(bits_per_s / 8);
        self.down.bytes_per_s = Some(bits_per_s / 8);
        self
    }

    /// A line that loses so many of a thousand packets each way.
    #[must_use]
    pub const fn with_lost_of_thousand(mut self, lost: u16) -> Self {
        self.up.lost_of_thousand = lost;
        self.down.lost_of_thousand = lost;
        self
    }

    /// A line on which this becomes of bytes in one direction.
    #[must_use]
    pub const fn with_flow(mut self, direction: Direction, flow: Flow) -> Self {
        match direction {
            Direction::Up => self.up.flow = flow,
            Direction::Down => self.down.flow = flow,
        }
        self
    }

    /// A line on which nothing arrives, either way, and nobody answers at the door.
    #[must_use]
    pub const fn down() -> Self {
        let mut link = Self::CLEAR
            .with_flow(Direction::Up, Flow::Hold)
            .with_flow(Direction::Down, Flow::Hold);
        link.door = Door::Silent;
        link
    }

    pub(crate) const fn line(&self, direction: Direction) -> Line {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }
}

impl Line {
    /// Does nothing to what it carries.
    pub const CLEAR: Self = Self {
        lost_of_thousand: 0,
        delay: Duration::ZERO,
        bytes_per_s: None,
        flow: Flow::Pass,
    };
}

impl Line {
    /// How much later a packet arrives because it was lost, once or several times.
    pub(crate) fn sent_again_after(self) -> Duration {
        let mut waited = Duration::ZERO;
        let mut timeout = RETRANSMISSION_MIN;
        while fastrand::u16(..1_000) < self.lost_of_thousand && waited < RETRANSMISSION_MAX {
            waited += timeout;
            timeout *= 2;
        }
        waited
    }
}
