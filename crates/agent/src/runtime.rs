//! Container engines of this server: how they are found, spoken to, and what they say.
//!
//! [`Engine`] is what the rest of the agent sees of one that is told to do something; reading goes through `Reader`.
//! Nothing else opens an engine's socket, and nothing passes a request on to it that did not begin as a typed call here.

mod client;
pub mod discover;
mod endpoint;
mod engine;
pub(crate) mod reader;
pub(crate) mod watch;

pub use client::{Client, Limits};
pub use endpoint::Endpoint;
pub use engine::{Engine, EngineError, EngineKind, ImageId, LogChunk, PullProgress, RegistryAuth};
