//! Renewal of the certificate while the agent runs.

use std::sync::Arc;

use muster_agent::identity::IdentityDir;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{RenewHint, RenewRequest, RenewResponse};
use tokio::sync::mpsc;
use tonic::Status;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::controller::{Controller, Link, Renew};
use crate::pki::Pki;
use crate::whole::Agent;

type Answer = dyn Fn(&Pki, &RenewRequest) -> Result<RenewResponse, Status> + Send;

/// Answers renewals one after the other, the last answer for ever; the receiver gets the public key of each request.
fn script(pki: &Arc<Pki>, answers: Vec<Box<Answer>>) -> (Renew, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (asked_tx, asked) = mpsc::unbounded_channel();
    let (pki, mut count) = (Arc::clone(pki), 0);
    let renew = move |request: RenewRequest| {
        let (_, parsed) = X509CertificationRequest::from_der(&request.certificate_request).unwrap();
        parsed.verify_signature().unwrap();
        let key = parsed.certification_request_info.subject_pki.raw.to_vec();
        let _ = asked_tx.send(key);
        count += 1;
        answers[count.min(answers.len()) - 1](&pki, &request)
    };
    (Box::new(renew), asked)
}

fn renewed(pki: &Pki, request: &RenewRequest) -> Result<RenewResponse, Status> {
    Ok(RenewResponse {
        certificate_chain: pki.agent_chain(&request.certificate_request),
        trust_bundle: vec![pki.root.der().to_vec()],
        generation: 2,
    })
}

/// The public key of the certificate that a stream was opened with.
fn key_of(link: &Link) -> Vec<u8> {
    let (_, leaf) = x509_parser::parse_x509_certificate(&link.certificate).unwrap();
    leaf.public_key().raw.to_vec()
}

async fn hint(link: &Link) {
    link.send(ControllerBody::RenewHint(RenewHint { before_ms: 0 }))
        .await;
}

/// Numbers of the next reports, acknowledged up to `acked`.
async fn take(link: &mut Link, epoch: u64, count: usize, acked: u64) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        if let MessageBody::Report(report) = link.message().await {
            taken.push(report.sequence);
            if report.sequence <= acked {
                link.ack(epoch, &[(report.sequence, report.sequence)]).await;
            }
        }
    }
    taken
}

#[tokio::test]
async fn the_stream_goes_on_with_the_renewed_certificate_and_nothing_is_lost() {
    let pki = Arc::new(Pki::new());
    let mut controller = Controller::start(&pki).await;
    let (renew, mut asked) = script(&pki, vec![Box::new(renewed)]);
    controller.renew_with(renew);
    let agent = Agent::start(&pki, &controller.address.to_string());
    let (mut old, hello) = controller.accept().await;
    old.welcome(hello.epoch, &[], 0).await;
    assert_eq!(take(&mut old, hello.epoch, 2, 1).await, [1, 2]);
    hint(&old).await;

    let (mut new, again) = controller.accept().await;
    assert_eq!(asked.recv().await.unwrap(), key_of(&new));
    assert_ne!(key_of(&old), key_of(&new));
    assert_eq!(again.epoch, hello.epoch);
    assert_eq!(
        again.epochs[0].held[0].first, 2,
        "what was not acknowledged is still held"
    );
    new.welcome(hello.epoch, &[(1, 1)], 0).await;
    assert_eq!(take(&mut new, hello.epoch, 2, 9).await, [2, 3]);

    let identity = IdentityDir::below(&agent.path()).load().unwrap();
    assert_eq!(identity.generation, 2);
    assert_eq!(identity.chain[0].to_vec(), new.certificate);
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_is_asked_for_again_with_the_same_key() {
    let pki = Arc::new(Pki::new());
    let mut controller = Controller::start(&pki).await;
    let lost = |_: &Pki, _: &RenewRequest| Err(Status::unavailable("lost"));
    let (renew, mut asked) = script(&pki, vec![Box::new(lost), Box::new(renewed)]);
    controller.renew_with(renew);
    let _agent = Agent::start_as(&controller.address.to_string(), |key| pki.due_agent_with(key));
    // Past half of its life, it asks without being told to.
    let first = asked.recv().await.unwrap();
    assert_eq!(asked.recv().await.unwrap(), first);
    loop {
        let (link, hello) = controller.accept().await;
        link.welcome(hello.epoch, &[], 0).await;
        if key_of(&link) == first {
            return;
        }
    }
}

#[tokio::test]
async fn an_expired_agent_renews_before_it_connects() {
    let pki = Arc::new(Pki::new());
    let mut controller = Controller::start_in_2001(&pki).await;
    let (renew, mut asked) = script(&pki, vec![Box::new(renewed)]);
    controller.renew_with(renew);
    let _agent = Agent::start_as(&controller.address.to_string(), |key| pki.expired_agent_with(key));
    let (link, _) = controller.accept().await;
    assert_eq!(key_of(&link), asked.recv().await.unwrap());
}

#[tokio::test]
async fn an_answer_of_no_use_changes_nothing() {
    let pki = Arc::new(Pki::new());
    let answers: [fn(&mut RenewResponse); 5] = [
        |answer| answer.generation = 1,
        |answer| answer.trust_bundle.clear(),
        |answer| answer.certificate_chain.clear(),
        |answer| answer.certificate_chain.reverse(),
        |answer| answer.trust_bundle[0].truncate(9),
    ];
    for spoil in answers {
        let mut controller = Controller::start(&pki).await;
        let bad = move |pki: &Pki, request: &RenewRequest| {
            renewed(pki, request).map(|mut answer| {
                spoil(&mut answer);
                answer
            })
        };
        let (renew, mut asked) = script(&pki, vec![Box::new(bad)]);
        controller.renew_with(renew);
        let agent = Agent::start(&pki, &controller.address.to_string());
        let (mut link, hello) = controller.accept().await;
        link.welcome(hello.epoch, &[], 0).await;
        hint(&link).await;
        asked.recv().await.unwrap();
        // The first report was there before; this one shows that the stream has gone on.
        let acked = take(&mut link, hello.epoch, 1, 1).await;
        assert_eq!(acked, [1]);
        let identity = IdentityDir::below(&agent.path()).load().unwrap();
        assert_eq!(identity.generation, 1);
    }
}

#[tokio::test]
async fn a_refused_renewal_leaves_the_stream_alone() {
    let pki = Arc::new(Pki::new());
    let mut controller = Controller::start(&pki).await;
    let refused = |_: &Pki, _: &RenewRequest| Err(Status::permission_denied("the identity was revoked"));
    let (renew, mut asked) = script(&pki, vec![Box::new(refused)]);
    controller.renew_with(renew);
    let _agent = Agent::start(&pki, &controller.address.to_string());
    let (mut link, hello) = controller.accept().await;
    link.welcome(hello.epoch, &[], 0).await;
    hint(&link).await;
    asked.recv().await.unwrap();
    assert_eq!(take(&mut link, hello.epoch, 2, 9).await, [1, 2]);
}
