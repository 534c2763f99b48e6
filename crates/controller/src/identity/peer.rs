//! What a client certificate says, and whether it has the profile of an agent's.

use muster_base::id::AgentId;
use muster_proto::EXPIRED_GRACE_MS;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, Oid};
use x509_parser::prelude::FromDer as _;

use super::authority::{GENERATION_OID, hex};

/// Why a certificate is not an agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PeerError {
    /// It is no certificate.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// It is a certificate authority's.
    #[error("the client certificate is a certificate authority's")]
    Authority,
    /// It is not for client authentication, or not only.
    #[error("the client certificate is not for client authentication alone")]
    Purpose,
    /// It does not have exactly one name, or one that is no agent's.
    #[error("the client certificate does not name one agent")]
    Name,
    /// Its key is not on the curve P-256: we never issued it.
    #[error("the client certificate has a key that is not P-256")]
    Key,
}

impl PeerError {
    /// The stable word for it, for counts and the audit log.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "certificate_unreadable",
            Self::Authority => "certificate_authority",
            Self::Purpose => "certificate_purpose",
            Self::Name => "certificate_name",
            Self::Key => "certificate_key",
        }
    }
}

/// An agent's certificate, as far as the controller believes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The installation it was issued by, as it says; the handshake lets in those of our own only.
    pub installation: Uuid,
    /// The agent.
    pub agent: AgentId,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// Generation of the identity it was issued for; `None` in certificates of versions that did not write it.
    pub generation: Option<u32>,
    /// SHA-256 of its public key (SubjectPublicKeyInfo), which names its generation.
    pub key_sha256: [u8; 32],
    /// When it ends, Unix ms.
    pub not_after_ms: i64,
    /// Whether it has expired: such a peer may only renew.
    pub expired: bool,
}

impl PeerCertificate {
    /// Reads a certificate (DER) and checks its profile; the chain is the handshake's business.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn parse(certificate: &[u8], now_ms: i64) -> Result<Self, PeerError> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| PeerError::Unreadable)?;
        if !rest.is_empty() {
            return Err(PeerError::Unreadable);
        }
        if parsed.is_ca() {
            return Err(PeerError::Authority);
        }
        check_purpose(&parsed)?;
        check_key(&parsed)?;
        let (installation, agent) = names(&parsed)?;
        let not_after_ms = parsed.validity().not_after.timestamp().saturating_mul(1_000);
        Ok(Self {
            installation,
            agent,
            serial: hex(parsed.raw_serial()),
            generation: generation(&parsed)?,
            key_sha256: Sha256::digest(parsed.public_key().raw).into(),
            not_after_ms,
            expired: not_after_ms < now_ms,
        })
    }

    /// Whether it has expired, also if it did so after the handshake.
    #[must_use]
    pub const fn has_expired(&self, now_ms: i64) -> bool {
        self.expired || self.not_after_ms < now_ms
    }

    /// Whether it expired so long ago that it is of no use any more.
    #[must_use]
    pub const fn is_dead(&self, now_ms: i64) -> bool {
        EXPIRED_GRACE_MS < now_ms.saturating_sub(self.not_after_ms)
    }
}

/// The name of an agent in its certificate.
pub(super) fn uri(installation: Uuid, agent: AgentId) -> String {
    format!("spiffe://{installation}/agent/{agent}")
}

fn check_purpose(certificate: &X509Certificate<'_>) -> Result<(), PeerError> {
    let usage = certificate
        .extended_key_usage()
        .map_err(|_| PeerError::Unreadable)?
        .ok_or(PeerError::Purpose)?
        .value;
    let has_others = usage.any
        || usage.server_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    if usage.client_auth && !has_others {
        Ok(())
    } else {
        Err(PeerError::Purpose)
    }
}

/// Whatever our authority issues to agents has a P-256 key, so anything else is a mistake or an attempt.
fn check_key(certificate: &X509Certificate<'_>) -> Result<(), PeerError> {
    let algorithm = &certificate.public_key().algorithm;
    let curve = algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) {
        Ok(())
    } else {
        Err(PeerError::Key)
    }
}

/// The generation in the subject, if there is one. Only the signature of our authority makes it worth anything.
fn generation(certificate: &X509Certificate<'_>) -> Result<Option<u32>, PeerError> {
    let oid = Oid::from(GENERATION_OID).map_err(|_| PeerError::Unreadable)?;
    let mut attributes = certificate.subject().iter_by_oid(&oid);
    let Some(attribute) = attributes.next() else {
        return Ok(None);
    };
    let number = attribute.as_str().ok().and_then(|text| text.parse().ok());
    match (number, attributes.next()) {
        (Some(number), None) => Ok(Some(number)),
        _ => Err(PeerError::Name),
    }
}

/// Installation and agent of the only name.
fn names(certificate: &X509Certificate<'_>) -> Result<(Uuid, AgentId), PeerError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| PeerError::Unreadable)?
        .ok_or(PeerError::Name)?
        .value;
    let [GeneralName::URI(text)] = names.general_names[..] else {
        return Err(PeerError::Name);
    };
    let (domain, id) = text
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once("/agent/"))
        .ok_or(PeerError::Name)?;
    let uuid = |text| Uuid::try_parse(text).map_err(|_| PeerError::Name);
    let (installation, agent) = (uuid(domain)?, AgentId(uuid(id)?));
    // Compared as a whole, so that there is one way only to write a name.
    if text == uri(installation, agent) {
        Ok((installation, agent))
    } else {
        Err(PeerError::Name)
    }
}
