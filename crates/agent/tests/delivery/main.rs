//! The delivering half of the agent against a scripted controller over real TLS.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod clocks;
mod controller;
mod enrolment;
mod impostors;
mod lanes;
mod pki;
mod privileged;
mod renewal;
mod stream;
mod whole;
