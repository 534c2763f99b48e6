//! A TCP proxy between agents and a controller that delays, throttles, holds back, loses and cuts, for tests.
//!
//! Two things decide what happens to a connection. The [`Link`] is the state of the line: it holds for all
//! connections, and a test changes it while they run. The [`Script`] is the fate of single connections: from a seed
//! and a connection's number follows after how many bytes it breaks and how, so that a run can be repeated.
//!
//! What it passes on, it passes on unchanged and in order. Duplicating or reordering bytes has no place here: TLS ends
//! a connection at the first byte that is not the next one, so nothing above would ever see them. Duplicated and
//! reordered *messages* are the simulated agents' work. For the same reason bytes that are [thrown
//! away](Flow::Discard) leave a connection on which that direction can say nothing any more, until it is cut; that is
//! what losing acknowledgements looks like.
//!
//! Memory is bounded: a direction holds at most [`BUFFER_BYTES_MAX`], and reads no further while that is full, so that
//! back pressure reaches the other side as it does on a real line.

mod connection;
mod flap;
mod link;
mod proxy;
mod pump;
mod script;

pub use flap::Flapping;
pub use link::{Door, Flow, Line, Link};
pub use proxy::{FaultProxy, Stats};
pub use pump::BUFFER_BYTES_MAX;
pub use script::{Chaos, Cut, Direction, Plan, Script, Then};

#[cfg(test)]
mod tests;
