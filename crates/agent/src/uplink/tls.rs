//! Whom the agent talks to: TLS 1.3 with a controller whose certificate comes from a known root, or not at all.
//!
//! The controller's name is constant, whatever its address. There is no session resumption: every connection shows
//! and checks the whole chain.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::time::GoodTime;
use crate::identity::Identity;

/// Why TLS could not be set up from an identity.
#[derive(Debug, Error)]
#[error("set up TLS")]
pub struct TlsError(#[from] rustls::Error);

/// No certificate that the controller presented has the key that the token names.
#[derive(Debug, Error)]
#[error("this is not the controller the token was made for")]
pub struct WrongController;

/// TLS of an enrolled agent: shows its certificate, and trusts the identity's roots and nothing else.
pub(super) fn of_identity(identity: &Identity, time: &GoodTime) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in &identity.roots {
        roots.add(root.clone())?;
    }
    let judge = Rooted {
        roots: web_pki(roots)?,
        time: time.clone(),
    };
    let config = builder(Arc::new(time.clone()))?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::of(judge))
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
    Ok(finish(config))
}

/// TLS of an agent that has nothing but a token: trusts the root whose public key has this SHA-256.
pub(super) fn of_pin(pin: [u8; 32]) -> Result<Arc<ClientConfig>, TlsError> {
    // It has talked to no controller yet, and certificates of one are not older than the program by much.
    let config = builder(Arc::new(rustls::time_provider::DefaultTimeProvider))?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::of(PinnedRoot { pin }))
        .with_no_client_auth();
    Ok(finish(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder(
    time: Arc<dyn TimeProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), time);
    Ok(builder.with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn web_pki(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// What a controller shows of itself.
struct Shown<'a> {
    leaf: &'a CertificateDer<'a>,
    issuers: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
}

impl Shown<'_> {
    /// Whether everything is signed from one of these roots, is for this name, and is valid at this time.
    fn verify(
        &self,
        roots: &WebPkiServerVerifier,
        at: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        roots.verify_server_cert(self.leaf, self.issuers, self.name, self.ocsp, at)
    }
}

/// Whose chain is believed.
trait Judge: std::fmt::Debug + Send + Sync + 'static {
    fn judge(&self, shown: &Shown<'_>, now: UnixTime) -> Result<ServerCertVerified, rustls::Error>;
}

/// Signatures as TLS 1.3 wants them, and chains as the judge says.
#[derive(Debug)]
struct Verifier<J> {
    judge: J,
    provider: Arc<CryptoProvider>,
}

impl<J: Judge> Verifier<J> {
    fn of(judge: J) -> Arc<Self> {
        Arc::new(Self {
            judge,
            provider: provider(),
        })
    }
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Shown {
            leaf: end_entity,
            issuers: intermediates,
            name: server_name,
            ocsp: ocsp_response,
        };
        self.judge.judge(&shown, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Longest chain of a controller: root, issuing CA and leaf.
const CHAIN_MAX: usize = 3;

/// As webpki judges. Only where the wall clock shows what can't be, a certificate that has not begun tells the time: its
/// issuer says that it is at least that late.
#[derive(Debug)]
struct Rooted {
    roots: Arc<WebPkiServerVerifier>,
    time: GoodTime,
}

impl Judge for Rooted {
    fn judge(&self, shown: &Shown<'_>, now: UnixTime) -> Result<ServerCertVerified, rustls::Error> {
        let (mut at, mut judged) = (now, shown.verify(&self.roots, now));
        for _ in 0..CHAIN_MAX {
            let begins = match &judged {
                Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if at < *not_before && self.time.is_in_doubt() => *not_before,
                _ => break,
            };
            at = begins;
            judged = shown.verify(&self.roots, at);
        }
        judged
    }
}

/// Accepts a chain only if it contains the root with the pinned key and everything is signed from there.
///
/// What the presented root says of itself counts for nothing but its key and name: the key is the pin's, and the
/// rest of the chain must be signed with it. Signatures, validity and name are webpki's work.
#[derive(Debug)]
struct PinnedRoot {
    pin: [u8; 32],
}

impl PinnedRoot {
    fn has_pinned_key(&self, certificate: &CertificateDer<'_>) -> bool {
        x509_parser::parse_x509_certificate(certificate)
            .is_ok_and(|(_, parsed)| Sha256::digest(parsed.public_key().raw).as_slice() == self.pin)
    }
}

impl Judge for PinnedRoot {
    fn judge(&self, shown: &Shown<'_>, now: UnixTime) -> Result<ServerCertVerified, rustls::Error> {
        let root = shown
            .issuers
            .iter()
            .find(|certificate| self.has_pinned_key(certificate))
            .ok_or_else(|| CertificateError::Other(OtherError(Arc::new(WrongController))))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        shown.verify(&*web_pki(roots)?, now)
    }
}
