//! The calls of a container engine that Muster makes, whichever engine it is.
//!
//! What is inspected stays the engine's own JSON: typed bindings lose every field that they do not know, and a container
//! that is made again from what they kept would lose it too.

use async_trait::async_trait;
use muster_model::ResourceKey;
use serde_json::Value;
use thiserror::Error;

/// Which engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// An image's id, `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub String);

/// How to be let in by the registry that is pulled from. Never printed.
#[derive(Clone)]
pub struct RegistryAuth {
    /// The registry's host, with its port where it has one.
    pub registry: String,
    /// User name; empty when the password is an identity token.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// Bytes that came.
    pub done_bytes: u64,
    /// Bytes that are known to come.
    pub total_bytes: u64,
}

/// A line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Whether it came on standard error.
    pub is_stderr: bool,
    /// The text, with its time in front as the engine writes it.
    pub text: String,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Nobody answers on its socket; or the connection broke before the answer (`ConnectionReset`).
    #[error("{call}: the engine at {endpoint} can't be reached")]
    Unreachable {
        /// What was asked.
        call: &'static str,
        /// Its socket.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// It knows no such container, image or network.
    #[error("{call}: no such thing: {message}")]
    NotFound {
        /// What was asked.
        call: &'static str,
        /// What it said.
        message: String,
    },
    /// It refused, or failed.
    #[error("{call}: the engine answered {status}: {message}")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It took too long.
    #[error("{call}: no answer within {limit_s} s")]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// The limit.
        limit_s: u64,
    },
    /// What was to stand in a path is no name, so nothing was asked.
    #[error("{call}: {message}")]
    BadName {
        /// What was to be asked.
        call: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// What it said can't be read.
    #[error("{call}: the answer can't be read: {message}")]
    Unreadable {
        /// What was asked.
        call: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl EngineError {
    /// Whether it was asked and its answer is not known: what was asked may have been done.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind() == std::io::ErrorKind::ConnectionReset,
            Self::TimedOut { .. } | Self::Unreadable { .. } => true,
            Self::NotFound { .. } | Self::Refused { .. } | Self::BadName { .. } => false,
        }
    }
}

/// One engine. Every call has a deadline of its own, and none is repeated by itself.
///
/// Containers and images are named by name or id; what goes into a path is checked before: an id with a slash, a control
/// character or a percent sign is refused without a request.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Key of its resource, such as `runtime:docker`.
    fn key(&self) -> &ResourceKey;
    /// Which engine it is.
    fn kind(&self) -> EngineKind;
    /// `GET /version`, with the API version that is spoken from then on.
    async fn version(&self) -> Result<Value, EngineError>;
    /// `GET /info`.
    async fn info(&self) -> Result<Value, EngineError>;
    /// All containers, running or not: an array as of `GET /containers/json?all=true`.
    async fn containers(&self) -> Result<Vec<Value>, EngineError>;
    /// `GET /containers/{id}/json`, byte for byte what the engine says.
    async fn inspect(&self, container: &str) -> Result<Value, EngineError>;
    /// What the engine says of a container in its own words, beyond what Docker's API knows; `None`: it has no others.
    async fn inspect_native(&self, container: &str) -> Result<Option<Value>, EngineError>;
    /// `GET /images/{id}/json`.
    async fn inspect_image(&self, image: &str) -> Result<Value, EngineError>;
    /// All images: an array as of `GET /images/json`.
    async fn images(&self) -> Result<Vec<Value>, EngineError>;
    /// Pulls `repository@digest` and nothing else; the id of the image that came. `progress` is called as it comes.
    async fn pull(
        &self,
        repository: &str,
        digest: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<ImageId, EngineError>;
    /// Gives an image a name: `repository:tag`.
    async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError>;
    /// Removes an image, or only the name when others are left; never by force.
    async fn remove_image(&self, image: &str) -> Result<(), EngineError>;
    /// Renames a container.
    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError>;
    /// Makes a container of `body`, which is what `POST /containers/create` takes; its id.
    async fn create(&self, name: &str, platform: Option<&str>, body: &Value) -> Result<String, EngineError>;
    /// Connects it to a network with these endpoint settings (`EndpointConfig`).
    async fn connect(&self, network: &str, container: &str, endpoint: &Value) -> Result<(), EngineError>;
    /// Takes it off a network.
    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError>;
    /// Sets its restart policy: `{"Name": "no", "MaximumRetryCount": 0}`. `Ok(false)`: this engine cannot.
    async fn set_restart_policy(&self, container: &str, policy: &Value) -> Result<bool, EngineError>;
    /// Starts it; that it runs already is no error.
    async fn start(&self, container: &str) -> Result<(), EngineError>;
    /// Stops it; that it does not run is no error. `None`: in the time it is configured with.
    async fn stop(&self, container: &str, timeout_s: Option<u32>) -> Result<(), EngineError>;
    /// Stops and starts it.
    async fn restart(&self, container: &str, timeout_s: Option<u32>) -> Result<(), EngineError>;
    /// Freezes it.
    async fn pause(&self, container: &str) -> Result<(), EngineError>;
    /// Lets it go on.
    async fn unpause(&self, container: &str) -> Result<(), EngineError>;
    /// Removes it, never its volumes (`v=false`); `force`: even while it runs.
    async fn remove(&self, container: &str, force: bool) -> Result<(), EngineError>;
    /// The end of its log, oldest line first, at most `bytes_max`; times as RFC 3339 in front of each line.
    async fn logs(
        &self,
        container: &str,
        range: &muster_model::LogRange,
        bytes_max: usize,
    ) -> Result<Vec<LogChunk>, EngineError>;
}
