//! TLS of the agent port.
//!
//! A client certificate is asked for but not required: without one only enrolment answers. One that is shown must be
//! an agent's and come from our root, or the handshake is refused; one that expired a short while ago passes the
//! handshake, and is marked by [`PeerCertificate`] as good for renewal only.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use muster_base::clock::WallClock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme};
use uuid::Uuid;

use super::authority;
use super::peer::PeerCertificate;
use super::refusal::Refusal;
use super::rotation::Authorities;
use super::{DAY_MS, IdentityError};

/// The name that agents expect, whatever the address.
pub const CONTROLLER_NAME: &str = "controller.muster.internal";
/// How long the controller's own certificate is valid.
const SERVER_MS: i64 = 30 * DAY_MS;

/// The certificate that the controller shows, which may be renewed while connections come in.
#[derive(Debug)]
pub(super) struct CurrentCertificate {
    names: Vec<String>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    not_before_ms: i64,
    not_after_ms: i64,
}

impl CurrentCertificate {
    /// One for these DNS names and addresses.
    pub(super) fn issue(
        authorities: &Authorities,
        names: Vec<String>,
        now_ms: i64,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            current: RwLock::new(Current::issue(authorities, &names, now_ms)?),
            names,
        })
    }

    pub(super) fn renew(&self, authorities: &Authorities, now_ms: i64) -> Result<(), IdentityError> {
        let fresh = Current::issue(authorities, &self.names, now_ms)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// When the certificate shown ends, Unix ms.
    pub(super) fn not_after_ms(&self) -> i64 {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.not_after_ms
    }

    pub(super) fn is_half_over(&self, now_ms: i64) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        authority::is_half_over(current.not_before_ms, current.not_after_ms, now_ms)
    }
}

impl Current {
    /// A new key with a new certificate; the key is never stored.
    fn issue(authorities: &Authorities, names: &[String], now_ms: i64) -> Result<Self, IdentityError> {
        let key = authority::new_key()?;
        let issuing = authorities.for_controller();
        let leaf = issuing.issue_server(names, &key, now_ms, SERVER_MS)?;
        let mut chain = vec![leaf.certificate, issuing.certificate().clone()];
        chain.extend(authorities.tail().into_iter().map(CertificateDer::from));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = provider::sign::any_supported_type(&key).map_err(IdentityError::Tls)?;
        Ok(Self {
            key: Arc::new(CertifiedKey::new(chain, key)),
            not_before_ms: leaf.not_before_ms,
            not_after_ms: leaf.not_after_ms,
        })
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner).key,
        ))
    }
}

/// The agent port's TLS.
pub(super) fn server_config(
    verifier: Arc<AgentVerifier>,
    certificate: Arc<CurrentCertificate>,
    clock: WallClock,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = Arc::new(provider::default_provider());
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Time(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IdentityError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the check of the certificate.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// TLS of the port for people and programs: version 1.3 only, with whatever certificate there is at the time.
///
/// # Errors
/// [`IdentityError::Tls`] if the library refuses, which is a defect.
pub fn http_config(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = Arc::new(provider::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IdentityError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Time(WallClock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.now_ms()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

/// Lets agents of this installation in, and those without a certificate.
#[derive(Debug)]
pub(super) struct AgentVerifier {
    /// Exchanged as a whole when roots come or go.
    chain: RwLock<Arc<dyn ClientCertVerifier>>,
    installation: Uuid,
}

impl AgentVerifier {
    /// Takes certificates that come from these roots.
    pub(super) fn new(roots: Vec<Vec<u8>>, installation: Uuid) -> Result<Self, IdentityError> {
        Ok(Self {
            chain: RwLock::new(chain_verifier(roots)?),
            installation,
        })
    }

    /// From now on takes certificates that come from these roots.
    pub(super) fn take(&self, roots: Vec<Vec<u8>>) -> Result<(), IdentityError> {
        let chain = chain_verifier(roots)?;
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(())
    }

    fn chain(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.chain.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn chain_verifier(roots: Vec<Vec<u8>>) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.into()).map_err(IdentityError::Tls)?;
    }
    let provider = Arc::new(provider::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| IdentityError::Tls(Error::General(error.to_string())))
}

impl ClientCertVerifier for AgentVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Without hints an agent shows the certificate it has, and learns why it is refused.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now_ms = i64::try_from(now.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        let peer = PeerCertificate::parse(end_entity, now_ms).map_err(Refusal::Profile)?;
        if peer.installation != self.installation {
            return Err(Refusal::ForeignInstallation.into());
        }
        if !peer.expired {
            return self.chain().verify_client_cert(end_entity, intermediates, now);
        }
        if peer.is_dead(now_ms) {
            return Err(Refusal::Dead.into());
        }
        // Whatever else must hold is judged at the last moment at which the certificate was valid.
        let end_s = u64::try_from(peer.not_after_ms / 1_000).unwrap_or(0);
        let at_its_end = UnixTime::since_unix_epoch(Duration::from_secs(end_s));
        self.chain()
            .verify_client_cert(end_entity, intermediates, at_its_end)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain()
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain()
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain().supported_verify_schemes()
    }
}
