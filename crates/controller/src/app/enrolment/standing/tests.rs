use std::net::{IpAddr, Ipv4Addr};

use camino::Utf8Path;
use muster_base::clock::WallClock;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::app::enrolment::{AdmitError, Enrolment, NewToken};
use crate::app::tests::TestApp;
use crate::app::{self, Settings};

const DAY_MS: i64 = 86_400_000;
const ADMIN: Actor = Actor::Local { uid: 0 };

fn request(key: &KeyPair) -> Vec<u8> {
    let request = CertificateParams::default().serialize_request(key).unwrap();
    request.der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

struct Agent {
    server: ServerId,
    leaf: Vec<u8>,
}

async fn enrolled(app: &App) -> Agent {
    let wanted = NewToken {
        ttl: None,
        uses: 1,
        server: None,
        created_by: "test".to_owned(),
    };
    let enrolment = Enrolment {
        token: app.create_token(wanted).await.unwrap().text,
        certificate_request: request(&key()),
        hostname: "host-a".to_owned(),
        agent_version: "0.1.0".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let enrolled = app.enrol(enrolment).await.unwrap();
    Agent {
        server: enrolled.server,
        leaf: enrolled.certificate_chain[0].clone(),
    }
}

fn peer(app: &App, leaf: &[u8]) -> PeerCertificate {
    PeerCertificate::parse(leaf, app.clock().now_ms()).unwrap()
}

async fn refusal(app: &App, leaf: &[u8]) -> &'static str {
    match app.admit(&peer(app, leaf)).await {
        Ok(_) => "admitted",
        Err(error) => error.code(),
    }
}

async fn renewed(app: &App, leaf: &[u8]) -> Vec<u8> {
    let renewed = app.renew(&peer(app, leaf), &request(&key())).await.unwrap();
    renewed.certificate_chain[0].clone()
}

async fn reopened(folder: &Utf8Path, clock: &WallClock) -> Result<App, app::KeepError> {
    let (database, key) = (folder.join("state.db"), folder.join("secret.key"));
    app::open(&database, &key, clock.clone(), Settings::default()).await
}

/// The state database as it is now, to be put back later.
async fn backed_up(app: &App, folder: &Utf8Path) -> Vec<u8> {
    app.store().close().await.unwrap();
    std::fs::read(folder.join("state.db")).unwrap()
}

fn restore(folder: &Utf8Path, state: &[u8]) {
    std::fs::write(folder.join("state.db"), state).unwrap();
    for rest in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(folder.join(rest));
    }
}

/// S4, O1
#[tokio::test]
async fn a_revocation_outlives_a_restart_and_the_restore_of_an_older_database() {
    let test = TestApp::new().await;
    let (one, other) = (enrolled(&test.app).await, enrolled(&test.app).await);
    let state = backed_up(&test.app, &test.folder).await;

    let app = reopened(&test.folder, &test.clock).await.unwrap();
    let agent = peer(&app, &one.leaf).agent;
    let mut changes = app.changes();
    app.revoke_agent(agent, ADMIN).await.unwrap();
    assert_eq!(changes.try_recv().unwrap(), Change::Revoked(agent));
    app.delete_server(other.server, "admin").await.unwrap();
    for leaf in [&one.leaf, &other.leaf] {
        assert_eq!(refusal(&app, leaf).await, "identity_revoked");
    }
    app.store().close().await.unwrap();

    let app = reopened(&test.folder, &test.clock).await.unwrap();
    assert_eq!(refusal(&app, &one.leaf).await, "identity_revoked");
    app.store().close().await.unwrap();

    restore(&test.folder, &state);
    let app = reopened(&test.folder, &test.clock).await.unwrap();
    for leaf in [&one.leaf, &other.leaf] {
        assert_eq!(refusal(&app, leaf).await, "identity_revoked");
        let refused = app.renew(&peer(&app, leaf), &request(&key())).await.unwrap_err();
        assert_eq!(refused.code(), "identity_revoked");
    }
    let listed = app
        .agents(Some(AgentStatus::Revoked), PageRequest::default())
        .await
        .unwrap();
    assert_eq!(listed.total, 2, "the older database has learnt of both");
}

/// S4: a database that was exchanged under a damaged file is not believed.
#[tokio::test]
async fn damage_that_nobody_can_account_for_keeps_the_controller_from_starting() {
    let test = TestApp::new().await;
    let agent = enrolled(&test.app).await;
    let state = backed_up(&test.app, &test.folder).await;
    let app = reopened(&test.folder, &test.clock).await.unwrap();
    app.delete_server(agent.server, "admin").await.unwrap();
    app.store().close().await.unwrap();
    let file = test.folder.join(crate::identity::revocations::FILE);
    std::fs::write(&file, b"nonsense\n").unwrap();
    let app = reopened(&test.folder, &test.clock).await.unwrap();
    assert_eq!(
        refusal(&app, &agent.leaf).await,
        "identity_revoked",
        "the database knows"
    );
    app.store().close().await.unwrap();

    std::fs::write(&file, b"nonsense\n").unwrap();
    restore(&test.folder, &state);
    let refused = reopened(&test.folder, &test.clock).await.err().unwrap();
    assert!(
        matches!(
            refused,
            app::KeepError::Revocations(RevocationsError::Unaccounted { .. })
        ),
        "{refused:?}"
    );
}

/// O1
#[tokio::test]
async fn after_a_restore_newer_generations_are_taken_over_and_unknown_agents_are_held() {
    let test = TestApp::new().await;
    let known = enrolled(&test.app).await;
    let state = backed_up(&test.app, &test.folder).await;
    let app = reopened(&test.folder, &test.clock).await.unwrap();
    let unknown = enrolled(&app).await;
    let second = renewed(&app, &known.leaf).await;
    assert_eq!(refusal(&app, &second).await, "admitted");
    test.pass(60_000);
    let third = renewed(&app, &second).await;
    app.store().close().await.unwrap();

    restore(&test.folder, &state);
    let app = reopened(&test.folder, &test.clock).await.unwrap();
    assert_eq!(refusal(&app, &third).await, "admitted");
    for old in [&known.leaf, &second] {
        assert_eq!(refusal(&app, old).await, "certificate_superseded");
    }
    test.pass(60_000);
    assert_eq!(peer(&app, &renewed(&app, &third).await).generation, Some(4));

    let shown = peer(&app, &unknown.leaf);
    assert!(matches!(app.admit(&shown).await, Err(AdmitError::Held)));
    let refused = app.renew(&shown, &request(&key())).await.unwrap_err();
    assert_eq!(refused.code(), "identity_held");
    let remote = "192.0.2.9:1".parse().unwrap();
    let said = |name: &str| Some((name.to_owned(), "0.1.0".to_owned()));
    app.hold(&shown, remote, said("host-b")).await;
    app.hold(&shown, remote, said("bad\nname")).await;
    let held = app
        .agents(Some(AgentStatus::Held), PageRequest::default())
        .await
        .unwrap();
    assert_eq!(held.total, 1);
    assert_eq!(held.items[0].hostname.as_deref(), Some("host-b"));
    assert_eq!(held.items[0].address.as_deref(), Some("192.0.2.9"));

    let server = app.adopt_agent(shown.agent, None, None, ADMIN).await.unwrap();
    assert_eq!(app.server(server).await.unwrap().hostname, "host-b");
    assert_eq!(app.admit(&shown).await.unwrap().server, server);
    let again = app.adopt_agent(shown.agent, None, None, ADMIN).await.unwrap_err();
    assert!(matches!(again, StandingError::NotWaiting(_)));
}

#[tokio::test]
async fn an_agent_that_is_held_can_be_revoked_and_then_not_be_adopted() {
    let test = TestApp::new().await;
    let agent = enrolled(&test.app).await;
    let shown = PeerCertificate {
        agent: AgentId(uuid::Uuid::from_u128(77)),
        ..peer(&test.app, &agent.leaf)
    };
    let nobody = test.app.revoke_agent(shown.agent, ADMIN).await.unwrap_err();
    assert!(matches!(nobody, StandingError::NoAgent(_)));
    test.app.hold(&shown, "192.0.2.9:1".parse().unwrap(), None).await;
    test.app.revoke_agent(shown.agent, ADMIN).await.unwrap();
    assert!(matches!(test.app.admit(&shown).await, Err(AdmitError::Revoked)));
    test.pass(3 * 60_000);
    let refused = test
        .app
        .adopt_agent(shown.agent, None, None, ADMIN)
        .await
        .unwrap_err();
    assert!(matches!(refused, StandingError::NotWaiting(_)));
}

#[tokio::test]
async fn an_adopted_agent_replaces_that_of_the_server_it_is_given_to() {
    let test = TestApp::new().await;
    let former = enrolled(&test.app).await;
    let shown = PeerCertificate {
        agent: AgentId(uuid::Uuid::from_u128(77)),
        ..peer(&test.app, &former.leaf)
    };
    test.app.hold(&shown, "192.0.2.9:1".parse().unwrap(), None).await;
    let missing = Some(ServerId(999));
    let refused = test
        .app
        .adopt_agent(shown.agent, missing, None, ADMIN)
        .await
        .unwrap_err();
    assert!(matches!(refused, StandingError::NoServer(ServerId(999))));
    let refused = test
        .app
        .adopt_agent(shown.agent, None, Some("a\nb"), ADMIN)
        .await
        .unwrap_err();
    assert!(matches!(refused, StandingError::Hostname));
    let server = test
        .app
        .adopt_agent(shown.agent, Some(former.server), None, ADMIN)
        .await
        .unwrap();
    assert_eq!(server, former.server);
    assert_eq!(refusal(&test.app, &former.leaf).await, "identity_revoked");
    assert!(test.app.admit(&shown).await.is_ok());
}

/// S7
#[tokio::test]
async fn a_generation_that_forks_puts_both_holders_in_quarantine_until_somebody_decides() {
    let test = TestApp::new().await;
    let agent = enrolled(&test.app).await;
    let id = peer(&test.app, &agent.leaf).agent;
    let mut changes = test.app.changes();
    let newer = renewed(&test.app, &agent.leaf).await;
    // The clone, which has the certificate of before, renews it half way through its life.
    test.pass(4 * DAY_MS);
    let refused = test
        .app
        .renew(&peer(&test.app, &agent.leaf), &request(&key()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "certificate_superseded");
    assert_eq!(changes.try_recv().unwrap(), Change::Quarantined(id));
    for leaf in [&agent.leaf, &newer] {
        assert_eq!(refusal(&test.app, leaf).await, "identity_quarantined");
        let refused = test
            .app
            .renew(&peer(&test.app, leaf), &request(&key()))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "identity_quarantined");
    }
    let listed = test
        .app
        .agents(Some(AgentStatus::Quarantined), PageRequest::default())
        .await
        .unwrap();
    assert_eq!((listed.total, listed.items[0].server), (1, Some(agent.server)));
    assert!(
        listed.items[0]
            .reason
            .as_deref()
            .is_some_and(|reason| reason.contains("renewal"))
    );

    let other = Some(ServerId(agent.server.0 + 1));
    let refused = test.app.adopt_agent(id, other, None, ADMIN).await.unwrap_err();
    assert!(matches!(refused, StandingError::OtherServer(own) if own == agent.server));
    test.app.adopt_agent(id, None, None, ADMIN).await.unwrap();
    assert_eq!(refusal(&test.app, &newer).await, "admitted");
    assert_eq!(refusal(&test.app, &agent.leaf).await, "certificate_superseded");
}
