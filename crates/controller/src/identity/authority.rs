//! The certificate authority: root and issuing.

use std::net::IpAddr;
use std::time::Duration;

use muster_proto::BACKDATED_MS;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
    date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use uuid::Uuid;

use super::request::AgentKey;
use super::{DAY_MS, IdentityError, random, random_uuid};

/// `generationQualifier` of X.520: the attribute of the subject that holds an identity's generation. Not a second
/// URI, because an X.509 SVID has exactly one.
pub(super) const GENERATION_OID: &[u64] = &[2, 5, 4, 44];

const ROOT_MS: i64 = 3_652 * DAY_MS;
const ISSUING_MS: i64 = 365 * DAY_MS;

/// A certificate authority.
pub(super) struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    not_before_ms: i64,
    not_after_ms: i64,
}

/// A certificate just made.
pub(super) struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) serial: String,
    pub(super) not_before_ms: i64,
    pub(super) not_after_ms: i64,
}

impl Authority {
    /// A new root.
    pub(super) fn root(installation: Uuid, now_ms: i64) -> Result<Self, IdentityError> {
        let key = new_key()?;
        // Each has a name of its own, so that a chain is never looked for below the root before or after it.
        let name = format!("Muster root {installation} {}", random_uuid()?);
        let mut params = parameters(subject(&name), now_ms, now_ms + ROOT_MS)?;
        make_authority(&mut params, 1);
        let certificate = params
            .self_signed(&key)
            .map_err(failed("make the root certificate"))?;
        Self::new(key, certificate.der().clone())
    }

    /// A new issuing authority below `root`.
    pub(super) fn issuing(root: &Self, now_ms: i64) -> Result<Self, IdentityError> {
        let key = new_key()?;
        let until_ms = root.not_after_ms.min(now_ms + ISSUING_MS);
        // Each has a name of its own, so that chains of two issuing authorities are never mixed up.
        let name = format!("Muster issuing {}", random_uuid()?);
        let mut params = parameters(subject(&name), now_ms, until_ms)?;
        make_authority(&mut params, 0);
        let certificate = params
            .signed_by(&key, &root.issuer()?)
            .map_err(failed("make the issuing certificate"))?;
        Self::new(key, certificate.der().clone())
    }

    /// The key of another root, certified by this one: whoever trusts this one may then trust that one.
    pub(super) fn certify(
        &self,
        other: &Self,
        now_ms: i64,
        valid_ms: i64,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        const DOING: &str = "certify the next root";
        let until_ms = self.not_after_ms.min(other.not_after_ms).min(now_ms + valid_ms);
        let mut params = parameters(subject(&other.common_name()?), now_ms, until_ms)?;
        make_authority(&mut params, 1);
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&other.key, &self.issuer()?)
            .map_err(failed(DOING))?;
        Ok(certificate.der().clone())
    }

    /// An authority from its stored parts.
    pub(super) fn load(key: Vec<u8>, certificate: Vec<u8>) -> Result<Self, IdentityError> {
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(failed("read the key of a certificate authority"))?;
        Self::new(key, certificate.into())
    }

    fn new(key: KeyPair, certificate: CertificateDer<'static>) -> Result<Self, IdentityError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| IdentityError::Unreadable {
                name: "of the authority",
            })?;
        let validity = parsed.validity();
        let (not_before_ms, not_after_ms) = (
            validity.not_before.timestamp() * 1_000,
            validity.not_after.timestamp() * 1_000,
        );
        Ok(Self {
            key,
            certificate,
            not_before_ms,
            not_after_ms,
        })
    }

    /// Signs with its key: ECDSA P-256 with SHA-256, ASN.1.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let rng = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, self.key_der(), &rng);
        let key = key.map_err(|_| IdentityError::Unreadable {
            name: "of the authority",
        })?;
        let signature = key.sign(&rng, bytes).map_err(|_| IdentityError::Random)?;
        Ok(signature.as_ref().to_vec())
    }

    /// The private key, PKCS#8 DER.
    pub(super) fn key_der(&self) -> &[u8] {
        self.key.serialized_der()
    }

    /// The certificate, DER.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The name in its certificate.
    fn common_name(&self) -> Result<String, IdentityError> {
        let unreadable = || IdentityError::Unreadable {
            name: "of the authority",
        };
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate).map_err(|_| unreadable())?;
        let mut names = parsed.subject().iter_common_name();
        let name = names.next().and_then(|name| name.as_str().ok());
        name.map(str::to_owned).ok_or_else(unreadable)
    }

    /// When the certificate ends, Unix ms.
    pub(super) const fn not_after_ms(&self) -> i64 {
        self.not_after_ms
    }

    pub(super) fn is_half_over(&self, now_ms: i64) -> bool {
        is_half_over(self.not_before_ms, self.not_after_ms, now_ms)
    }

    /// A certificate for an agent's client authentication. Ends with the authority at the latest.
    pub(super) fn issue_agent(
        &self,
        uri: &str,
        generation: u32,
        key: &AgentKey,
        now_ms: i64,
        valid_ms: i64,
    ) -> Result<Leaf, IdentityError> {
        const DOING: &str = "issue an agent's certificate";
        let uri = uri.try_into().map_err(failed(DOING))?;
        let names = vec![SanType::URI(uri)];
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        let mut subject = subject("Muster agent");
        subject.push(
            DnType::CustomDnType(GENERATION_OID.to_vec()),
            generation.to_string(),
        );
        self.issue(
            subject,
            names,
            purpose,
            key.public_key(),
            (now_ms, valid_ms),
            DOING,
        )
    }

    /// A certificate for the controller's server authentication.
    pub(super) fn issue_server(
        &self,
        names: &[String],
        key: &KeyPair,
        now_ms: i64,
        valid_ms: i64,
    ) -> Result<Leaf, IdentityError> {
        const DOING: &str = "issue the controller's certificate";
        let named = |name: &String| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => Ok(SanType::DnsName(name.as_str().try_into().map_err(failed(DOING))?)),
        };
        let names = names.iter().map(named).collect::<Result<_, IdentityError>>()?;
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue(
            subject("Muster controller"),
            names,
            purpose,
            key,
            (now_ms, valid_ms),
            DOING,
        )
    }

    fn issue(
        &self,
        subject: DistinguishedName,
        names: Vec<SanType>,
        purpose: ExtendedKeyUsagePurpose,
        key: &impl rcgen::PublicKeyData,
        (now_ms, valid_ms): (i64, i64),
        doing: &'static str,
    ) -> Result<Leaf, IdentityError> {
        let not_after_ms = self.not_after_ms.min(now_ms.saturating_add(valid_ms));
        let mut params = parameters(subject, now_ms, not_after_ms)?;
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let serial = params
            .serial_number
            .as_ref()
            .map(SerialNumber::to_bytes)
            .unwrap_or_default();
        let certificate = params.signed_by(key, &self.issuer()?).map_err(failed(doing))?;
        Ok(Leaf {
            certificate: certificate.der().clone(),
            serial: hex(&serial),
            not_before_ms: now_ms - BACKDATED_MS,
            not_after_ms,
        })
    }

    fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, IdentityError> {
        Issuer::from_ca_cert_der(&self.certificate, &self.key)
            .map_err(failed("read the certificate of the authority"))
    }
}

/// A new P-256 key.
pub(super) fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("make a key"))
}

/// Whether half of a certificate's time is over.
pub(super) fn is_half_over(not_before_ms: i64, not_after_ms: i64, now_ms: i64) -> bool {
    not_before_ms + (not_after_ms - not_before_ms) / 2 <= now_ms
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn parameters(
    subject: DistinguishedName,
    now_ms: i64,
    not_after_ms: i64,
) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    let epoch = date_time_ymd(1970, 1, 1);
    let since_epoch = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    params.not_before = epoch + since_epoch(now_ms - BACKDATED_MS);
    params.not_after = epoch + since_epoch(not_after_ms);
    params.distinguished_name = subject;
    let mut serial = random::<16>()?;
    // Positive and of full length, so that the serial in the certificate is byte for byte the one we keep.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn make_authority(params: &mut CertificateParams, below: u8) {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = 0 == below;
}

fn failed(doing: &'static str) -> impl FnOnce(rcgen::Error) -> IdentityError {
    move |source| IdentityError::Certificate { doing, source }
}
