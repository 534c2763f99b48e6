//! Certificates as a controller makes them, and as impostors do.

use muster_agent::identity::Identity;
use muster_base::id::{AgentId, ServerId};
use muster_proto::CONTROLLER_NAME;
use muster_proto::token::EnrolmentToken;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A root and an issuing CA below it.
pub(crate) struct Pki {
    pub(crate) root: Issuer,
    issuing: Issuer,
}

/// A certificate chain, leaf first, and its key.
pub(crate) struct Chain {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Chain {
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

impl Pki {
    pub(crate) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(ca("muster root"), key()).unwrap();
        let issuing = CertifiedIssuer::signed_by(ca("muster issuing"), key(), &root).unwrap();
        Self { root, issuing }
    }

    /// SHA-256 of the root's public key.
    pub(crate) fn pin(&self) -> [u8; 32] {
        Sha256::digest(self.root.key().subject_public_key_info()).into()
    }

    /// A token that pins this root.
    pub(crate) fn token(&self) -> EnrolmentToken {
        EnrolmentToken {
            public_id: "0123456789abcdef".to_owned(),
            secret: [7; 32],
            pin: self.pin(),
        }
    }

    /// What a controller presents: leaf, issuing CA and root.
    pub(crate) fn server(&self) -> Chain {
        self.server_of(&server_params(CONTROLLER_NAME))
    }

    pub(crate) fn server_of(&self, params: &CertificateParams) -> Chain {
        let key = key();
        let leaf = params.signed_by(&key, &self.issuing).unwrap();
        let certificates = vec![
            leaf.der().clone(),
            self.issuing.der().clone(),
            self.root.der().clone(),
        ];
        Chain { certificates, key }
    }

    /// The chain for an agent's request, leaf first, without the root.
    pub(crate) fn agent_chain(&self, request: &[u8]) -> Vec<Vec<u8>> {
        let mut request = CertificateSigningRequestParams::from_der(&request.to_vec().into()).unwrap();
        request.params = agent_params();
        let leaf = request.signed_by(&self.issuing).unwrap();
        vec![leaf.der().to_vec(), self.issuing.der().to_vec()]
    }

    /// An enrolled agent.
    pub(crate) fn agent(&self) -> Identity {
        self.agent_with(&key())
    }

    /// An enrolled agent with this key.
    pub(crate) fn agent_with(&self, key: &KeyPair) -> Identity {
        self.agent_of(&agent_params(), key)
    }

    /// An enrolled agent with this key, whose certificate should have been renewed long ago.
    pub(crate) fn due_agent_with(&self, key: &KeyPair) -> Identity {
        let mut params = agent_params();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        self.agent_of(&params, key)
    }

    /// An enrolled agent with this key, whose certificate has expired.
    pub(crate) fn expired_agent_with(&self, key: &KeyPair) -> Identity {
        let mut params = agent_params();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.agent_of(&params, key)
    }

    fn agent_of(&self, params: &CertificateParams, key: &KeyPair) -> Identity {
        let leaf = params.signed_by(key, &self.issuing).unwrap();
        Identity {
            agent_id: AgentId(uuid::Uuid::from_u128(5)),
            server_id: ServerId(1),
            generation: 1,
            controller: String::new(),
            chain: vec![leaf.der().clone(), self.issuing.der().clone()],
            roots: vec![self.root.der().clone()],
            command_keys: Vec::new(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

pub(crate) fn server_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// Valid for these years.
pub(crate) fn server_params_of(from: i32, to: i32) -> CertificateParams {
    let mut params = server_params(CONTROLLER_NAME);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

pub(crate) fn expired_server_params() -> CertificateParams {
    let mut params = server_params(CONTROLLER_NAME);
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    params
}

fn agent_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A certificate that nobody but its own key has signed.
pub(crate) fn self_signed() -> Chain {
    let key = key();
    let certificate = server_params(CONTROLLER_NAME).self_signed(&key).unwrap();
    Chain {
        certificates: vec![certificate.der().clone()],
        key,
    }
}
