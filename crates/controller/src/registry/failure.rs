//! Why a registry did not say what was asked.

use muster_image::manifest::ManifestError;
use muster_notify::ConnectError;
use thiserror::Error;

/// Why a registry did not say what was asked. None of them means that there is nothing newer.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// There is no connection.
    #[error("connect to {host}")]
    Connect {
        /// Whom to.
        host: String,
        /// Why.
        source: ConnectError,
    },
    /// The address is one that nobody should be led to.
    #[error("{host} is at {address}, {why}, and registries.allow_addresses does not list it")]
    Refused {
        /// The name.
        host: String,
        /// The address.
        address: std::net::IpAddr,
        /// What it is.
        why: &'static str,
    },
    /// It did not show that it is who it should be.
    #[error("agree on TLS with {host}")]
    Tls {
        /// Whom with.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke off.
    #[error("ask {host}")]
    Exchange {
        /// Whom.
        host: String,
        /// Why.
        source: hyper::Error,
    },
    /// A request cannot be written.
    #[error("the request to {host} cannot be sent")]
    Request {
        /// Whom to.
        host: String,
        /// Why.
        source: hyper::http::Error,
    },
    /// It took too long.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Who.
        host: String,
    },
    /// An answer is longer than is read.
    #[error("{host} answered with more than {max_bytes} bytes")]
    TooLarge {
        /// Who.
        host: String,
        /// What is read.
        max_bytes: usize,
    },
    /// It answered something else than was asked for.
    #[error("{host} answered {status} to a request for {what}")]
    Status {
        /// Who.
        host: String,
        /// What it said.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// There is no such image.
    #[error("{host} does not have {what}")]
    NotFound {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// It does not let us.
    #[error("{host} refuses access to {what}: there is no such image, or credentials are needed")]
    Denied {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// Name or password are wrong.
    #[error("{host} refuses the user name or password of {registry}")]
    Credentials {
        /// Who.
        host: String,
        /// For which registry they are.
        registry: String,
    },
    /// It wants the credentials sent to somebody who has nothing to do with it.
    #[error(
        "{registry} asks for its credentials to be sent to {realm}, which is not part of it: they were not sent"
    )]
    HostileRealm {
        /// The registry.
        registry: String,
        /// The other host.
        realm: String,
    },
    /// It wants to be shown something that is not understood.
    #[error("{host} asks for authentication in a way that is not understood: {why}")]
    Challenge {
        /// Who.
        host: String,
        /// What about it.
        why: String,
    },
    /// What should have been a token is none.
    #[error("{host} gave no token")]
    Token {
        /// Who.
        host: String,
    },
    /// It said to ask later.
    #[error("{host} has had too many requests; it is asked again in {wait_s} s")]
    RateLimited {
        /// Who.
        host: String,
        /// How long, in seconds.
        wait_s: u64,
    },
    /// What it still allows is left for those who pull.
    #[error("{host} allows only {remaining} more pulls of {limit}, which are left for containers")]
    Reserved {
        /// Who.
        host: String,
        /// How many are left.
        remaining: u64,
        /// Of how many.
        limit: u64,
    },
    /// It pointed elsewhere too often, or to where is not followed.
    #[error("{host} points to {to}, which is not followed")]
    Redirect {
        /// Who.
        host: String,
        /// Where to, without what may be secret.
        to: String,
    },
    /// What it sent is no manifest.
    #[error("{host} sent something else than a manifest")]
    Manifest {
        /// Who.
        host: String,
        /// Why.
        source: ManifestError,
    },
    /// The bytes are not those that were asked for.
    #[error("{host} sent bytes that do not have the digest {digest}")]
    Mismatch {
        /// Who.
        host: String,
        /// What was asked for, or said.
        digest: String,
    },
    /// Something else that should have been there is not.
    #[error("{host} sent an answer that cannot be read: {why}")]
    Answer {
        /// Who.
        host: String,
        /// What about it.
        why: &'static str,
    },
    /// Indexes in indexes without end.
    #[error("an index of {what} holds indexes more than {max} deep")]
    Nested {
        /// The image.
        what: String,
        /// How deep is looked.
        max: usize,
    },
    /// The registry is set up, and switched off.
    #[error("the registry {0} is disabled")]
    Disabled(String),
    /// Its credentials cannot be opened.
    #[error("the credentials of {0} cannot be opened")]
    Sealed(String),
}

impl RegistryError {
    /// Whether the other side refused who asked, as opposed to what was asked.
    #[must_use]
    pub const fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::Credentials { .. } | Self::HostileRealm { .. } | Self::Denied { .. }
        )
    }
}
