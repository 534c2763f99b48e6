use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use muster_base::id::{AgentId, ServerId};
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::app::enrolment::{AdmitError, Admitted, Enrolment, NewToken};
use crate::app::tests::TestApp;

const DAY_MS: i64 = 86_400_000;

fn request(key: &KeyPair) -> Vec<u8> {
    let request = CertificateParams::default().serialize_request(key).unwrap();
    request.der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// An enrolled agent: what it was given.
struct Agent {
    server: ServerId,
    leaf: Vec<u8>,
    enrolment: Enrolment,
}

async fn enrolled(test: &TestApp) -> Agent {
    let wanted = NewToken {
        ttl: None,
        uses: 1,
        server: None,
        created_by: "test".to_owned(),
    };
    let enrolment = Enrolment {
        token: test.app.create_token(wanted).await.unwrap().text,
        certificate_request: request(&key()),
        hostname: "host-a".to_owned(),
        agent_version: "0.1.0".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let enrolled = test.app.enrol(enrolment.clone()).await.unwrap();
    Agent {
        server: enrolled.server,
        leaf: enrolled.certificate_chain[0].clone(),
        enrolment,
    }
}

fn peer(test: &TestApp, leaf: &[u8]) -> PeerCertificate {
    PeerCertificate::parse(leaf, test.clock.now_ms()).unwrap()
}

async fn renew(test: &TestApp, leaf: &[u8], key: &KeyPair) -> Result<Renewed, RenewError> {
    test.app.renew(&peer(test, leaf), &request(key)).await
}

async fn admit(test: &TestApp, leaf: &[u8]) -> Result<Admitted, AdmitError> {
    test.app.admit(&peer(test, leaf)).await
}

async fn refusal(test: &TestApp, leaf: &[u8], key: &KeyPair) -> &'static str {
    renew(test, leaf, key).await.unwrap_err().code()
}

#[tokio::test]
async fn each_renewal_is_the_next_generation_and_the_one_before_ends_with_its_use() {
    let test = TestApp::new().await;
    let mut leaf = enrolled(&test).await.leaf;
    let agent = peer(&test, &leaf).agent;
    for generation in 2..20 {
        test.pass(3 * DAY_MS + DAY_MS / 2);
        let renewed = renew(&test, &leaf, &key()).await.unwrap();
        assert_eq!(renewed.generation, generation);
        let next = renewed.certificate_chain[0].clone();
        assert_eq!(peer(&test, &next).agent, agent);
        assert_eq!(peer(&test, &next).not_after_ms, test.clock.now_ms() + 7 * DAY_MS);
        // The answer may not have arrived: until the new one is shown, the old one is good.
        assert!(admit(&test, &leaf).await.is_ok());
        assert!(admit(&test, &next).await.is_ok());
        assert!(matches!(admit(&test, &leaf).await, Err(AdmitError::Superseded)));
        assert_eq!(peer(&test, &next).generation, Some(generation));
        leaf = next;
    }
}

#[tokio::test]
async fn a_lost_answer_is_given_again_for_the_same_new_key_only() {
    let test = TestApp::new().await;
    let leaf = enrolled(&test).await.leaf;
    let new_key = key();
    let first = renew(&test, &leaf, &new_key).await.unwrap();
    let again = renew(&test, &leaf, &new_key).await.unwrap();
    assert_eq!((first.generation, again.generation), (2, 2));
    let again = &peer(&test, &again.certificate_chain[0]);
    assert_eq!(again.generation, Some(2));
    // Both answers carry the same key, so either is good; with its use the lost-answer case is over.
    assert!(admit(&test, &first.certificate_chain[0]).await.is_ok());
    assert!(test.app.admit(again).await.is_ok());
    assert_eq!(refusal(&test, &leaf, &new_key).await, "certificate_superseded");
}

#[tokio::test]
async fn of_many_holders_of_one_certificate_one_goes_on() {
    let test = TestApp::new().await;
    let leaf = enrolled(&test).await.leaf;
    let tries: Vec<_> = (0..5)
        .map(|_| {
            let (app, peer) = (Arc::clone(&test.app), peer(&test, &leaf));
            tokio::spawn(async move { app.renew(&peer, &request(&key())).await })
        })
        .collect();
    let mut renewed = Vec::new();
    for one in tries {
        match one.await.unwrap() {
            Ok(one) => renewed.push(one.generation),
            Err(error) => assert!(
                ["certificate_superseded", "identity_quarantined"].contains(&error.code()),
                "{error}"
            ),
        }
    }
    assert_eq!(renewed, [2]);
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_for_thirty_days() {
    let test = TestApp::new().await;
    let leaf = enrolled(&test).await.leaf;
    test.pass(7 * DAY_MS + 29 * DAY_MS);
    assert!(matches!(admit(&test, &leaf).await, Err(AdmitError::Expired)));
    let renewed = renew(&test, &leaf, &key()).await.unwrap();
    assert!(admit(&test, &renewed.certificate_chain[0]).await.is_ok());
    test.pass(7 * DAY_MS + 31 * DAY_MS);
    let late = refusal(&test, &renewed.certificate_chain[0], &key()).await;
    assert_eq!(late, "certificate_expired");
}

#[tokio::test]
async fn strangers_and_the_revoked_are_not_renewed() {
    let test = TestApp::new().await;
    let agent = enrolled(&test).await;
    let stranger = PeerCertificate {
        agent: AgentId(uuid::Uuid::from_u128(1)),
        ..peer(&test, &agent.leaf)
    };
    let refused = test.app.renew(&stranger, &request(&key())).await.unwrap_err();
    assert_eq!(refused.code(), "identity_held");

    let wanted = NewToken {
        ttl: None,
        uses: 1,
        server: Some(agent.server),
        created_by: "test".to_owned(),
    };
    let token = test.app.create_token(wanted).await.unwrap().text;
    let follower = Enrolment {
        token,
        certificate_request: request(&key()),
        ..agent.enrolment
    };
    test.app.enrol(follower).await.unwrap();
    assert_eq!(refusal(&test, &agent.leaf, &key()).await, "identity_revoked");
}

#[tokio::test]
async fn a_request_without_a_new_key_is_not_taken() {
    let test = TestApp::new().await;
    let agent = enrolled(&test).await;
    let shown = peer(&test, &agent.leaf);
    for bad in [&agent.enrolment.certificate_request[..], &[1, 2, 3]] {
        let refused = test.app.renew(&shown, bad).await.unwrap_err();
        assert_eq!(refused.code(), "bad_request");
    }
    assert_eq!(renew(&test, &agent.leaf, &key()).await.unwrap().generation, 2);
}

#[tokio::test]
async fn an_enrolment_that_is_retried_does_not_undo_a_renewal() {
    let test = TestApp::new().await;
    let agent = enrolled(&test).await;
    let renewed = renew(&test, &agent.leaf, &key()).await.unwrap();
    let refused = test.app.enrol(agent.enrolment).await.unwrap_err();
    assert_eq!(refused.code(), "token_used_up");
    assert!(admit(&test, &renewed.certificate_chain[0]).await.is_ok());
}

#[tokio::test]
async fn an_agent_that_renews_without_end_is_held_back_alone() {
    let test = TestApp::new().await;
    let (one, other) = (enrolled(&test).await, enrolled(&test).await);
    let new_key = key();
    for _ in 0..5 {
        renew(&test, &one.leaf, &new_key).await.unwrap();
    }
    let refused = renew(&test, &one.leaf, &new_key).await.unwrap_err();
    assert!(
        matches!(refused, RenewError::TooMany { retry_after_ms } if retry_after_ms <= 10_000),
        "{refused:?}"
    );
    assert!(renew(&test, &other.leaf, &key()).await.is_ok());
}
