//! Reading an agent's certificate request: its public key and the proof that the agent holds the private one.
//!
//! Every other field is ignored: names, extensions and lifetimes are decided by the controller alone.

use rcgen::SubjectPublicKeyInfo;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer as _;

/// Longest request taken, in bytes; one with a P-256 key has about 200.
const REQUEST_BYTES_MAX: usize = 4_096;

/// Why a certificate request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It is longer than any honest one.
    #[error("the certificate request is too long")]
    TooLong,
    /// It is not a request.
    #[error("the certificate request cannot be read")]
    Unreadable,
    /// Its key is not on the curve P-256.
    #[error("the certificate request must have a P-256 key")]
    NotP256,
    /// The signature does not prove possession of the key.
    #[error("the certificate request is not signed by its own key")]
    NotProven,
}

/// A public key whose private one the agent was proven to hold.
#[derive(Debug, Clone)]
pub struct AgentKey {
    public_key: SubjectPublicKeyInfo,
    sha256: [u8; 32],
}

impl AgentKey {
    /// Checks a PKCS#10 request (DER).
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_request(request: &[u8]) -> Result<Self, RequestError> {
        if REQUEST_BYTES_MAX < request.len() {
            return Err(RequestError::TooLong);
        }
        let (rest, parsed) =
            X509CertificationRequest::from_der(request).map_err(|_| RequestError::Unreadable)?;
        if !rest.is_empty() {
            return Err(RequestError::Unreadable);
        }
        let info = &parsed.certification_request_info.subject_pki;
        let curve = info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.as_oid().ok());
        if info.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(OID_EC_P256) {
            return Err(RequestError::NotP256);
        }
        parsed.verify_signature().map_err(|_| RequestError::NotProven)?;
        let public_key = SubjectPublicKeyInfo::from_der(info.raw).map_err(|_| RequestError::NotP256)?;
        Ok(Self {
            public_key,
            sha256: Sha256::digest(info.raw).into(),
        })
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    pub(super) const fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }
}
