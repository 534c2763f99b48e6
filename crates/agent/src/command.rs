//! Commands of a controller: what this server takes of them is decided here, by a policy that no controller can write.
//!
//! A process of its own, with the rights and without a network ([`child`]), gets envelopes exactly as they were signed
//! and verifies them itself: the part of the agent that talks to the network passes bytes on and can forge none. Nothing
//! is done before it was written down ([`journal`]), everything that was decided is in a log that shows when it was
//! changed ([`audit`]), and what was under way when the process ended is looked at before anything new is taken.
//!
//! [`executor`] owns a command from its first byte to the controller's word that it knows the end; [`policy`] decides,
//! `verbs` does, [`link`] is the way between the two processes.

pub mod audit;
pub mod child;
pub mod engines;
pub mod executor;
pub mod journal;
mod keys;
pub mod link;
mod message;
pub mod pinned;
pub mod policy;
pub mod refused;
mod reports;
pub mod transactions;
mod verbs;

use std::sync::Arc;

use async_trait::async_trait;
use muster_model::ResourceKey;

use crate::runtime::Engine;

/// Finds the engine of a runtime's resource.
#[async_trait]
pub trait Engines: Send + Sync {
    /// The engine, if there is one of this key.
    async fn engine(&self, key: &ResourceKey) -> Option<Arc<dyn Engine>>;
}

/// No engine at all.
#[derive(Debug, Clone, Copy)]
pub struct NoEngines;

#[async_trait]
impl Engines for NoEngines {
    async fn engine(&self, _key: &ResourceKey) -> Option<Arc<dyn Engine>> {
        None
    }
}

/// SHA-256 as lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
