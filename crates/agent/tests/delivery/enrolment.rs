//! First contact.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_agent::enrol::{EnrolError, Enrolled, Options, enrol};
use muster_agent::identity::{IdentityDir, IdentityError};
use muster_agent::uplink::{CallError, ConnectError};
use muster_proto::token::EnrolmentToken;
use muster_proto::v1::{EnrollRequest, EnrollResponse};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::controller::{Controller, Enrol};
use crate::pki::{Chain, Pki, expired_server_params, self_signed, server_params};

/// An agent that was never enrolled, and its token.
struct Agent {
    _dir: TempDir,
    path: Utf8PathBuf,
}

impl Agent {
    fn with_token(token: &EnrolmentToken) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        std::fs::write(path.join("token"), token.to_text() + "\n").unwrap();
        Self { _dir: dir, path }
    }

    fn token_file(&self) -> Utf8PathBuf {
        self.path.join("token")
    }

    fn data_dir(&self) -> Utf8PathBuf {
        self.path.join("data")
    }

    async fn enrol(&self, controller: &Controller) -> Result<Enrolled, EnrolError> {
        enrol(&Options {
            controller: controller.address.to_string(),
            token_file: self.token_file(),
            data_dir: self.data_dir(),
            hostname: "host-a".to_owned(),
            machine: None,
        })
        .await
    }

    fn is_enrolled(&self) -> bool {
        IdentityDir::below(&self.data_dir()).is_enrolled()
    }
}

fn response(pki: &Pki, request: &EnrollRequest) -> EnrollResponse {
    EnrollResponse {
        agent_id: vec![3; 16],
        server_id: 42,
        certificate_chain: pki.agent_chain(&request.certificate_request),
        trust_bundle: vec![pki.root.der().to_vec()],
        command_keys: vec![vec![8; 32]],
        generation: 1,
        token_used_up: true,
    }
}

/// Enrols everyone.
fn generous(pki: Arc<Pki>) -> Enrol {
    Box::new(move |request| Ok(response(&pki, &request)))
}

async fn generous_controller() -> (Arc<Pki>, Controller) {
    let pki = Arc::new(Pki::new());
    let controller = Controller::start_with(&pki.server(), &pki, generous(Arc::clone(&pki))).await;
    (pki, controller)
}

#[tokio::test]
async fn a_token_becomes_an_identity_that_is_on_disk() {
    let (pki, controller) = generous_controller().await;
    let agent = Agent::with_token(&pki.token());
    let enrolled = agent.enrol(&controller).await.unwrap();
    let loaded = IdentityDir::below(&agent.data_dir()).load().unwrap();
    assert_eq!((loaded.server_id.0, loaded.generation), (42, 1));
    assert_eq!(loaded.agent_id, enrolled.identity.agent_id);
    assert_eq!(loaded.controller, controller.address.to_string());
    assert_eq!((loaded.chain.len(), loaded.roots.len()), (2, 1));
    assert_eq!(loaded.command_keys, [[8; 32]]);
    assert!(loaded.validity().is_some());
    let mode = std::fs::metadata(agent.data_dir().join("identity/key.pem"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_used_up_token_is_deleted_if_it_may_be_written() {
    let (pki, controller) = generous_controller().await;
    let writable = Agent::with_token(&pki.token());
    assert!(writable.enrol(&controller).await.unwrap().token_deleted);
    assert!(!writable.token_file().exists());

    let readonly = Agent::with_token(&pki.token());
    std::fs::set_permissions(readonly.token_file(), PermissionsExt::from_mode(0o444)).unwrap();
    assert!(!readonly.enrol(&controller).await.unwrap().token_deleted);
    assert!(readonly.token_file().exists());
}

#[tokio::test]
async fn a_token_with_uses_left_is_kept() {
    let pki = Arc::new(Pki::new());
    let issuer = Arc::clone(&pki);
    let enrol: Enrol = Box::new(move |request| {
        Ok(EnrollResponse {
            token_used_up: false,
            ..response(&issuer, &request)
        })
    });
    let controller = Controller::start_with(&pki.server(), &pki, enrol).await;
    let agent = Agent::with_token(&pki.token());
    assert!(!agent.enrol(&controller).await.unwrap().token_deleted);
    assert!(agent.token_file().exists());
}

/// Whoever presents `chain` must not see a byte of the token made by `pki`.
async fn assert_nothing_is_said(pki: &Arc<Pki>, chain: &Chain) -> EnrolError {
    let controller = Controller::start_with(chain, pki, generous(Arc::clone(pki))).await;
    let agent = Agent::with_token(&pki.token());
    let error = tokio::time::timeout(Duration::from_secs(10), agent.enrol(&controller))
        .await
        .unwrap();
    let error = error.expect_err("an unverified controller enrols nobody");
    controller.refused_handshakes(1).await;
    assert_eq!(controller.plain_bytes(), 0);
    assert!(!agent.is_enrolled() && agent.token_file().exists());
    error
}

fn is_wrong_controller(error: &EnrolError) -> bool {
    matches!(
        error,
        EnrolError::Call(CallError::Connect(ConnectError::WrongController { .. }))
    )
}

fn is_tls(error: &EnrolError) -> bool {
    matches!(
        error,
        EnrolError::Call(CallError::Connect(ConnectError::Tls { .. }))
    )
}

#[tokio::test]
async fn a_controller_of_another_root_learns_nothing() {
    let error = assert_nothing_is_said(&Arc::new(Pki::new()), &Pki::new().server()).await;
    assert!(is_wrong_controller(&error), "{error:?}");
    let told = muster_base::ErrorChain(&error).to_string();
    assert!(
        told.contains("this is not the controller the token was made for"),
        "{told}"
    );
}

#[tokio::test]
async fn a_self_signed_controller_learns_nothing() {
    let error = assert_nothing_is_said(&Arc::new(Pki::new()), &self_signed()).await;
    assert!(is_wrong_controller(&error), "{error:?}");
}

#[tokio::test]
async fn an_impostor_with_the_true_root_in_its_chain_learns_nothing() {
    let pki = Arc::new(Pki::new());
    let mut chain = Pki::new().server();
    // Root certificates are no secret; only a signature by the root's key counts.
    chain.certificates.push(pki.root.der().clone());
    let error = assert_nothing_is_said(&pki, &chain).await;
    assert!(is_tls(&error), "{error:?}");
}

#[tokio::test]
async fn a_certificate_of_the_true_root_for_another_name_or_time_or_use_is_refused() {
    let pki = Arc::new(Pki::new());
    let mut client = server_params(muster_proto::CONTROLLER_NAME);
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    for params in [server_params("web.example.com"), expired_server_params(), client] {
        let error = assert_nothing_is_said(&pki, &pki.server_of(&params)).await;
        assert!(is_tls(&error), "{error:?}");
    }
}

#[tokio::test]
async fn a_chain_without_the_root_is_refused_because_the_pin_can_not_be_checked() {
    let pki = Arc::new(Pki::new());
    let mut chain = pki.server();
    chain.certificates.pop();
    let error = assert_nothing_is_said(&pki, &chain).await;
    assert!(is_wrong_controller(&error), "{error:?}");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let pki = Arc::new(Pki::new());
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (issuer, keys) = (Arc::clone(&pki), Arc::clone(&seen));
    let enrol: Enrol = Box::new(move |request| {
        let mut keys = keys.lock().unwrap();
        let (_, csr) = {
            use x509_parser::prelude::FromDer as _;
            x509_parser::certification_request::X509CertificationRequest::from_der(
                &request.certificate_request,
            )
            .unwrap()
        };
        keys.push(csr.certification_request_info.subject_pki.raw.to_vec());
        if keys.len() == 1 {
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(response(&issuer, &request))
    });
    let controller = Controller::start_with(&pki.server(), &pki, enrol).await;
    let agent = Agent::with_token(&pki.token());
    let lost = agent.enrol(&controller).await.unwrap_err();
    assert!(
        matches!(&lost, EnrolError::Call(call) if call.is_transient()),
        "{lost:?}"
    );
    assert!(!agent.is_enrolled() && agent.token_file().exists());
    agent.enrol(&controller).await.unwrap();
    let keys = seen.lock().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let pki = Arc::new(Pki::new());
    let refusal = |code: Code, word: &'static str| {
        let mut status = Status::new(code, "the controller's words");
        status.metadata_mut().insert("muster-code", word.parse().unwrap());
        status
            .metadata_mut()
            .insert("retry-after-ms", "1500".parse().unwrap());
        status
    };
    let mut answers = vec![
        refusal(Code::Unauthenticated, "token_used_up"),
        refusal(Code::Unauthenticated, "token_expired"),
        refusal(Code::Unauthenticated, "token_unknown"),
        refusal(Code::FailedPrecondition, "key_mismatch"),
        refusal(Code::ResourceExhausted, "rate_limited"),
    ]
    .into_iter();
    let enrol: Enrol = Box::new(move |_| Err(answers.next().unwrap()));
    let controller = Controller::start_with(&pki.server(), &pki, enrol).await;
    let agent = Agent::with_token(&pki.token());
    let mut told = Vec::new();
    for _ in 0..5 {
        match agent.enrol(&controller).await {
            Err(EnrolError::Call(error)) => told.push(error),
            other => panic!("{other:?}"),
        }
        assert!(
            agent.token_file().exists(),
            "a token that was refused is kept for people to look at"
        );
    }
    assert!(
        matches!(
            &told[..],
            [
                CallError::UsedUp,
                CallError::Expired,
                CallError::Unknown,
                CallError::Refused { .. },
                CallError::Later { retry_after, .. },
            ] if *retry_after == Duration::from_millis(1500)
        ),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_key_is_not_kept() {
    let pki = Arc::new(Pki::new());
    let issuer = Arc::clone(&pki);
    let enrol: Enrol = Box::new(move |request| {
        let other = rcgen::KeyPair::generate().unwrap();
        let other = rcgen::CertificateParams::default()
            .serialize_request(&other)
            .unwrap();
        Ok(EnrollResponse {
            certificate_chain: issuer.agent_chain(other.der()),
            ..response(&issuer, &request)
        })
    });
    let controller = Controller::start_with(&pki.server(), &pki, enrol).await;
    let agent = Agent::with_token(&pki.token());
    assert!(matches!(
        agent.enrol(&controller).await,
        Err(EnrolError::Answer(_))
    ));
    assert!(!agent.is_enrolled());
}

#[tokio::test]
async fn a_damaged_token_never_reaches_the_network() {
    let (pki, controller) = generous_controller().await;
    let agent = Agent::with_token(&pki.token());
    let text = pki
        .token()
        .to_text()
        .replace("0123456789abcdef", "0123456789abcdee");
    std::fs::write(agent.token_file(), text).unwrap();
    assert!(matches!(
        agent.enrol(&controller).await,
        Err(EnrolError::Token { .. })
    ));
    assert!(!agent.data_dir().exists());
    std::fs::remove_file(agent.token_file()).unwrap();
    assert!(matches!(
        agent.enrol(&controller).await,
        Err(EnrolError::TokenFile { .. })
    ));
}

#[tokio::test]
async fn an_enrolled_agent_is_not_enrolled_again() {
    let (pki, controller) = generous_controller().await;
    let agent = Agent::with_token(&pki.token());
    agent.enrol(&controller).await.unwrap();
    std::fs::write(agent.token_file(), pki.token().to_text()).unwrap();
    let before = controller.plain_bytes();
    assert!(matches!(
        agent.enrol(&controller).await,
        Err(EnrolError::AlreadyEnrolled { .. })
    ));
    assert_eq!(controller.plain_bytes(), before);
}

#[tokio::test]
async fn an_unreachable_controller_is_named() {
    let pki = Pki::new();
    let agent = Agent::with_token(&pki.token());
    let controller = Controller::start(&pki).await;
    let address = controller.address.to_string();
    drop(controller);
    let options = Options {
        controller: address.clone(),
        token_file: agent.token_file(),
        data_dir: agent.data_dir(),
        hostname: String::new(),
        machine: None,
    };
    let error = enrol(&options).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap();
    let identity = IdentityDir::below(path);
    identity.key_or_new().unwrap();
    std::fs::set_permissions(path.join("identity/key.pem"), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(matches!(
        identity.key_or_new(),
        Err(IdentityError::KeyExposed { mode: 0o640, .. })
    ));
}

#[test]
fn an_agent_without_identity_is_told_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap();
    let error = IdentityDir::below(path).load().unwrap_err();
    assert!(error.to_string().contains("muster-agent enroll"), "{error}");
}
