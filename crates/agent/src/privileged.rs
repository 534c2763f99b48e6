//! The part of the agent with rights, in a process of its own.
//!
//! Collectors placed [`Place::Privileged`](crate::collect::Place) run in a child process, so that what talks to the
//! network never opens a device. The two speak over a pair of Unix sockets: settings once, then names of collectors
//! from the closed list; facts come back. Nothing that comes over the network can reach further than asking for a
//! collection that would have happened anyway.
//!
//! [`child`] is the process with rights, `parent` keeps one running: a child that dies, hangs or talks nonsense
//! costs the collections under way, which fail with the reason, and is replaced. Why it is as it is:
//! `docs/adr/0011-collectors-with-rights-run-in-a-child-process.md`, and how facts come
//! `docs/adr/0018-facts-of-the-part-with-rights-come-in-parts.md`.

pub mod child;
mod facts;
mod message;
mod parent;
mod rights;

pub use crate::part::Lost;
pub use message::Setup;
pub use parent::{Launch, Privileged, PrivilegedError};
pub use rights::{RightsError, User};
