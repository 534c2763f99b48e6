//! Simulations of delivery: the tests are in `tests/`.
//!
//! Real code of agent and controller runs under a scheduler that owns time, disks, links and chance. One seed decides
//! everything, so that a run that finds a fault can be had again.
