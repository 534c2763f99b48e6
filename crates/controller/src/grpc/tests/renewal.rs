//! Certificates over time: renewed, replaced, expired and revoked.

use muster_proto::v1::RenewRequest;
use tokio::time::Instant;
use tonic::Status;

use super::*;

const DAY_MS: i64 = 86_400_000;

impl World {
    /// Asks for the next certificate with a new key.
    async fn renew(&self, identity: Option<&AgentIdentity>) -> Result<AgentIdentity, Status> {
        let mut client = EnrollmentClient::new(self.channel(identity).await.unwrap());
        let (request, key) = enrolment_request(String::new());
        let request = RenewRequest {
            certificate_request: request.certificate_request,
        };
        let renewed = client.renew(request).await?.into_inner();
        let chain = renewed.certificate_chain;
        Ok(AgentIdentity {
            server: identity.unwrap().server,
            agent: identity.unwrap().agent,
            chain: chain.into_iter().map(CertificateDer::from).collect(),
            key,
        })
    }

    async fn refused(&self, identity: Option<&AgentIdentity>) -> String {
        code(&self.renew(identity).await.err().unwrap())
    }

    /// Why this identity gets no stream.
    async fn not_admitted(&self, identity: &AgentIdentity) -> String {
        let channel = self.channel(Some(identity)).await.unwrap();
        code(&Stream::open(channel).await.err().unwrap())
    }

    fn pass(&self, ms: i64) {
        let clock = self.app.clock();
        clock.set(clock.now_ms() + ms);
    }
}

fn code(status: &Status) -> String {
    let code = status.metadata().get("muster-code");
    code.map_or_else(|| format!("{status:?}"), |code| code.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_renewed_certificate_takes_over_and_the_open_stream_goes_on() {
    let (_folder, world) = world().await;
    let old = world.enrol().await;
    let (mut stream, _) = world.greet(&old).await;
    stream.define(1, &["test_a"]).await;
    let new = world.renew(Some(&old)).await.unwrap();
    assert_eq!(
        world.app.admit(&peer(&world, &new)).await.unwrap().agent,
        old.agent
    );
    stream.report(report(1, vec![1])).await;
    stream.acked(&[1]).await;
    assert_eq!(world.not_admitted(&old).await, "certificate_superseded");
    let (mut newer, welcome) = world.greet(&new).await;
    assert_eq!(stream.closed().await.reason(), CloseReason::Replaced);
    let stored = ranges_from_wire(&welcome.epochs[0].stored).unwrap();
    assert!(stored.contains(1), "who renews is who it was");
    newer.report(report(2, vec![1])).await;
    newer.acked(&[2]).await;
    world.end().await;
}

fn peer(world: &World, identity: &AgentIdentity) -> crate::identity::PeerCertificate {
    let now_ms = world.app.clock().now_ms();
    crate::identity::PeerCertificate::parse(&identity.chain[0], now_ms).unwrap()
}

#[tokio::test]
async fn an_expired_certificate_is_good_for_renewal_and_nothing_else() {
    let (_folder, world) = world().await;
    let old = world.enrol().await;
    world.pass(20 * DAY_MS);
    assert_eq!(world.not_admitted(&old).await, "certificate_expired");
    let new = world.renew(Some(&old)).await.unwrap();
    let (stream, _) = world.greet(&new).await;
    drop(stream);
    world.end().await;
}

#[tokio::test]
async fn who_may_not_renew_learns_why() {
    let (_folder, world) = world().await;
    assert_eq!(world.refused(None).await, "certificate_required");

    let copied = world.enrol().await;
    world.renew(Some(&copied)).await.unwrap();
    assert_eq!(world.refused(Some(&copied)).await, "certificate_superseded");

    let deleted = world.enrol().await;
    world.app.delete_server(deleted.server, "admin").await.unwrap();
    assert_eq!(world.refused(Some(&deleted)).await, "identity_revoked");

    let late = world.enrol().await;
    let mut client = EnrollmentClient::new(world.channel(Some(&late)).await.unwrap());
    let request = RenewRequest {
        certificate_request: Vec::new(),
    };
    let refused = client.renew(request.clone()).await.unwrap_err();
    assert_eq!(code(&refused), "bad_request");
    world.pass(38 * DAY_MS);
    let refused = client.renew(request).await.unwrap_err();
    assert_eq!(code(&refused), "certificate_expired");
    // A new connection does not even get as far.
    let refused = world.refused(Some(&late)).await;
    assert!(refused.contains("CertificateExpired"), "{refused}");
    world.end().await;
}

#[tokio::test]
async fn no_stream_outlives_its_certificate() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    world.pass(7 * DAY_MS + 1_000);
    let started = Instant::now();
    let close = stream.closed().await;
    assert!(close.message.contains("expired"), "{close:?}");
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    world.end().await;
}

#[tokio::test]
async fn a_revocation_closes_the_stream_at_once() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    let started = Instant::now();
    world.app.delete_server(identity.server, "admin").await.unwrap();
    assert_eq!(stream.closed().await.reason(), CloseReason::Revoked);
    assert!(started.elapsed() < allowed(2), "{:?}", started.elapsed());
    assert_eq!(world.not_admitted(&identity).await, "identity_revoked");
    world.end().await;
}
