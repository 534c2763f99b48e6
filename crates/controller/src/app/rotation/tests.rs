use std::net::{IpAddr, Ipv4Addr};

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::app::enrolment::{Enrolment, NewToken};
use crate::app::tests::TestApp;
use crate::app::{self, Settings};
use crate::identity::{PeerCertificate, Phase};

const ADMIN: Actor = Actor::Local { uid: 0 };

async fn enrol(app: &App) -> Result<PeerCertificate, app::enrolment::EnrolError> {
    let wanted = NewToken {
        ttl: None,
        uses: 1,
        server: None,
        created_by: "test".to_owned(),
    };
    let token = app.create_token(wanted).await?.text;
    redeem(app, token).await
}

async fn redeem(app: &App, token: String) -> Result<PeerCertificate, app::enrolment::EnrolError> {
    let enrolment = Enrolment {
        token,
        certificate_request: request(),
        hostname: "host-a".to_owned(),
        agent_version: "0.1.0".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let enrolled = app.enrol(enrolment).await?;
    Ok(peer(app, &enrolled.certificate_chain[0]))
}

fn peer(app: &App, leaf: &[u8]) -> PeerCertificate {
    PeerCertificate::parse(leaf, app.clock().now_ms()).unwrap()
}

fn request() -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    request.der().to_vec()
}

/// S8
#[tokio::test]
async fn agents_follow_by_renewing_and_what_was_stepped_outlives_a_restart() {
    let test = TestApp::new().await;
    let first = enrol(&test.app).await.unwrap();
    let second = enrol(&test.app).await.unwrap();
    let status = test.app.ca_status().await.unwrap();
    assert_eq!((status.agents, status.agents_following), (2, 2));
    let mut changes = test.app.changes();
    let status = test.app.ca_step(Step::Prepare, ADMIN).await.unwrap();
    assert_eq!(status.rotation.phase, Phase::Published);
    assert_eq!((status.agents, status.agents_following), (2, 0));
    assert_eq!(changes.try_recv().unwrap(), Change::Roots);

    let renewed = test.app.renew(&first, &request()).await.unwrap();
    assert_eq!(renewed.trust_bundle.len(), 2);
    let status = test.app.ca_status().await.unwrap();
    assert_eq!(status.agents_following, 0, "the answer may be lost");
    test.app
        .admit(&peer(&test.app, &renewed.certificate_chain[0]))
        .await
        .unwrap();
    let status = test.app.ca_status().await.unwrap();
    assert_eq!((status.agents_following, status.behind), (1, vec![second.agent]));

    test.app.ca_step(Step::Issue, ADMIN).await.unwrap();
    test.app.store().close().await.unwrap();
    let (database, key) = (test.folder.join("state.db"), test.folder.join("secret.key"));
    let app = app::open(&database, &key, test.clock.clone(), Settings::default())
        .await
        .unwrap();
    let status = app.ca_status().await.unwrap();
    assert_eq!(
        (status.rotation.phase, status.agents_following),
        (Phase::Issuing, 1)
    );
    app.ca_step(Step::Switch, ADMIN).await.unwrap();
    let refused = app.ca_step(Step::Prepare, ADMIN).await.unwrap_err();
    assert!(matches!(refused, CaError::Step(StepError::OutOfOrder { .. })));
    app.ca_step(Step::Retire, ADMIN).await.unwrap();
    test.pass(60_000);
    assert!(enrol(&app).await.is_ok());
    app.upkeep().await.unwrap();
}

#[tokio::test]
async fn tokens_made_before_the_root_retires_are_good_until_then_and_void_after() {
    let test = TestApp::new().await;
    let wanted = NewToken {
        ttl: None,
        uses: 5,
        server: None,
        created_by: "test".to_owned(),
    };
    let token = test.app.create_token(wanted).await.unwrap().text;
    for step in [Step::Prepare, Step::Issue, Step::Switch] {
        test.app.ca_step(step, ADMIN).await.unwrap();
        redeem(&test.app, token.clone()).await.unwrap();
    }
    test.app.ca_step(Step::Retire, ADMIN).await.unwrap();
    let refused = redeem(&test.app, token).await.unwrap_err();
    assert_eq!(refused.code(), "token_unknown");
}
