//! The delivering half of the agent against a scripted controller over real TLS.

mod controller;
mod enrolment;
mod pki;
mod stream;
