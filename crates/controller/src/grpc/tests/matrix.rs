//! Certificates and peers that must not get in, one line a case: each is refused, and counted for the right reason.

use std::collections::BTreeMap;

use muster_proto::v1::RenewRequest;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    SanType, date_time_ymd,
};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::app::audit::AuditFilter;

const DAY_MS: i64 = 86_400_000;

/// What a peer shows: a chain, leaf first, and the key it signs with.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// Makes certificates that are wrong in one thing.
struct Factory {
    installation: uuid::Uuid,
    issuing_certificate: CertificateDer<'static>,
    issuing_key: Vec<u8>,
    root_certificate: CertificateDer<'static>,
}

/// A leaf as we would make it; each case changes one thing.
struct Leaf {
    names: Vec<SanType>,
    purposes: Vec<ExtendedKeyUsagePurpose>,
    is_ca: IsCa,
    begins_ms: i64,
    ends_ms: i64,
    key: KeyPair,
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

impl Factory {
    fn of(world: &World) -> Self {
        let identity = world.app.identity();
        let ours = identity.signing_parts();
        Self {
            installation: identity.installation().uuid,
            issuing_certificate: ours.issuing_certificate.into(),
            issuing_key: ours.issuing_key,
            root_certificate: ours.root_certificate.into(),
        }
    }

    fn name(&self) -> String {
        format!(
            "spiffe://{}/agent/{}",
            self.installation,
            uuid::Uuid::from_u128(99)
        )
    }

    fn good(&self) -> Leaf {
        Leaf {
            names: vec![uri(&self.name())],
            purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
            is_ca: IsCa::ExplicitNoCa,
            begins_ms: NOW - 3_600_000,
            ends_ms: NOW + 7 * DAY_MS,
            key: p256(),
        }
    }

    fn issuing_key(&self) -> KeyPair {
        let der = PrivatePkcs8KeyDer::from(self.issuing_key.clone());
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).unwrap()
    }

    fn sign(&self, leaf: Leaf) -> Shown {
        let issuer = Issuer::from_ca_cert_der(&self.issuing_certificate, self.issuing_key()).unwrap();
        let certificate = leaf.params().signed_by(&leaf.key, &issuer).unwrap();
        Shown {
            chain: vec![certificate.der().clone(), self.issuing_certificate.clone()],
            key: leaf.key,
        }
    }

    fn with(&self, change: impl FnOnce(&mut Leaf)) -> Shown {
        let mut leaf = self.good();
        change(&mut leaf);
        self.sign(leaf)
    }

    /// Authorities with our names and other keys.
    fn foreign(&self) -> Shown {
        let (root_key, issuing_key) = (p256(), p256());
        let root = authority(&self.root_certificate).self_signed(&root_key).unwrap();
        let root_issuer = Issuer::from_ca_cert_der(root.der(), &root_key).unwrap();
        let issuing = authority(&self.issuing_certificate)
            .signed_by(&issuing_key, &root_issuer)
            .unwrap();
        let issuer = Issuer::from_ca_cert_der(issuing.der(), &issuing_key).unwrap();
        let leaf = self.good();
        let certificate = leaf.params().signed_by(&leaf.key, &issuer).unwrap();
        Shown {
            chain: vec![
                certificate.der().clone(),
                issuing.der().clone(),
                root.der().clone(),
            ],
            key: leaf.key,
        }
    }

    /// A certificate that an agent has signed with its own.
    fn signed_by_a_leaf(&self) -> Shown {
        let parent = self.with(|leaf| leaf.names = vec![uri(&self.name().replace("63", "64"))]);
        let issuer = Issuer::from_ca_cert_der(&parent.chain[0], &parent.key).unwrap();
        let leaf = self.good();
        let certificate = leaf.params().signed_by(&leaf.key, &issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend(parent.chain.iter().cloned());
        Shown { chain, key: leaf.key }
    }
}

/// Parameters of an authority with the subject of this certificate.
fn authority(like: &CertificateDer<'_>) -> CertificateParams {
    let (_, parsed) = x509_parser::parse_x509_certificate(like).unwrap();
    let mut params = CertificateParams::default();
    let name = parsed.subject().iter_common_name().next().unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.as_str().unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Leaf {
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        let at = |ms: i64| date_time_ymd(1970, 1, 1) + Duration::from_millis(ms.unsigned_abs());
        params.not_before = at(self.begins_ms);
        params.not_after = at(self.ends_ms);
        params.subject_alt_names = self.names.clone();
        params.extended_key_usages = self.purposes.clone();
        params.is_ca = self.is_ca;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    }
}

type Case = (&'static str, &'static str, fn(&Factory) -> Shown);

/// Refused by the handshake: what it is, for which reason, and how it is made.
const HANDSHAKES: &[Case] = &[
    ("expired 31 days ago", "certificate_dead", |f| {
        f.with(|leaf| {
            leaf.begins_ms = NOW - 60 * DAY_MS;
            leaf.ends_ms = NOW - 31 * DAY_MS;
        })
    }),
    ("not valid before tomorrow", "certificate_not_valid_yet", |f| {
        f.with(|leaf| leaf.begins_ms = NOW + DAY_MS)
    }),
    (
        "of a foreign authority with our names",
        "certificate_bad_signature",
        Factory::foreign,
    ),
    ("signed by itself", "certificate_unknown_issuer", |f| {
        let leaf = f.good();
        let certificate = leaf.params().self_signed(&leaf.key).unwrap();
        Shown {
            chain: vec![certificate.der().clone()],
            key: leaf.key,
        }
    }),
    (
        "without its issuing authority",
        "certificate_unknown_issuer",
        |f| {
            let mut shown = f.with(|_| {});
            shown.chain.truncate(1);
            shown
        },
    ),
    (
        "signed by an agent's certificate",
        "certificate_invalid",
        Factory::signed_by_a_leaf,
    ),
    ("a leaf that is an authority", "certificate_authority", |f| {
        f.with(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
    }),
    ("the issuing authority itself", "certificate_authority", |f| {
        Shown {
            chain: vec![f.issuing_certificate.clone()],
            key: f.issuing_key(),
        }
    }),
    ("the root itself", "certificate_authority", |f| Shown {
        chain: vec![f.root_certificate.clone()],
        key: p256(),
    }),
    ("for servers", "certificate_purpose", |f| {
        f.with(|leaf| leaf.purposes = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }),
    ("for servers and clients", "certificate_purpose", |f| {
        f.with(|leaf| leaf.purposes.push(ExtendedKeyUsagePurpose::ServerAuth))
    }),
    ("for clients and code", "certificate_purpose", |f| {
        f.with(|leaf| leaf.purposes.push(ExtendedKeyUsagePurpose::CodeSigning))
    }),
    ("for any purpose", "certificate_purpose", |f| {
        f.with(|leaf| leaf.purposes = vec![ExtendedKeyUsagePurpose::Any])
    }),
    ("for no purpose", "certificate_purpose", |f| {
        f.with(|leaf| leaf.purposes.clear())
    }),
    ("the controller's own", "certificate_purpose", |f| {
        f.with(|leaf| {
            leaf.names = vec![SanType::DnsName(CONTROLLER_NAME.try_into().unwrap())];
            leaf.purposes = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }),
    ("without a name", "certificate_name", |f| {
        f.with(|leaf| leaf.names.clear())
    }),
    ("with a DNS name", "certificate_name", |f| {
        f.with(|leaf| leaf.names = vec![SanType::DnsName("host-a".try_into().unwrap())])
    }),
    ("with two agents' names", "certificate_name", |f| {
        let other = uri(&f.name().replace("63", "64"));
        f.with(|leaf| leaf.names.push(other))
    }),
    ("with a DNS name beside", "certificate_name", |f| {
        f.with(|leaf| leaf.names.push(SanType::DnsName("host-a".try_into().unwrap())))
    }),
    ("of a controller by name", "certificate_name", |f| {
        f.with(|leaf| leaf.names = vec![uri(&f.name().replace("/agent/", "/controller/"))])
    }),
    ("with a name written otherwise", "certificate_name", |f| {
        f.with(|leaf| leaf.names = vec![uri(&f.name().to_uppercase())])
    }),
    ("with more behind the name", "certificate_name", |f| {
        f.with(|leaf| leaf.names = vec![uri(&format!("{}/../x", f.name()))])
    }),
    (
        "of another trust domain",
        "certificate_foreign_installation",
        |f| {
            let elsewhere = f
                .name()
                .replace(&f.installation.to_string(), &uuid::Uuid::from_u128(4).to_string());
            f.with(|leaf| leaf.names = vec![uri(&elsewhere)])
        },
    ),
    ("with a P-384 key", "certificate_key", |f| {
        f.with(|leaf| leaf.key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap())
    }),
    ("with an Ed25519 key", "certificate_key", |f| {
        f.with(|leaf| leaf.key = KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }),
    (
        "with a signature that was changed",
        "certificate_bad_signature",
        |f| {
            let mut shown = f.with(|_| {});
            let mut bytes = shown.chain[0].to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            shown.chain[0] = bytes.into();
            shown
        },
    ),
    (
        "whose key the peer does not have",
        "certificate_bad_signature",
        |f| Shown {
            key: p256(),
            ..f.with(|_| {})
        },
    ),
    ("cut short", "certificate_unreadable", |f| {
        let mut shown = f.with(|_| {});
        let bytes = shown.chain[0].to_vec();
        shown.chain[0] = bytes[..bytes.len() / 2].to_vec().into();
        shown
    }),
    ("with bytes behind it", "certificate_unreadable", |f| {
        let mut shown = f.with(|_| {});
        let mut bytes = shown.chain[0].to_vec();
        bytes.push(0);
        shown.chain[0] = bytes.into();
        shown
    }),
    ("that is no certificate", "certificate_unreadable", |f| Shown {
        chain: vec![b"nonsense".to_vec().into()],
        ..f.with(|_| {})
    }),
    (
        "with an extension nobody knows that counts",
        "certificate_invalid",
        |f| {
            let leaf = f.good();
            let mut params = leaf.params();
            let mut odd = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
            odd.set_criticality(true);
            params.custom_extensions.push(odd);
            let issuer = Issuer::from_ca_cert_der(&f.issuing_certificate, f.issuing_key()).unwrap();
            let certificate = params.signed_by(&leaf.key, &issuer).unwrap();
            Shown {
                chain: vec![certificate.der().clone(), f.issuing_certificate.clone()],
                key: leaf.key,
            }
        },
    ),
];

/// Shows what it is given, whatever it is.
#[derive(Debug)]
struct Anything(Arc<CertifiedKey>);

impl ResolvesClientCert for Anything {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl World {
    fn tls_with(&self, shown: Shown) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key.serialize_der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(Still))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_cert_resolver(Arc::new(Anything(Arc::new(CertifiedKey::new(shown.chain, key)))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// Tries to get a stream as somebody who shows this.
    async fn intrude(&self, shown: Shown) -> Result<Stream, String> {
        let tls = self.tls_with(shown);
        let channel = self.channel_with(tls).await.map_err(|error| error.to_string())?;
        Stream::open(channel).await.map_err(|status| {
            let code = status.metadata().get("muster-code");
            code.map_or_else(|| format!("{status:?}"), |code| code.to_str().unwrap().to_owned())
        })
    }

    /// Waits until a refusal is counted, and returns for which reasons there are new ones.
    async fn counted(&self, before: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let new = loop {
            let mut now: BTreeMap<_, _> = self.app.refusals().all().into_iter().collect();
            now.retain(|code, count| before.get(code) != Some(count));
            if !now.is_empty() || deadline < tokio::time::Instant::now() {
                break now;
            }
            tokio::task::yield_now().await;
        };
        new.keys().copied().collect()
    }

    fn refused_so_far(&self) -> BTreeMap<&'static str, u64> {
        self.app.refusals().all().into_iter().collect()
    }
}

/// S3
#[tokio::test]
async fn no_wrong_certificate_passes_the_handshake_and_each_is_counted_for_what_is_wrong_with_it() {
    let (_folder, world) = world().await;
    let factory = Factory::of(&world);
    let mut wrong = Vec::new();
    for (case, code, make) in HANDSHAKES {
        let before = world.refused_so_far();
        let refused = world.intrude(make(&factory)).await;
        assert!(refused.is_err(), "a certificate {case} got a stream");
        let counted = world.counted(&before).await;
        if counted != [*code] {
            wrong.push((case, code, counted));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The factory itself is sound: with nothing wrong, the handshake passes and the agent is merely unknown.
    let unknown = world.intrude(factory.with(|_| {})).await.err().unwrap();
    assert_eq!(unknown, "identity_held");
    assert!(world.agents.connected().is_empty());
    let opened = world
        .metrics
        .session
        .opened
        .load(std::sync::atomic::Ordering::Relaxed);
    println!(
        "{} kinds of wrong certificates, {opened} accepted",
        HANDSHAKES.len()
    );
    assert_eq!(opened, 0);
    world.end().await;
}

/// S3
#[tokio::test]
async fn certificates_that_were_good_once_and_peers_without_one_are_refused_by_name() {
    let (_folder, world) = world().await;
    let mut expected = BTreeMap::new();
    let mut refused = async |code: &'static str, answer: Result<Stream, tonic::Status>| {
        let status = answer.err().unwrap_or_else(|| panic!("{code} got a stream"));
        assert_eq!(status.metadata().get("muster-code").unwrap(), code);
        *expected.entry(code).or_insert(0) += 1;
    };
    let open =
        async |identity: Option<&AgentIdentity>| Stream::open(world.channel(identity).await.unwrap()).await;
    refused("certificate_required", open(None).await).await;

    // An access token of a person is nothing here.
    let channel = world.channel(None).await.unwrap();
    let (_frame_tx, frames) = mpsc::channel(1);
    let mut request = tonic::Request::new(ReceiverStream::new(frames));
    world.app.ensure_first_admin(|_| Ok(())).await.unwrap();
    let session = world.app.local_session(0).await.unwrap();
    let bearer = format!("Bearer {}", session.access_token).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let answer = AgentLinkClient::new(channel).connect(request).await;
    refused("certificate_required", answer.map(|_| unreachable!())).await;

    let revoked = world.enrol().await;
    world.app.revoke_agent(revoked.agent, ADMIN).await.unwrap();
    refused("identity_revoked", open(Some(&revoked)).await).await;

    let old = world.enrol().await;
    let new = renew(&world, &old).await.unwrap();
    world.greet(&new).await;
    refused("certificate_superseded", open(Some(&old)).await).await;

    let doubtful = world.enrol().await;
    world.app.quarantine(doubtful.agent, "a test").await.unwrap();
    refused("identity_quarantined", open(Some(&doubtful)).await).await;

    let late = world.enrol().await;
    world.app.clock().set(NOW + 8 * DAY_MS);
    refused("certificate_expired", open(Some(&late)).await).await;

    let filter = AuditFilter {
        action: Some("agent.connect".to_owned()),
        ..AuditFilter::default()
    };
    let listed = world.app.audit().list(filter, app::PageRequest::default()).await;
    let audited: Vec<String> = listed
        .unwrap()
        .items
        .into_iter()
        .map(|entry| entry.reason)
        .collect();
    for code in [
        "identity_revoked",
        "certificate_superseded",
        "identity_quarantined",
        "certificate_expired",
    ] {
        assert!(
            audited.iter().any(|reason| reason == code),
            "{code} in {audited:?}"
        );
    }
    println!("{} more, 0 accepted", expected.values().sum::<u64>());
    assert_eq!(world.refused_so_far(), expected);
    world.end().await;
}

async fn renew(world: &World, identity: &AgentIdentity) -> Result<AgentIdentity, tonic::Status> {
    let mut client = EnrollmentClient::new(world.channel(Some(identity)).await.unwrap());
    let (request, key) = enrolment_request(String::new());
    let request = RenewRequest {
        certificate_request: request.certificate_request,
    };
    let chain = client.renew(request).await?.into_inner().certificate_chain;
    Ok(AgentIdentity {
        server: identity.server,
        agent: identity.agent,
        chain: chain.into_iter().map(CertificateDer::from).collect(),
        key,
    })
}

/// A ClientHello of TLS 1.2 (RFC 5246) with ECDHE and AES-GCM, as old libraries send it.
fn client_hello_of_tls12() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        // supported_groups: P-256
        &[0, 10, 0, 4, 0, 2, 0, 23],
        // ec_point_formats: uncompressed
        &[0, 11, 0, 2, 1, 0],
        // signature_algorithms: ecdsa_secp256r1_sha256
        &[0, 13, 0, 4, 0, 2, 4, 3],
    ];
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    record.extend([1, 0]);
    record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

/// S3
#[tokio::test]
async fn old_tls_plain_http_and_other_protocols_get_nothing() {
    let (_folder, world) = world().await;
    let raw: [(&str, &'static str, Vec<u8>); 3] = [
        ("TLS 1.2", "tls_incompatible", client_hello_of_tls12()),
        (
            "plain HTTP",
            "tls_garbled",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        ("nonsense", "tls_garbled", vec![0xff; 64]),
    ];
    for (what, code, bytes) in raw {
        let before = world.refused_so_far();
        let mut tcp = TcpStream::connect(world.address).await.unwrap();
        tcp.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
        // At most an alert: a record of type 21.
        assert!(answer.is_empty() || answer[0] == 21, "{what}: {answer:?}");
        assert_eq!(world.counted(&before).await, [code], "{what}");
    }
    let before = world.refused_so_far();
    let mut config = ClientConfig::clone(&world.tls(None));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(world.channel_with(Arc::new(config)).await.is_err());
    assert_eq!(world.counted(&before).await, ["tls_protocol"]);
    world.end().await;
}

/// S4: a session is never resumed, so no certificate is ever taken on trust.
#[tokio::test]
async fn a_client_that_wants_to_resume_is_given_nothing_to_resume_with() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let mut config = ClientConfig::clone(&world.tls(Some(&identity)));
    config.resumption = Resumption::in_memory_sessions(16);
    let connector = TlsConnector::from(Arc::new(config));
    for _ in 0..3 {
        let tcp = TcpStream::connect(world.address).await.unwrap();
        let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
        let mut tls = connector.connect(name, tcp).await.unwrap();
        // The server's first bytes: tickets would come before them.
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        tls.read_exact(&mut [0; 9]).await.unwrap();
        let (_, session) = tls.get_ref();
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
    // Revoked, the same client with whatever it has cached gets no stream.
    world.app.revoke_agent(identity.agent, ADMIN).await.unwrap();
    let refused = Stream::open(world.channel(Some(&identity)).await.unwrap()).await;
    assert_eq!(
        refused.err().unwrap().metadata().get("muster-code").unwrap(),
        "identity_revoked"
    );
    world.end().await;
}
