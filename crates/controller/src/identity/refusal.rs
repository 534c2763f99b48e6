//! Why a client certificate does not pass the handshake, as a stable word.
//!
//! What rustls finds and what our own checks find end in one vocabulary, so that counts and the audit log say the same
//! of the same mistake, whoever noticed it.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

use super::peer::PeerError;

/// Why our own checks refuse a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not have the profile of an agent's.
    #[error(transparent)]
    Profile(PeerError),
    /// It names an agent of another installation.
    #[error("the client certificate is of another installation")]
    ForeignInstallation,
    /// It expired longer ago than is forgiven.
    #[error("the client certificate expired too long ago to be renewed")]
    Dead,
}

impl Refusal {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Profile(error) => error.code(),
            Self::ForeignInstallation => "certificate_foreign_installation",
            Self::Dead => "certificate_dead",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let error = match refusal {
            // The peer learns what is wrong by the alert that TLS has for it.
            Refusal::Dead => CertificateError::Expired,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        };
        Self::InvalidCertificate(error)
    }
}

/// The stable word for why a handshake of the agent port failed.
#[must_use]
pub fn code_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => "certificate_required",
        Error::PeerIncompatible(_) => "tls_incompatible",
        Error::NoApplicationProtocol => "tls_protocol",
        Error::AlertReceived(_) => "tls_refused_by_peer",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidEncryptedClientHello(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord
        | Error::PeerMisbehaved(_) => "tls_garbled",
        _ => "tls_failed",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        // One that expired lately passes; see `Dead`.
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::Dead.code(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate_not_valid_yet"
        }
        CertificateError::UnknownIssuer => "certificate_unknown_issuer",
        CertificateError::BadSignature => "certificate_bad_signature",
        CertificateError::BadEncoding => PeerError::Unreadable.code(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            PeerError::Purpose.code()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "certificate_algorithm"
        }
        CertificateError::Other(OtherError(error)) => error
            .downcast_ref::<Refusal>()
            .map_or("certificate_invalid", |refusal| refusal.code()),
        _ => "certificate_invalid",
    }
}
