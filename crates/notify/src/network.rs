//! Connections outwards: names are resolved, every address is judged, and the one that was judged is connected to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Host;

use crate::guard::{Guard, Refused};

/// How long one address may take to answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a name may take to be resolved.
const RESOLVE_MAX: Duration = Duration::from_secs(5);
/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 4;

/// Resolves names.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    /// Why there are none.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Asks the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name has no address at the moment.
    #[error("resolve {name}")]
    Resolve {
        /// The name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// None of its addresses may be connected to.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No address answered.
    #[error("connect to {address}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Makes connections.
#[derive(Clone)]
pub struct Network {
    resolver: Arc<dyn Resolve>,
    guard: Guard,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Network")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Resolves with `resolver`, connects to what `guard` lets pass.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, guard: Guard) -> Self {
        Self { resolver, guard }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, host: &Host<String>, port: u16) -> Result<TcpStream, ConnectError> {
        let mut refused = None;
        let mut failed = None;
        let allowed = self.addresses(host, port).await?.into_iter().filter(|address| {
            let checked = self.guard.check(address.ip());
            let passes = checked.is_ok();
            refused = refused.take().or(checked.err());
            passes
        });
        for address in allowed.take(ADDRESSES_MAX) {
            match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(source)) => failed = Some(ConnectError::Connect { address, source }),
                Err(elapsed) => {
                    let source = elapsed.into();
                    failed = Some(ConnectError::Connect { address, source });
                }
            }
        }
        Err(match (failed, refused) {
            (Some(failed), _) => failed,
            (None, Some(refused)) => refused.into(),
            (None, None) => ConnectError::Resolve {
                name: host.to_string(),
                source: io::Error::new(io::ErrorKind::NotFound, "it has no address"),
            },
        })
    }

    async fn addresses(&self, host: &Host<String>, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let name = match host {
            Host::Ipv4(address) => return Ok(vec![SocketAddr::from((*address, port))]),
            Host::Ipv6(address) => return Ok(vec![SocketAddr::from((*address, port))]),
            Host::Domain(name) => name,
        };
        let resolved = timeout(RESOLVE_MAX, self.resolver.resolve(name, port)).await;
        let resolved = resolved.unwrap_or_else(|elapsed| Err(elapsed.into()));
        resolved.map_err(|source| ConnectError::Resolve {
            name: name.clone(),
            source,
        })
    }
}
