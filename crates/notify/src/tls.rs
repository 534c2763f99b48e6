//! Whom to trust: the system's certificates, and for a channel one authority of its own.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

/// Why a text is no certificate.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// It cannot be read.
    #[error("it is not a certificate in PEM form")]
    Pem,
    /// There is none in it.
    #[error("there is no certificate in it")]
    Empty,
}

/// Certificates of authorities.
#[derive(Clone)]
pub struct Roots(Arc<[CertificateDer<'static>]>);

impl fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Roots({})", self.0.len())
    }
}

impl Roots {
    /// Those of the system. A machine without any can still reach channels that bring their own.
    #[must_use]
    pub fn of_the_system() -> Self {
        let mut probe = RootCertStore::empty();
        // Systems keep certificates that no verifier takes; they are left out.
        let usable = rustls_native_certs::load_native_certs()
            .certs
            .into_iter()
            .filter(|certificate| probe.add(certificate.clone()).is_ok());
        Self(usable.collect())
    }

    /// None but those in this PEM text.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn of_pem(pem: &str) -> Result<Self, AuthorityError> {
        let mut probe = RootCertStore::empty();
        let mut found = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| AuthorityError::Pem)?;
            probe.add(certificate.clone()).map_err(|_| AuthorityError::Pem)?;
            found.push(certificate);
        }
        if found.is_empty() {
            return Err(AuthorityError::Empty);
        }
        Ok(Self(found.into()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.0.iter()
    }

    fn client(&self) -> ClientConfig {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.0.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(store)
            .with_no_client_auth()
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: &Self) -> Self {
        Self(self.0.iter().chain(others.0.iter()).cloned().collect())
    }

    /// Makes a connection a TLS one to this host.
    ///
    /// # Errors
    /// The host is no name or address, or does not show that it is who it says.
    pub async fn handshake(
        &self,
        host: &Host<String>,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.clone())
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
        };
        TlsConnector::from(Arc::new(self.client()))
            .connect(name, stream)
            .await
    }
}
