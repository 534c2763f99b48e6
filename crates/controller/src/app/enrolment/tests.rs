use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use rcgen::{CertificateParams, KeyPair};
use uuid::Uuid;

use super::*;
use crate::app::audit::{Audit, AuditFilter, KEY_PURPOSE};
use crate::app::servers::NewServer;
use crate::app::tests::TestApp;
use crate::app::{PageRequest, Settings, servers::ServerFilter};
use crate::identity::PeerCertificate;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// An app that does not limit enrolment.
async fn unlimited() -> TestApp {
    let settings = Settings {
        enrolment_per_address_per_s: 10_000.0,
        enrolment_burst: 10_000,
        enrolment_per_s: 10_000.0,
        ..Settings::default()
    };
    TestApp::with(settings).await
}

fn request(token: &str, key: &KeyPair) -> Enrolment {
    Enrolment {
        token: token.to_owned(),
        certificate_request: CertificateParams::default()
            .serialize_request(key)
            .unwrap()
            .der()
            .to_vec(),
        hostname: "host-a".to_owned(),
        agent_version: "0.1.0".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        peer: PEER,
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

async fn free_token(test: &TestApp, uses: u32) -> String {
    let wanted = NewToken {
        ttl: None,
        uses,
        server: None,
        created_by: "test".to_owned(),
    };
    test.app.create_token(wanted).await.unwrap().text
}

async fn server_count(test: &TestApp) -> u64 {
    test.app
        .servers(ServerFilter::default(), PageRequest::default())
        .await
        .unwrap()
        .total
}

#[tokio::test]
async fn a_free_token_makes_a_server_and_an_identity_that_is_admitted() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let enrolled = test.app.enrol(request(&token, &key())).await.unwrap();
    assert_eq!((enrolled.generation, enrolled.token_used_up), (1, true));
    assert_eq!(enrolled.certificate_chain.len(), 2);
    let peer = PeerCertificate::parse(&enrolled.certificate_chain[0], test.clock.now_ms()).unwrap();
    let admitted = test.app.admit(&peer).await.unwrap();
    assert_eq!(
        (admitted.agent, admitted.server),
        (enrolled.agent, enrolled.server)
    );
    let server = test.app.server(enrolled.server).await.unwrap();
    assert_eq!(
        (server.hostname.as_str(), server.agent_id),
        ("host-a", Some(enrolled.agent))
    );
    assert_eq!(server.agent_version.as_deref(), Some("0.1.0"));
}

#[tokio::test]
async fn fifty_redemptions_at_once_of_a_single_use_make_exactly_one_identity() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (app, request) = (Arc::clone(&test.app), request(&token, &key()));
            tokio::spawn(async move { app.enrol(request).await })
        })
        .collect();
    let mut enrolled = 0;
    for one in tries {
        match one.await.unwrap() {
            Ok(_) => enrolled += 1,
            Err(error) => assert_eq!(error.code(), "key_mismatch", "{error}"),
        }
    }
    assert_eq!((enrolled, server_count(&test).await), (1, 1));
}

#[tokio::test]
async fn fifty_redemptions_at_once_with_the_same_key_get_the_same_identity_for_one_use() {
    let test = unlimited().await;
    let token = free_token(&test, 3).await;
    let key = key();
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (app, request) = (Arc::clone(&test.app), request(&token, &key));
            tokio::spawn(async move { app.enrol(request).await.unwrap() })
        })
        .collect();
    let mut agents = HashSet::new();
    for one in tries {
        let enrolled = one.await.unwrap();
        assert!(!enrolled.token_used_up);
        agents.insert(enrolled.agent);
    }
    assert_eq!((agents.len(), server_count(&test).await), (1, 1));
    test.app.enrol(request(&token, &self::key())).await.unwrap();
    assert!(
        test.app
            .enrol(request(&token, &self::key()))
            .await
            .unwrap()
            .token_used_up
    );
    assert_eq!(server_count(&test).await, 3);
}

#[tokio::test]
async fn the_same_key_comes_back_for_ten_minutes_and_then_needs_a_use() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let key = key();
    let first = test.app.enrol(request(&token, &key)).await.unwrap();
    test.pass(9 * 60_000);
    let again = test.app.enrol(request(&token, &key)).await.unwrap();
    assert_eq!(
        (again.agent, again.server, again.token_used_up),
        (first.agent, first.server, true)
    );
    let other = test.app.enrol(request(&token, &self::key())).await.unwrap_err();
    assert_eq!(other.code(), "key_mismatch");
    test.pass(60_000);
    let late = test.app.enrol(request(&token, &key)).await.unwrap_err();
    assert_eq!(late.code(), "token_used_up");
    assert_eq!(server_count(&test).await, 1);
}

#[tokio::test]
async fn a_token_ends_with_its_time() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    test.pass(30 * 60_000);
    assert_eq!(
        test.app.enrol(request(&token, &key())).await.unwrap_err().code(),
        "token_expired"
    );
    assert_eq!(server_count(&test).await, 0);
}

#[tokio::test]
async fn unknown_foreign_and_guessed_tokens_are_all_unknown() {
    let test = unlimited().await;
    let text = free_token(&test, 1).await;
    let good = EnrolmentToken::parse(&text).unwrap();
    let changed = |change: fn(&mut EnrolmentToken)| {
        let mut token = good.clone();
        change(&mut token);
        token.to_text()
    };
    for token in [
        "nonsense".to_owned(),
        changed(|token| token.secret[0] ^= 1),
        changed(|token| token.pin[0] ^= 1),
        changed(|token| token.public_id = "0000000000000000".to_owned()),
    ] {
        let error = test.app.enrol(request(&token, &key())).await.unwrap_err();
        assert_eq!(error.code(), "token_unknown");
    }
    assert!(
        test.app.enrol(request(&text, &key())).await.is_ok(),
        "no use was lost"
    );
}

#[tokio::test]
async fn what_an_agent_states_is_checked_before_a_use_is_consumed() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let good = request(&token, &key());
    let cases: [(&str, Enrolment); 5] = [
        (
            "bad_request",
            Enrolment {
                hostname: String::new(),
                ..good.clone()
            },
        ),
        (
            "bad_request",
            Enrolment {
                hostname: "a\nb".to_owned(),
                ..good.clone()
            },
        ),
        (
            "bad_request",
            Enrolment {
                agent_version: "v".repeat(256),
                ..good.clone()
            },
        ),
        (
            "bad_request",
            Enrolment {
                certificate_request: vec![1, 2, 3],
                ..good.clone()
            },
        ),
        (
            "protocol_unsupported",
            Enrolment {
                protocol_min: 2,
                protocol_max: 9,
                ..good.clone()
            },
        ),
    ];
    for (code, bad) in cases {
        assert_eq!(test.app.enrol(bad).await.unwrap_err().code(), code);
    }
    assert!(test.app.enrol(good).await.is_ok());
}

#[tokio::test]
async fn a_bound_token_replaces_the_servers_identity_and_keeps_the_server() {
    let test = unlimited().await;
    let new = NewServer {
        hostname: "named".to_owned(),
        ..NewServer::default()
    };
    let created = test.app.create_server(new, "admin").await.unwrap();
    let first = test
        .app
        .enrol(request(&created.token.text, &key()))
        .await
        .unwrap();
    assert_eq!(first.server, created.server.id);
    let wanted = NewToken {
        ttl: None,
        uses: 1,
        server: Some(created.server.id),
        created_by: "test".to_owned(),
    };
    let token = test.app.create_token(wanted).await.unwrap().text;
    let mut changes = test.app.changes();
    let second = test.app.enrol(request(&token, &key())).await.unwrap();
    assert_eq!(changes.try_recv().unwrap(), Change::Revoked(first.agent));
    let admit = async |enrolled: &Enrolled| {
        let peer = PeerCertificate::parse(&enrolled.certificate_chain[0], test.clock.now_ms()).unwrap();
        test.app.admit(&peer).await
    };
    assert!(matches!(admit(&first).await, Err(AdmitError::Revoked)));
    assert_eq!(admit(&second).await.unwrap().server, created.server.id);
    assert_eq!(
        test.app.server(created.server.id).await.unwrap().hostname,
        "named"
    );
}

#[tokio::test]
async fn a_retry_does_not_bring_back_an_identity_that_was_revoked() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let key = key();
    let enrolled = test.app.enrol(request(&token, &key)).await.unwrap();
    test.app.delete_server(enrolled.server, "admin").await.unwrap();
    assert_eq!(
        test.app.enrol(request(&token, &key)).await.unwrap_err().code(),
        "token_used_up"
    );
}

#[tokio::test]
async fn a_token_of_a_deleted_server_is_worth_nothing() {
    let test = unlimited().await;
    let new = NewServer {
        hostname: "x".to_owned(),
        ..NewServer::default()
    };
    let created = test.app.create_server(new, "admin").await.unwrap();
    test.app.delete_server(created.server.id, "admin").await.unwrap();
    let refused = test
        .app
        .enrol(request(&created.token.text, &key()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "token_used_up");
    let wanted = NewToken {
        ttl: None,
        uses: 1,
        server: Some(created.server.id),
        created_by: "test".to_owned(),
    };
    assert!(matches!(
        test.app.create_token(wanted).await,
        Err(EnrolError::NoServer(_))
    ));
}

#[tokio::test]
async fn the_rate_limit_comes_before_everything_else() {
    let test = TestApp::new().await;
    for _ in 0..20 {
        assert_eq!(
            test.app
                .enrol(request("nonsense", &key()))
                .await
                .unwrap_err()
                .code(),
            "token_unknown"
        );
    }
    let refused = test.app.enrol(request("nonsense", &key())).await.unwrap_err();
    assert!(
        matches!(
            refused,
            EnrolError::TooMany {
                retry_after_ms: 1_000
            }
        ),
        "{refused:?}"
    );
    test.pass(1_000);
    assert_eq!(
        test.app
            .enrol(request("nonsense", &key()))
            .await
            .unwrap_err()
            .code(),
        "token_unknown"
    );
}

#[tokio::test]
async fn tokens_beyond_the_bounds_are_not_made() {
    let test = TestApp::new().await;
    let token = |uses, ttl_s, server| NewToken {
        ttl: Some(Duration::from_secs(ttl_s)),
        uses,
        server,
        created_by: "test".to_owned(),
    };
    for bad in [
        token(0, 60, None),
        token(USES_MAX + 1, 60, None),
        token(1, 0, None),
        token(1, 86_401, None),
        token(2, 60, Some(ServerId(1))),
    ] {
        assert_eq!(
            test.app.create_token(bad).await.unwrap_err().code(),
            "bad_request"
        );
    }
    assert!(test.app.create_token(token(USES_MAX, 86_400, None)).await.is_ok());
}

#[tokio::test]
async fn expired_and_unknown_certificates_are_not_admitted() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let enrolled = test.app.enrol(request(&token, &key())).await.unwrap();
    test.pass(8 * 86_400_000);
    let peer = PeerCertificate::parse(&enrolled.certificate_chain[0], test.clock.now_ms()).unwrap();
    assert!(matches!(test.app.admit(&peer).await, Err(AdmitError::Expired)));
    let stranger = PeerCertificate {
        agent: AgentId(Uuid::from_u128(1)),
        not_after_ms: i64::MAX,
        expired: false,
        ..peer
    };
    assert!(matches!(test.app.admit(&stranger).await, Err(AdmitError::Held)));
}

/// Whether it came to its end, or was given up after this many polls.
async fn polled<T>(work: impl Future<Output = T>, polls: usize) -> bool {
    let mut work = Box::pin(work);
    let mut left = polls;
    poll_fn(|context| {
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        left -= 1;
        if left == 0 {
            Poll::Ready(false)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// How many entries of an action were written, and how many of it the next start tells of.
async fn told(test: &TestApp, action: &str) -> (usize, usize) {
    let key = test.app.identity().mac_key(KEY_PURPOSE);
    let opened = Audit::open(test.app.store().clone(), test.clock.clone(), key, &test.folder);
    let audit = opened.await.unwrap();
    let page = PageRequest {
        limit: Some(1_000),
        ..PageRequest::default()
    };
    let entries = audit.list(AuditFilter::default(), page).await.unwrap().items;
    let done = entries.iter().filter(|entry| entry.action == action).count();
    let interrupted = entries
        .iter()
        .filter(|entry| entry.action == "audit.interrupted" && entry.target.starts_with(action))
        .count();
    (done, interrupted)
}

/// S27
#[tokio::test]
async fn no_identity_is_made_without_an_entry_wherever_its_making_is_given_up() {
    let test = unlimited().await;
    let mut given_up = 0;
    for polls in 1.. {
        let token = free_token(&test, 1).await;
        if polled(test.app.enrol(request(&token, &key())), polls).await {
            break;
        }
        given_up += 1;
    }
    let (done, interrupted) = told(&test, "agent.enrol").await;
    let made = usize::try_from(server_count(&test).await).unwrap();
    assert!(
        0 < given_up && 0 < interrupted,
        "{given_up} given up, {interrupted} told"
    );
    assert!(done <= made, "{done} entries of {made} identities");
    assert!(
        made <= done + interrupted,
        "{made} made, {done} + {interrupted} told"
    );
}

/// S27
#[tokio::test]
async fn no_identity_is_renewed_without_an_entry_wherever_that_is_given_up() {
    let test = unlimited().await;
    let token = free_token(&test, 1).await;
    let enrolled = test.app.enrol(request(&token, &key())).await.unwrap();
    let peer = PeerCertificate::parse(&enrolled.certificate_chain[0], test.clock.now_ms()).unwrap();
    // The same key again and again, as of an agent whose answers are lost.
    let wanted = request(&token, &key()).certificate_request;
    let mut given_up = 0;
    for polls in 1.. {
        test.pass(60_000);
        if polled(test.app.renew(&peer, &wanted), polls).await {
            break;
        }
        given_up += 1;
    }
    let (done, interrupted) = told(&test, "agent.renew").await;
    assert!(
        0 < interrupted && 0 < given_up,
        "{given_up} given up, {interrupted} told"
    );
    assert!(0 < done, "the last one came to its end");
}
