//! Where an engine listens.

use camino::Utf8PathBuf;
use muster_model::ResourceKey;

use super::EngineKind;

/// An engine's socket, and what its resource is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Key of its resource, such as `runtime:docker`.
    pub key: ResourceKey,
    /// Which engine listens there.
    pub kind: EngineKind,
    /// The Unix socket.
    pub socket: Utf8PathBuf,
}
