//! The Muster controller: takes reports, stores, judges, serves.
//!
//! `grpc` and `http` are thin adapters over `app`; `app` uses `store` (tables), `identity` (keys) and nothing of the
//! network. Reports go `grpc` -> `intake` -> `consume` -> `store` and the sample store. `run` builds all of it.

pub mod alert;
pub mod app;
pub mod backup;
pub mod cli;
pub mod config;
pub mod consume;
pub mod control;
pub mod grpc;
mod guard;
pub mod http;
pub mod identity;
pub mod intake;
pub mod notify;
pub mod registry;
pub mod run;
pub mod store;
pub mod task;
pub mod update;
