//! Whom a client trusts: the certificates it was given, else the system's. There is no way to trust everybody.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::ClientError;

/// TLS verified against `ca` (PEM) or the system's certificates.
pub(super) fn config(ca: Option<&str>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|source| ClientError::CaPem { source })?;
                roots
                    .add(certificate)
                    .map_err(|source| ClientError::Ca { source })?;
            }
            if roots.is_empty() {
                return Err(ClientError::NoCa);
            }
        }
        None => roots = system_roots(),
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| ClientError::Ca { source })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// What the system trusts. One that cannot be used does not spoil the others; none at all trusts nobody.
pub(super) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The one crypto provider.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
