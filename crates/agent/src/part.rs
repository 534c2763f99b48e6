//! Parts of the agent that run in a process of their own: this program again, confined, asked over a pair of sockets.
//!
//! The agent [`Starter::start`]s one and keeps it: whatever goes wrong with it (it dies, it says what makes no sense,
//! it takes no messages) ends it, and it is started again after a delay that grows. An agent that has given its rights
//! up cannot start it again: then it is [`Lost`], and with it the agent, for its service manager to start both.
//!
//! The part gives up what it does not need before anything else, hears first what it is set to, and ends when its socket
//! ends, and with its parent whatever happens. What is said, JSON to the part and what it likes from it, is the
//! business of [`crate::privileged`] and [`crate::command`]: both sides are the same program, so there is one version.

mod child;
mod confine;
mod frame;
mod parent;

use std::time::Duration;

pub(crate) use child::{Parent, PartError, main};
pub(crate) use frame::{FROM_PART_BYTES_MAX, FrameError, write};
pub use parent::Lost;
pub(crate) use parent::{End, FromPart, OWN_PROGRAM, Running, Starter};

/// Which part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// The word of the command line that makes this program the part.
    pub(crate) argument: &'static str,
    /// What it is called in logs and errors.
    pub(crate) name: &'static str,
    /// How long a message to it may take.
    pub(crate) write_max: Duration,
}
