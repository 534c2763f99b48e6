use std::io::{Read as _, Write as _};

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConnection, SignatureScheme};

use muster_proto::EXPIRED_GRACE_MS;

use super::*;

const START_MS: i64 = 1_800_000_000_000;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

fn identity(clock: &WallClock) -> Identity {
    open(Vec::new(), [7; 32], clock).unwrap().0
}

fn open(
    sealed: SealedSecrets,
    key: [u8; 32],
    clock: &WallClock,
) -> Result<(Identity, SealedSecrets), IdentityError> {
    let installation = Installation {
        uuid: Uuid::from_u128(1),
        store_id: Uuid::from_u128(2),
        store_epoch: 3,
    };
    Identity::open(installation, sealed, Seal::new(&key), clock.clone())
}

fn request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(CONTROLLER_NAME.try_into().unwrap())];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.serialize_request(key).unwrap().der().to_vec()
}

fn agent(id: u128) -> AgentId {
    AgentId(Uuid::from_u128(id))
}

/// A client certificate of an agent, with its key.
fn client(identity: &Identity, id: u128) -> Client {
    let key = KeyPair::generate().unwrap();
    let issued = identity
        .issue_agent(
            agent(id),
            3,
            &AgentKey::from_request(&request(&key)).unwrap(),
            WEEK,
        )
        .unwrap();
    Client {
        chain: issued.chain,
        key: key.serialize_der(),
    }
}

fn parse(certificate: &[u8]) -> Result<PeerCertificate, PeerError> {
    PeerCertificate::parse(certificate, START_MS)
}

struct Client {
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
}

#[test]
fn what_was_sealed_opens_only_with_its_key_and_under_its_name() {
    let seal = Seal::new(&[1; 32]);
    let sealed = seal.seal("a", b"secret").unwrap();
    assert_eq!(seal.open("a", &sealed).unwrap(), b"secret");
    assert!(matches!(seal.open("b", &sealed), Err(IdentityError::Unseal { name }) if name == "b"));
    assert!(Seal::new(&[2; 32]).open("a", &sealed).is_err());
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert!(seal.open("a", &changed).is_err(), "byte {index}");
        assert!(seal.open("a", &sealed[..index]).is_err(), "cut at {index}");
    }
}

#[test]
fn the_sealing_key_is_made_once_and_missed_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("secret.key")).unwrap();
    assert!(matches!(
        Seal::load_or_make(&path, true),
        Err(IdentityError::SealMissing { .. })
    ));
    let sealed = Seal::load_or_make(&path, false).unwrap().seal("a", b"x").unwrap();
    assert_eq!(
        Seal::load_or_make(&path, true)
            .unwrap()
            .open("a", &sealed)
            .unwrap(),
        b"x"
    );
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(
        Seal::load_or_make(&path, true),
        Err(IdentityError::SealLength { bytes: 5, .. })
    ));
}

#[test]
fn an_identity_opened_again_is_the_same_and_nothing_new_is_stored() {
    let clock = WallClock::fixed(START_MS);
    let (first, stored) = open(Vec::new(), [7; 32], &clock).unwrap();
    assert_eq!(stored.len(), 5);
    let (again, fresh) = open(stored.clone(), [7; 32], &clock).unwrap();
    assert_eq!(first.root_pin(), again.root_pin());
    assert_eq!(first.command_keys(), again.command_keys());
    assert!(fresh.is_empty());
    let wrong = open(stored.clone(), [8; 32], &clock);
    assert!(matches!(wrong, Err(IdentityError::Unseal { .. })));
    let partly = open(stored[..2].to_vec(), [7; 32], &clock);
    assert!(matches!(partly, Err(IdentityError::Missing { .. })));
}

#[test]
fn no_private_key_leaves_unsealed() {
    let clock = WallClock::fixed(START_MS);
    let (identity, stored) = open(Vec::new(), [7; 32], &clock).unwrap();
    for key in [identity.root().key_der(), identity.issuing().key_der()] {
        let holds_key = |(_, bytes): &(String, Vec<u8>)| bytes.windows(key.len()).any(|window| window == key);
        assert!(!stored.iter().any(holds_key));
    }
}

#[test]
fn a_request_gives_its_public_key_and_nothing_else() {
    let identity = identity(&WallClock::fixed(START_MS));
    let key = KeyPair::generate().unwrap();
    let issued = identity
        .issue_agent(
            agent(5),
            7,
            &AgentKey::from_request(&request(&key)).unwrap(),
            WEEK,
        )
        .unwrap();
    let peer = parse(&issued.chain[0]).unwrap();
    assert_eq!(
        (peer.agent, peer.generation, peer.expired, &peer.serial),
        (agent(5), Some(7), false, &issued.serial)
    );
    assert_eq!(peer.not_after_ms, START_MS + 7 * DAY_MS);
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain[0]).unwrap();
    assert_eq!(
        leaf.validity().not_before.timestamp() * 1_000,
        START_MS - 3_600_000
    );
    assert!(!leaf.is_ca());
    assert_eq!(
        leaf.public_key().raw,
        rcgen::PublicKeyData::subject_public_key_info(&key)
    );
}

#[test]
fn a_request_must_prove_its_key_and_be_p256() {
    let key = KeyPair::generate().unwrap();
    let good = request(&key);
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(
        AgentKey::from_request(&forged).unwrap_err(),
        RequestError::NotProven
    );
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(
        AgentKey::from_request(&request(&ed25519)).unwrap_err(),
        RequestError::NotP256
    );
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(
        AgentKey::from_request(&request(&p384)).unwrap_err(),
        RequestError::NotP256
    );
    assert_eq!(
        AgentKey::from_request(&[good.as_slice(), b"x"].concat()).unwrap_err(),
        RequestError::Unreadable
    );
    assert_eq!(
        AgentKey::from_request(&vec![0; 5_000]).unwrap_err(),
        RequestError::TooLong
    );
    for end in 0..good.len() {
        assert!(AgentKey::from_request(&good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn certificates_that_are_no_agents_are_told_apart() {
    let identity = identity(&WallClock::fixed(START_MS));
    assert_eq!(parse(identity.root().certificate()), Err(PeerError::Authority));
    assert_eq!(parse(b"nonsense"), Err(PeerError::Unreadable));
    let name = |names: Vec<SanType>, purposes: Vec<rcgen::ExtendedKeyUsagePurpose>| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = purposes;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        parse(certificate.der())
    };
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let good = peer::uri(Uuid::from_u128(1), agent(5));
    let client = rcgen::ExtendedKeyUsagePurpose::ClientAuth;
    let server = rcgen::ExtendedKeyUsagePurpose::ServerAuth;
    assert!(name(vec![uri(&good)], vec![client.clone()]).is_ok());
    assert_eq!(name(vec![uri(&good)], vec![]), Err(PeerError::Purpose));
    assert_eq!(
        name(vec![uri(&good)], vec![client.clone(), server]),
        Err(PeerError::Purpose)
    );
    for bad in [
        vec![],
        vec![uri(&good), uri(&good)],
        vec![uri(&good.to_uppercase())],
        vec![uri(&good.replace("/agent/", "/controller/"))],
        vec![uri(&format!("{good}/x"))],
        vec![SanType::DnsName("agent".try_into().unwrap())],
    ] {
        assert_eq!(
            name(bad.clone(), vec![client.clone()]),
            Err(PeerError::Name),
            "{bad:?}"
        );
    }
}

#[test]
fn tokens_carry_our_pin_and_are_all_different() {
    let identity = identity(&WallClock::fixed(START_MS));
    let (one, other) = (identity.new_token().unwrap(), identity.new_token().unwrap());
    assert_eq!(one.pin, identity.root_pin());
    assert!(one.secret != other.secret && one.public_id != other.public_id);
    assert_eq!(EnrolmentToken::parse(&one.to_text()), Ok(one));
}

#[test]
fn secrets_are_compared_as_a_whole() {
    assert!(is_same_secret(b"abc", b"abc"));
    assert!(!is_same_secret(b"abc", b"abd") && !is_same_secret(b"abc", b"ab") && !is_same_secret(b"", b"a"));
}

/// Checks only that the chain's last certificate has the pinned key, as an agent that enrols does first.
#[derive(Debug)]
struct Pinned([u8; 32]);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let root = intermediates.last().expect("the root comes along");
        let (_, root) = x509_parser::parse_x509_certificate(root).unwrap();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(root.public_key().raw)), self.0);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Shakes hands in memory and passes a byte each way; the server's error if it refuses.
fn handshake(identity: &Identity, client: Option<&Client>) -> Result<bool, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(identity.root_pin())));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = client.chain.iter().cloned().map(CertificateDer::from).collect();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(client.key.clone()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
    let mut near = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut far = ServerConnection::new(identity.server_tls_config()).unwrap();
    let mut wire = Vec::new();
    while near.is_handshaking() || far.is_handshaking() {
        wire.clear();
        near.write_tls(&mut wire).unwrap();
        far.read_tls(&mut wire.as_slice()).unwrap();
        far.process_new_packets()?;
        wire.clear();
        far.write_tls(&mut wire).unwrap();
        near.read_tls(&mut wire.as_slice()).unwrap();
        near.process_new_packets().unwrap();
    }
    near.writer().write_all(b"x").unwrap();
    wire.clear();
    near.write_tls(&mut wire).unwrap();
    far.read_tls(&mut wire.as_slice()).unwrap();
    far.process_new_packets()?;
    far.reader().read_exact(&mut [0]).unwrap();
    // A ticket would let a later connection skip the check of its certificate.
    assert_eq!(near.tls13_tickets_received(), 0);
    Ok(far.peer_certificates().is_some())
}

#[test]
fn an_agent_and_one_without_a_certificate_pass_the_handshake() {
    let identity = identity(&WallClock::fixed(START_MS));
    assert_eq!(handshake(&identity, None), Ok(false));
    assert_eq!(handshake(&identity, Some(&client(&identity, 5))), Ok(true));
}

#[test]
fn a_foreign_authority_another_installation_and_a_wrong_profile_are_refused() {
    let clock = WallClock::fixed(START_MS);
    let (ours, foreign) = (identity(&clock), identity(&clock));
    assert!(handshake(&ours, Some(&client(&foreign, 5))).is_err());
    let key = KeyPair::generate().unwrap();
    let authority = ours.issuing();
    let server = authority
        .issue_server(&[CONTROLLER_NAME.to_owned()], &key, START_MS, DAY_MS)
        .unwrap();
    let as_client = |certificate: CertificateDer<'static>| Client {
        chain: vec![certificate.to_vec(), authority.certificate().to_vec()],
        key: key.serialize_der(),
    };
    assert!(handshake(&ours, Some(&as_client(server.certificate))).is_err());
    let proven = AgentKey::from_request(&request(&key)).unwrap();
    let elsewhere = peer::uri(Uuid::from_u128(9), agent(5));
    let stray = authority
        .issue_agent(&elsewhere, 1, &proven, START_MS, DAY_MS)
        .unwrap();
    assert!(handshake(&ours, Some(&as_client(stray.certificate))).is_err());
}

#[test]
fn an_expired_certificate_passes_marked_for_thirty_days_and_then_no_more() {
    let clock = WallClock::fixed(START_MS);
    let identity = identity(&clock);
    let agent = client(&identity, 5);
    let end_ms = START_MS + 7 * DAY_MS;
    clock.set(end_ms + 1_000);
    assert_eq!(handshake(&identity, Some(&agent)), Ok(true));
    assert!(
        PeerCertificate::parse(&agent.chain[0], clock.now_ms())
            .unwrap()
            .expired
    );
    clock.set(end_ms + EXPIRED_GRACE_MS);
    assert_eq!(handshake(&identity, Some(&agent)), Ok(true));
    clock.set(end_ms + EXPIRED_GRACE_MS + 1_000);
    assert!(handshake(&identity, Some(&agent)).is_err());
    clock.set(START_MS - 2 * 3_600_000);
    assert!(handshake(&identity, Some(&agent)).is_err(), "not valid yet");
}

#[test]
fn our_own_certificates_are_renewed_at_half_life_and_old_agents_stay_welcome() {
    let clock = WallClock::fixed(START_MS);
    let (identity, stored) = open(Vec::new(), [7; 32], &clock).unwrap();
    clock.set(START_MS + 14 * DAY_MS);
    assert!(identity.renew().unwrap().is_empty() && !identity.server.is_half_over(clock.now_ms()));
    clock.set(START_MS + 16 * DAY_MS);
    assert!(identity.server.is_half_over(clock.now_ms()));
    assert!(
        identity.renew().unwrap().is_empty(),
        "the issuing authority has time yet"
    );
    assert!(!identity.server.is_half_over(clock.now_ms()));
    clock.set(START_MS + 183 * DAY_MS);
    let before = client(&identity, 5);
    let fresh = identity.renew().unwrap();
    assert_eq!(fresh.len(), 2);
    assert_eq!(handshake(&identity, Some(&before)), Ok(true));
    assert_eq!(handshake(&identity, Some(&client(&identity, 6))), Ok(true));
    let mut kept: HashMap<_, _> = stored.into_iter().collect();
    kept.extend(fresh);
    let (again, fresh) = open(kept.into_iter().collect(), [7; 32], &clock).unwrap();
    assert!(fresh.is_empty());
    assert_eq!(again.issuing().certificate(), identity.issuing().certificate());
}
