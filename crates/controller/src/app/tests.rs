use camino::Utf8PathBuf;

use super::*;

/// 2027-01-15, so that certificates have ordinary dates.
pub(crate) const START_MS: i64 = 1_800_000_000_000;

/// Settings under which passwords cost little; what they cost by default has its own test.
pub(crate) fn quick() -> Settings {
    Settings {
        hash_cost: auth::HashCost {
            memory_kib: 1_024,
            passes: 1,
        },
        ..Settings::default()
    }
}

/// Use-cases over a folder of their own and a clock that stands still.
pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) clock: WallClock,
    pub(crate) folder: Utf8PathBuf,
    _folder: tempfile::TempDir,
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let clock = WallClock::fixed(START_MS);
        let app = open_in(&folder, &clock, settings).await.unwrap();
        Self {
            app: Arc::new(app),
            clock,
            folder,
            _folder: dir,
        }
    }

    /// A server with an enrolled agent.
    pub(crate) async fn with_agent(&self, hostname: &str) -> (ServerId, AgentId) {
        enrolled(&self.app, hostname, None).await
    }

    /// Entries of the audit log with this action, newest first.
    pub(crate) async fn audited(&self, action: &str) -> Vec<audit::Recorded> {
        let filter = audit::AuditFilter {
            action: Some(action.to_owned()),
            ..audit::AuditFilter::default()
        };
        let listed = self.app.audit().list(filter, PageRequest::default());
        listed.await.unwrap().items
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.clock.set(self.clock.now_ms() + ms);
    }
}

/// Enrols an agent of a new server, or of this one.
pub(crate) async fn enrolled(app: &App, hostname: &str, server: Option<ServerId>) -> (ServerId, AgentId) {
    let wanted = enrolment::NewToken {
        ttl: None,
        uses: 1,
        server,
        created_by: "test".to_owned(),
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let enrolment = enrolment::Enrolment {
        token: app.create_token(wanted).await.unwrap().text,
        certificate_request: request.der().to_vec(),
        hostname: hostname.to_owned(),
        agent_version: "0.1.0".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        peer: std::net::IpAddr::from([192, 0, 2, 1]),
    };
    let enrolled = app.enrol(enrolment).await.unwrap();
    (enrolled.server, enrolled.agent)
}

async fn open_in(folder: &Utf8Path, clock: &WallClock, settings: Settings) -> Result<App, KeepError> {
    open(
        &folder.join("state.db"),
        &folder.join("secret.key"),
        clock.clone(),
        settings,
    )
    .await
}

#[tokio::test]
async fn an_installation_opened_again_is_the_same() {
    let test = TestApp::new().await;
    let pin = test.app.identity().root_pin();
    test.app.store().close().await.unwrap();
    let again = open_in(&test.folder, &test.clock, Settings::default())
        .await
        .unwrap();
    assert_eq!(again.identity().root_pin(), pin);
    assert_eq!(
        again.identity().installation(),
        test.app.identity().installation()
    );
}

#[tokio::test]
async fn a_missing_or_wrong_sealing_key_is_said_and_nothing_is_made() {
    let test = TestApp::new().await;
    let key = test.folder.join("secret.key");
    std::fs::write(&key, [9; 32]).unwrap();
    let wrong = open_in(&test.folder, &test.clock, Settings::default())
        .await
        .err()
        .unwrap();
    assert!(wrong.to_string().contains("sealed with another key"), "{wrong}");
    std::fs::remove_file(&key).unwrap();
    let missing = open_in(&test.folder, &test.clock, Settings::default())
        .await
        .err()
        .unwrap();
    assert!(missing.to_string().contains("put the file back"), "{missing}");
    assert!(!key.exists());
}

#[tokio::test]
async fn upkeep_stores_what_it_renews() {
    let test = TestApp::new().await;
    test.pass(200 * 86_400_000);
    test.app.upkeep().await.unwrap();
    let kept = test.app.store().secrets().await.unwrap();
    test.app.store().close().await.unwrap();
    let again = open_in(&test.folder, &test.clock, Settings::default())
        .await
        .unwrap();
    assert_eq!(
        again.store().secrets().await.unwrap(),
        kept,
        "nothing was left to renew"
    );
}

#[test]
fn cursors_that_are_not_ours_are_refused() {
    for cursor in ["x", "-1", "", "9223372036854775808"] {
        let request = PageRequest {
            cursor: Some(cursor.to_owned()),
            limit: None,
        };
        assert!(matches!(request.after(), Err(AppError::Cursor)), "{cursor:?}");
    }
    let limits = [(None, 100), (Some(0), 1), (Some(5), 5), (Some(9_999), 1_000)];
    for (limit, expected) in limits {
        assert_eq!(PageRequest { cursor: None, limit }.limit(), expected);
    }
}
