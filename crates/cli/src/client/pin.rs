//! Trust at first sight: what a controller shows, and which of it somebody says is right.
//!
//! A controller that makes its own certificate is unknown to every system. Its root is recognised by the hash of its
//! key, the same that enrolment tokens carry and `muster-controller ca status` prints. Whoever compares them, or gives
//! the hash beforehand, has that root trusted from then on, and nothing else; before that nothing is sent.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::tls::{self, provider};
use super::url::BaseUrl;
use super::{CONNECT_MAX, ClientError};

/// Most certificates of a chain that are looked at.
const CHAIN_MAX: usize = 10;

/// SHA-256 of a SubjectPublicKeyInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin([u8; 32]);

impl std::str::FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not 64 hexadecimal digits, as `muster-controller ca status` prints them");
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The certificates (PEM) that shall be trusted at a controller of which none were given: none if the system knows its
/// certificate, else the one that has this pin or that somebody at the terminal says is right.
///
/// # Errors
/// [`ClientError`] if nothing of what it shows is to be trusted, or it cannot be reached.
pub(crate) async fn meet(base: &BaseUrl, pin: Option<Pin>) -> Result<Option<String>, ClientError> {
    let Some((host, port)) = base.tls_peer() else {
        return match pin {
            Some(_) => Err(ClientError::Usage(
                "without TLS there is nothing to pin".to_owned(),
            )),
            None => Ok(None),
        };
    };
    let shown = look(base, &host, port).await?;
    let mut known = shown.chain.iter().filter_map(|der| Some((pin_of(der)?, der)));
    if let Some(pin) = pin {
        let found = known.find(|(found, _)| *found == pin);
        return match found {
            Some((_, der)) => Ok(Some(pem(der))),
            None => Err(ClientError::Untrusted(format!(
                "no certificate that {base} shows has the pin {pin}: this is not the controller you mean, or somebody is \
                 in between"
            ))),
        };
    }
    match shown.refusal {
        None => Ok(None),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            // The root comes last.
            let Some((pin, der)) = known.next_back() else {
                return Err(ClientError::Untrusted(format!("{base} shows no certificate")));
            };
            confirm(base, pin)?;
            Ok(Some(pem(der)))
        }
        Some(error) => Err(ClientError::Unreachable {
            url: base.to_string(),
            source: error.into(),
        }),
    }
}

fn confirm(base: &BaseUrl, pin: Pin) -> Result<(), ClientError> {
    if !io::stdin().is_terminal() {
        return Err(ClientError::Untrusted(format!(
            "the system does not know the certificate of {base}: give --ca FILE with what `muster-controller ca root` \
             prints, or --pin {pin} if `muster-controller ca status` prints the same"
        )));
    }
    let terminal = |source| ClientError::Terminal { source };
    write!(
        io::stderr(),
        "The system does not know the certificate of {base}. Its root has the pin\n\n    {pin}\n\n\
         On the controller's machine `muster-controller ca status` prints it. Are they the same? [y/N] "
    )
    .map_err(terminal)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(terminal)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(ClientError::Untrusted("nothing was sent".to_owned())),
    }
}

/// What a controller shows.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    /// Why the system does not take it.
    refusal: Option<Error>,
}

/// Begins TLS, and ends it once the certificates are there: nothing is sent.
async fn look(base: &BaseUrl, host: &str, port: u16) -> Result<Shown, ClientError> {
    let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Unreachable {
        url: base.to_string(),
        source,
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(error.into()))?;
    let recorder = Arc::new(Recorder::new()?);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| ClientError::Ca { source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let meeting = async {
        let stream = TcpStream::connect((host, port)).await?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map(drop)
    };
    let met = tokio::time::timeout(CONNECT_MAX, meeting).await;
    let seen = recorder
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match (seen, met) {
        (Some(shown), _) => Ok(shown),
        (None, Ok(Err(error))) => Err(unreachable(error.into())),
        (None, Err(elapsed)) => Err(unreachable(elapsed.into())),
        (None, Ok(Ok(()))) => Err(unreachable("it showed no certificate".into())),
    }
}

/// Judges as the system does, remembers what it saw, and lets nobody pass.
#[derive(Debug)]
struct Recorder {
    system: Option<Arc<WebPkiServerVerifier>>,
    seen: Mutex<Option<Shown>>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("certificates", &self.chain.len())
            .finish()
    }
}

impl Recorder {
    fn new() -> Result<Self, ClientError> {
        let roots = tls::system_roots();
        // A system without any certificates knows nobody.
        let system = if roots.is_empty() {
            None
        } else {
            let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            Some(built.map_err(|error| ClientError::Failed(error.to_string()))?)
        };
        Ok(Self {
            system,
            seen: Mutex::new(None),
        })
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refusal = match &self.system {
            Some(system) => system
                .verify_server_cert(end_entity, intermediates, name, ocsp, now)
                .err(),
            None => Some(CertificateError::UnknownIssuer.into()),
        };
        let chain = std::iter::once(end_entity).chain(intermediates).take(CHAIN_MAX);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shown {
            chain: chain.map(|der| der.clone().into_owned()).collect(),
            refusal,
        });
        // That was all.
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn pin_of(der: &CertificateDer<'_>) -> Option<Pin> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Pin(Sha256::digest(certificate.public_key().raw).into()))
}

/// RFC 7468.
fn pem(der: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64);
    let lines: Vec<_> = lines.map(String::from_utf8_lossy).collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_is_printed_with_or_without_colons() {
        let text = "00ff".repeat(16);
        let pin: Pin = text.parse().unwrap();
        assert_eq!(pin.to_string(), text);
        let colons: Vec<&str> = (0..32).map(|index| &text[2 * index..2 * index + 2]).collect();
        assert_eq!(colons.join(":").to_uppercase().parse::<Pin>().unwrap(), pin);
        for odd in ["", "00", &"0g".repeat(32), &"é".repeat(32), &format!("{text}00")] {
            assert!(odd.parse::<Pin>().is_err(), "{odd}");
        }
    }
}
