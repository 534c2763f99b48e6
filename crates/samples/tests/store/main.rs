//! The store from outside: through its public interface and, for damage, its files.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers are part of it"
)]

mod campaign;
mod compacting;
mod concurrency;
mod copying;
mod damage;
mod limits;
mod model;
mod reading;
mod rolling;
mod sealing;
mod world;
