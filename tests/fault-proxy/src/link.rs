//! The state of the line, the same for all connections, changed while they run.

use std::time::Duration;

use crate::script::Direction;

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
        delay: Duration::ZERO,
        bytes_per_s: None,
        flow: Flow::Pass,
    };
}
