//! The agent: reads one server through [`host::Host`], and reports what its collectors find.
//!
//! [`collect`] knows nothing of the wire; everything that may fail for a single disk, mount or program is
//! contained there, so that one sick part never silences the rest.

pub mod alarm;
pub mod cli;
pub mod clocks;
pub mod collect;
pub mod command;
pub mod config;
mod durable;
pub mod enrol;
pub mod epoch;
pub mod host;
pub mod identity;
mod memory;
pub mod outbox;
mod packed;
mod part;
pub mod privileged;
pub mod renew;
pub mod report;
pub mod run;
pub mod runtime;
pub mod seal;
pub mod spool;
pub mod update;
pub mod uplink;
