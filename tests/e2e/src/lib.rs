//! A world of whole Muster processes on loopback, each test's own: ports, folders, certificates, database.
//!
//! Nothing here knows how the programs work inside; it starts them as a person would and asks them over their public
//! interfaces. Processes are ended by the handles that started them, also when a test fails.

mod api;
mod browser;
pub mod disk;
pub mod engines;
pub mod guest;
pub mod lab;
pub mod ledger;
pub mod lossy;
pub mod memory;
mod process;
pub mod sink;
pub mod tree;
mod world;

pub use api::Api;
pub use browser::Browser;
pub use process::{Process, binary, eventually, run_to_end, run_with};
pub use world::{FAST_ENROLMENT, Fleet, World};

/// Whether the long form of a campaign is asked for.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("MUSTER_TEST_FULL").is_some()
}
