//! The agent port from outside: real TLS, real certificates, a scripted agent.

use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use hyper_util::rt::TokioIo;
use muster_base::clock::WallClock;
use muster_base::id::ServerId;
use muster_model::{Clock, Labels, MetricType, Report, ResourceKey, SampleBlock, SeriesDef};
use muster_proto::CONTROLLER_NAME;
use muster_proto::convert::{definitions_to_wire, ranges_from_wire, report_to_wire};
use muster_proto::framing;
use muster_proto::v1::agent_link_client::AgentLinkClient;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body;
use muster_proto::v1::enrollment_client::EnrollmentClient;
use muster_proto::v1::{
    AgentFrame, AgentMessage, Close, CloseReason, CollectDone, ControllerFrame, EnrollRequest,
    EnrollResponse, Fragment, HeldEpoch, Hello, Lane, Pong, Welcome, agent_frame,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::*;
use crate::app::audit::Actor;
use crate::app::collect::{CollectOutcome, Collecting};
use crate::app::enrolment::NewToken;
use crate::app::ingest::Limits;
use crate::app::{self, Settings};
use crate::consume;
use crate::intake::{self, Intake};

mod abuse;
mod bad_input;
mod clocks;
mod control;
mod exactly_once;
mod lanes;
mod matrix;
mod renewal;
mod slow;
mod tokens;
mod twice;

const NOW: i64 = 1_800_000_000_000;
const EPOCH: u64 = 77;
const ADMIN: Actor = Actor::Local { uid: 0 };

/// A controller without its HTTP side.
struct World {
    dir: Utf8PathBuf,
    app: Arc<App>,
    intake: Intake,
    agents: Agents,
    consumers: consume::Consumers,
    address: std::net::SocketAddr,
    metrics: GrpcMetrics,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl World {
    async fn start(dir: &Utf8Path) -> Self {
        Self::start_with(dir, Options::default()).await
    }

    async fn start_with(dir: &Utf8Path, port: Options) -> Self {
        Self::start_as(dir, port, Settings::default()).await
    }

    async fn start_as(dir: &Utf8Path, port: Options, settings: Settings) -> Self {
        let clock = WallClock::fixed(NOW);
        let (database, secret_key) = (dir.join("state.db"), dir.join("secret.key"));
        let app = app::open(&database, &secret_key, clock.clone(), settings)
            .await
            .unwrap();
        let app = Arc::new(app);
        let space: intake::SpaceProbe = Arc::new(|_| {
            Some(intake::DiskSpace {
                total_bytes: 100,
                free_bytes: 50,
            })
        });
        let options = intake::Options {
            space,
            ..intake::Options::default()
        };
        let intake = Intake::open(dir, options, clock.clone()).unwrap();
        let samples =
            muster_samples::Store::open(&dir.join("samples"), muster_samples::Options::default()).unwrap();
        let stop = CancellationToken::new();
        let parts = consume::Parts {
            intake: intake.clone(),
            store: app.store().clone(),
            samples: Arc::new(samples),
            clock: clock.clone(),
        };
        let consumers = consume::spawn(parts, stop.clone()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let agents = Agents::default();
        let metrics = GrpcMetrics::default();
        let parts = Parts {
            listener,
            app: Arc::clone(&app),
            ingest: Ingest::new(
                intake.clone(),
                clock,
                Limits {
                    series_per_agent: 5,
                    ..Limits::default()
                },
            ),
            agents: agents.clone(),
            options: port,
        };
        let serving = tokio::spawn(serve(parts, metrics.clone(), stop.clone()));
        Self {
            dir: dir.to_owned(),
            app,
            intake,
            agents,
            consumers,
            address,
            metrics,
            stop,
            serving,
        }
    }

    /// Ends everything without sealing or flushing.
    async fn end(self) -> Utf8PathBuf {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        self.consumers.ended().await;
        self.intake.close().await;
        self.dir
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for root in self.app.identity().trust_bundle() {
            roots.add(CertificateDer::from(root)).unwrap();
        }
        roots
    }

    /// TLS of an agent that shows `identity`, or no certificate.
    fn tls(&self, identity: Option<&AgentIdentity>) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // The controller's clock stands still; its certificate is judged by the same time.
        let builder = ClientConfig::builder_with_details(provider, Arc::new(Still))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// A channel that shows `identity`, or no certificate.
    async fn channel(&self, identity: Option<&AgentIdentity>) -> std::io::Result<Channel> {
        self.wrap(self.shake(identity).await?).await
    }

    async fn channel_with(&self, tls: Arc<ClientConfig>) -> std::io::Result<Channel> {
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
        self.wrap(TlsConnector::from(tls).connect(name, tcp).await?).await
    }

    async fn wrap(&self, tls: TlsStream<TcpStream>) -> std::io::Result<Channel> {
        let mut only = Some(TokioIo::new(tls));
        let connector = tower::service_fn(move |_| {
            std::future::ready(only.take().ok_or_else(|| std::io::Error::other("used before")))
        });
        Endpoint::from_static("http://controller.muster.internal")
            .connect_with_connector(connector)
            .await
            .map_err(std::io::Error::other)
    }

    /// TLS that shows `identity`, and nothing said on it.
    async fn shake(&self, identity: Option<&AgentIdentity>) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
        TlsConnector::from(self.tls(identity)).connect(name, tcp).await
    }

    /// Streams closed for what came in on them, by reason.
    fn breaches(&self, reason: &str) -> u64 {
        let mut breaches = self.metrics.session.breaches();
        count(breaches.find(|(name, _)| *name == reason).unwrap().1)
    }

    async fn token(&self) -> String {
        let wanted = NewToken {
            ttl: None,
            uses: 1,
            server: None,
            created_by: "a test".to_owned(),
        };
        self.app.create_token(wanted).await.unwrap().text
    }

    /// Enrols an agent the way agents do.
    async fn enrol(&self) -> AgentIdentity {
        let mut client = EnrollmentClient::new(self.channel(None).await.unwrap());
        let (request, key) = enrolment_request(self.token().await);
        let response = client.enroll(request).await.unwrap().into_inner();
        AgentIdentity::new(response, key)
    }

    async fn open(&self, identity: &AgentIdentity) -> Stream {
        Stream::open(self.channel(Some(identity)).await.unwrap())
            .await
            .unwrap()
    }

    /// A stream that has been welcomed.
    async fn greet(&self, identity: &AgentIdentity) -> (Stream, Welcome) {
        let mut stream = self.open(identity).await;
        stream.hello().await;
        let Some(Body::Welcome(welcome)) = stream.next().await else {
            panic!("no welcome")
        };
        (stream, welcome)
    }
}

#[derive(Debug)]
struct Still;

impl rustls::time_provider::TimeProvider for Still {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(
            Duration::from_millis(NOW.unsigned_abs()),
        ))
    }
}

struct AgentIdentity {
    server: ServerId,
    agent: AgentId,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

use muster_base::id::AgentId;

impl AgentIdentity {
    fn new(response: EnrollResponse, key: PrivateKeyDer<'static>) -> Self {
        Self {
            server: ServerId(response.server_id),
            agent: AgentId(uuid::Uuid::from_slice(&response.agent_id).unwrap()),
            chain: response
                .certificate_chain
                .into_iter()
                .map(CertificateDer::from)
                .collect(),
            key,
        }
    }
}

fn enrolment_request(token: String) -> (EnrollRequest, PrivateKeyDer<'static>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let wanted = EnrollRequest {
        token,
        certificate_request: request.der().to_vec(),
        hostname: "host-a".to_owned(),
        agent_version: "0.1.0".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
    };
    (wanted, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// An agent's end of a stream.
struct Stream {
    frame_tx: mpsc::Sender<AgentFrame>,
    inbound: Streaming<ControllerFrame>,
}

impl Stream {
    async fn open(channel: Channel) -> Result<Self, tonic::Status> {
        let (frame_tx, frames) = mpsc::channel(64);
        let inbound = AgentLinkClient::new(channel)
            .connect(ReceiverStream::new(frames))
            .await?
            .into_inner();
        Ok(Self { frame_tx, inbound })
    }

    /// Says Hello before there is a stream.
    async fn introducing(frame_tx: &mpsc::Sender<AgentFrame>) {
        let body = Some(agent_frame::Body::Hello(first_hello(first_clock())));
        frame_tx.send(AgentFrame { body }).await.unwrap();
    }

    async fn send(&self, body: agent_frame::Body) {
        // A stream that is being closed takes nothing, which is what some tests are about.
        let _ = self.frame_tx.send(AgentFrame { body: Some(body) }).await;
    }

    async fn hello(&self) {
        self.hello_at(first_clock()).await;
    }

    async fn hello_at(&self, clock: Clock) {
        self.send(agent_frame::Body::Hello(first_hello(clock))).await;
    }

    async fn message(&self, body: MessageBody, sequence: u64) {
        self.message_on(Lane::Live, body, sequence).await;
    }

    async fn message_on(&self, lane: Lane, body: MessageBody, sequence: u64) {
        let message = AgentMessage { body: Some(body) };
        for fragment in framing::cut(&message, lane, sequence).unwrap() {
            self.send(agent_frame::Body::Fragment(fragment)).await;
        }
    }

    /// Bytes as they are, as a whole message.
    async fn raw(&self, data: Vec<u8>, sequence: u64) {
        let fragment = Fragment {
            lane: Lane::Live.into(),
            data,
            last: true,
            compression: muster_proto::v1::Compression::None.into(),
            sequence,
        };
        self.send(agent_frame::Body::Fragment(fragment)).await;
    }

    async fn report(&self, report: Report) {
        let sequence = report.sequence;
        self.message(MessageBody::Report(report_to_wire(report)), sequence)
            .await;
    }

    async fn define(&self, first_id: u32, names: &[&str]) {
        let series = names.iter().map(|name| series(name)).collect();
        self.message(
            MessageBody::Definitions(definitions_to_wire(EPOCH, first_id, series)),
            0,
        )
        .await;
    }

    /// The next frame that is not a ping; `None` at the end.
    async fn next(&mut self) -> Option<Body> {
        loop {
            match self.inbound.message().await {
                Ok(Some(ControllerFrame {
                    body: Some(Body::Ping(ping)),
                })) => {
                    self.send(agent_frame::Body::Pong(Pong {
                        id: ping.id,
                        clock: None,
                    }))
                    .await;
                }
                Ok(Some(frame)) => return frame.body,
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Waits until these numbers are acknowledged.
    async fn acked(&mut self, wanted: &[u64]) {
        let mut left = wanted.to_vec();
        while !left.is_empty() {
            match self.next().await {
                Some(Body::Ack(ack)) => {
                    let stored = ranges_from_wire(&ack.stored).unwrap();
                    left.retain(|sequence| ack.epoch != EPOCH || !stored.contains(*sequence));
                }
                other => panic!("{left:?} not acknowledged, but {other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> Close {
        loop {
            match self.next().await {
                Some(Body::Close(close)) => return close,
                Some(_) => {}
                None => panic!("the stream ended without a Close"),
            }
        }
    }
}

fn first_clock() -> Clock {
    Clock {
        wall_ms: NOW,
        boottime_ms: 5_000,
        boot_id: "boot".to_owned(),
    }
}

fn first_hello(clock: Clock) -> Hello {
    Hello {
        protocol: 1,
        agent_version: "0.1.0".to_owned(),
        hostname: "host-a".to_owned(),
        clock: Some(clock.into()),
        epoch: EPOCH,
        epochs: vec![HeldEpoch {
            epoch: EPOCH,
            held: vec![],
            definitions: 0,
            last_clock: None,
        }],
        ..Hello::default()
    }
}

fn series(name: &str) -> SeriesDef {
    SeriesDef {
        name: name.to_owned(),
        labels: Labels::default(),
        metric_type: MetricType::Gauge,
        unit: String::new(),
        collector: "test".to_owned(),
        resource_key: ResourceKey::server(),
        interval_ms: 15_000,
    }
}

fn report(sequence: u64, series: Vec<u32>) -> Report {
    let clock = Clock {
        wall_ms: NOW,
        boottime_ms: 5_000,
        boot_id: "boot".to_owned(),
    };
    let mut report = Report::empty(EPOCH, sequence, clock);
    if !series.is_empty() {
        let values = vec![1.5; series.len()];
        report
            .blocks
            .push(SampleBlock::new(vec![NOW + sequence as i64], series, values).unwrap());
    }
    report
}

/// How long something may take that is promised within so many seconds: five times as long in the ordinary run, which
/// shares its machine with other tests; the long form holds it to the letter.
fn allowed(promised_s: u64) -> Duration {
    let is_full = std::env::var_os("MUSTER_TEST_FULL").is_some();
    Duration::from_secs(promised_s) * if is_full { 1 } else { 5 }
}

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    (folder, dir)
}

async fn world() -> (tempfile::TempDir, World) {
    let (folder, dir) = folder();
    let world = World::start(&dir).await;
    (folder, world)
}

#[tokio::test]
async fn an_enrolled_agent_delivers_and_is_acknowledged_once_it_is_stored() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, welcome) = world.greet(&identity).await;
    let installation = *world.app.identity().installation();
    assert_eq!(welcome.store_id, installation.store_id.as_bytes());
    assert_eq!(
        (welcome.store_epoch, welcome.credit_bytes),
        (installation.store_epoch, 1024 * 1024)
    );
    assert_eq!(
        (welcome.epochs[0].epoch, welcome.epochs[0].definitions),
        (EPOCH, 0)
    );
    stream.define(1, &["test_a", "test_b"]).await;
    for sequence in 1..=20 {
        stream.report(report(sequence, vec![1, 2])).await;
    }
    stream.acked(&(1..=20).collect::<Vec<_>>()).await;
    assert_eq!(*world.intake.committed().borrow(), 20);
    assert!(world.app.presence().of(identity.server).unwrap().connected);
    assert_eq!(world.agents.connected(), [(identity.server, identity.agent)]);
    world.end().await;
}

#[tokio::test]
async fn without_a_certificate_only_enrolment_answers() {
    let (_folder, world) = world().await;
    let refused = Stream::open(world.channel(None).await.unwrap())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(
        refused.metadata().get("muster-code").unwrap(),
        "certificate_required"
    );
    world.enrol().await;
    world.end().await;
}

#[tokio::test]
async fn a_token_is_refused_with_a_stable_code_when_it_is_used_up() {
    let (_folder, world) = world().await;
    let token = world.token().await;
    let mut client = EnrollmentClient::new(world.channel(None).await.unwrap());
    client.enroll(enrolment_request(token.clone()).0).await.unwrap();
    let refused = client.enroll(enrolment_request(token).0).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.metadata().get("muster-code").unwrap(), "key_mismatch");
    let unknown = client
        .enroll(enrolment_request("not a token".to_owned()).0)
        .await
        .unwrap_err();
    assert!(unknown.metadata().contains_key("muster-code"), "{unknown:?}");
    world.end().await;
}

#[tokio::test]
async fn an_enrolment_request_that_is_too_long_is_refused() {
    let (_folder, world) = world().await;
    let mut client = EnrollmentClient::new(world.channel(None).await.unwrap());
    let refused = client
        .enroll(enrolment_request("x".repeat(ENROLMENT_BYTES_MAX)).0)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    world.end().await;
}

/// The S3 cases that a handshake has to refuse: none of these may get as far as a status of ours.
#[tokio::test]
async fn a_certificate_that_is_not_an_agents_does_not_pass_the_handshake() {
    let (_folder, world) = world().await;
    let (_other_folder, other) = self::world().await;
    let foreign = other.enrol().await;
    let own = world.enrol().await;
    let self_signed = {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![CONTROLLER_NAME.to_owned()])
            .unwrap()
            .self_signed(&key);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        AgentIdentity {
            chain: vec![certificate.unwrap().der().clone()],
            key,
            ..own
        }
    };
    for identity in [&foreign, &self_signed] {
        // With TLS 1.3 the client learns of the refusal only when it reads.
        let refused = match world.channel(Some(identity)).await {
            Err(_) => true,
            Ok(channel) => match Stream::open(channel).await {
                Err(status) => !status.metadata().contains_key("muster-code"),
                Ok(mut stream) => stream.next().await.is_none(),
            },
        };
        assert!(refused);
    }
    assert_eq!(
        world
            .metrics
            .session
            .opened
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    assert!(world.agents.connected().is_empty());
    world.end().await;
    other.end().await;
}

#[tokio::test]
async fn an_identity_that_is_deleted_is_closed_and_not_admitted_again() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    world.app.delete_server(identity.server, "a test").await.unwrap();
    assert_eq!(stream.closed().await.reason(), CloseReason::Revoked);
    let channel = world.channel(Some(&identity)).await.unwrap();
    let refused = Stream::open(channel).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.end().await;
}

#[tokio::test]
async fn an_identity_of_a_database_that_was_lost_is_held_until_somebody_decides() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let database = rusqlite::Connection::open(world.dir.join("state.db")).unwrap();
    database
        .execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM agent_identity")
        .unwrap();
    let channel = world.channel(Some(&identity)).await.unwrap();
    let (frame_tx, frames) = mpsc::channel(4);
    Stream::introducing(&frame_tx).await;
    let refused = AgentLinkClient::new(channel)
        .connect(ReceiverStream::new(frames))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.metadata().get("muster-code").unwrap(), "identity_held");
    let held = world.app.agents(None, app::PageRequest::default()).await.unwrap();
    assert_eq!(held.total, 1);
    assert_eq!(held.items[0].agent, identity.agent);
    assert_eq!(held.items[0].status, app::enrolment::AgentStatus::Held);
    assert_eq!(held.items[0].hostname.as_deref(), Some("host-a"));
    let adopted = world
        .app
        .adopt_agent(identity.agent, Some(identity.server), None, ADMIN)
        .await
        .unwrap();
    assert_eq!(adopted, identity.server);
    let (stream, _) = world.greet(&identity).await;
    drop(stream);
    world.end().await;
}

#[tokio::test]
async fn a_newer_stream_closes_an_older_one_on_which_nobody_answers() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut old, _) = world.greet(&identity).await;
    let (mut new, _) = world.greet(&identity).await;
    assert_eq!(old.closed().await.reason(), CloseReason::Replaced);
    new.report(report(1, vec![])).await;
    new.acked(&[1]).await;
    assert!(world.app.presence().of(identity.server).unwrap().connected);
    world.end().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_closes_the_stream_and_names_its_number() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(1, vec![])).await;
    let garbage = Fragment {
        lane: Lane::Live.into(),
        data: vec![0xff; 100],
        last: true,
        compression: muster_proto::v1::Compression::None.into(),
        sequence: 44,
    };
    stream.send(agent_frame::Body::Fragment(garbage)).await;
    // What came before the breach stays valid.
    stream.acked(&[1]).await;
    let close = stream.closed().await;
    assert_eq!((close.reason(), close.sequence), (CloseReason::BadFrame, 44));
    world.end().await;
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_the_stream_and_others_go_on() {
    let (_folder, world) = world().await;
    let (one, two) = (world.enrol().await, world.enrol().await);
    let (mut bad, _) = world.greet(&one).await;
    let (mut good, _) = world.greet(&two).await;
    let fragment = |bytes| Fragment {
        lane: Lane::Live.into(),
        data: vec![0; bytes],
        last: true,
        compression: muster_proto::v1::Compression::None.into(),
        sequence: 9,
    };
    bad.send(agent_frame::Body::Fragment(fragment(FRAME_BYTES_MAX)))
        .await;
    assert_eq!(bad.closed().await.reason(), CloseReason::BadFrame);
    let (mut again, _) = world.greet(&one).await;
    again
        .send(agent_frame::Body::Fragment(fragment(
            muster_model::limits::FRAME_BYTES_MAX + 1,
        )))
        .await;
    let close = again.closed().await;
    assert_eq!((close.reason(), close.sequence), (CloseReason::BadFrame, 9));
    good.report(report(1, vec![])).await;
    good.acked(&[1]).await;
    world.end().await;
}

#[tokio::test]
async fn the_first_frame_must_be_hello() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let mut stream = world.open(&identity).await;
    stream.report(report(1, vec![])).await;
    assert_eq!(stream.closed().await.reason(), CloseReason::BadFrame);
    world.end().await;
}

#[tokio::test]
async fn definitions_that_are_missing_are_asked_for_and_then_the_report_is_taken() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(1, vec![1, 2])).await;
    let Some(Body::NeedDefinitions(need)) = stream.next().await else {
        panic!("not asked")
    };
    assert_eq!((need.epoch, need.from_id), (EPOCH, 1));
    stream.define(1, &["test_a", "test_b"]).await;
    stream.report(report(1, vec![1, 2])).await;
    stream.acked(&[1]).await;
    world.end().await;
}

#[tokio::test]
async fn a_report_beyond_the_limits_is_acknowledged_and_its_refusal_kept() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    // Five series are allowed here.
    stream.define(1, &["a", "b", "c", "d", "e", "f"]).await;
    stream.report(report(1, vec![1, 6])).await;
    stream.acked(&[1]).await;
    // It can be decoded, but no report may say this.
    let mut broken = report_to_wire(report(2, vec![1]));
    broken.blocks[0].values.push(1.0);
    stream.message(MessageBody::Report(broken), 2).await;
    stream.acked(&[2]).await;
    let mut applied = world.consumers.applied.clone();
    applied.wait_for(|position| 2 <= *position).await.unwrap();
    let gaps = world.app.gaps(identity.server).await.unwrap();
    assert_eq!(gaps.len(), 2);
    let metrics = world.intake.metrics();
    assert_eq!(intake::IntakeMetrics::get(&metrics.samples_refused_series), 1);
    assert_eq!(intake::IntakeMetrics::get(&metrics.reports_refused), 2);
    world.end().await;
}

#[tokio::test]
async fn after_a_restart_the_welcome_lists_what_was_acknowledged_and_nothing_is_asked_twice() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.define(1, &["test_a", "test_b"]).await;
    stream.report(report(1, vec![1, 2])).await;
    stream.report(report(3, vec![1, 2])).await;
    stream.acked(&[1, 3]).await;
    let dir = world.end().await;
    let close = stream.closed().await;
    assert_eq!(close.reason(), CloseReason::Shutdown);
    let world = World::start(&dir).await;
    let (mut stream, welcome) = world.greet(&identity).await;
    let stored = ranges_from_wire(&welcome.epochs[0].stored).unwrap();
    assert!(stored.contains(1) && !stored.contains(2) && stored.contains(3));
    assert_eq!(welcome.epochs[0].definitions, 2);
    stream.report(report(2, vec![2])).await;
    stream.acked(&[2]).await;
    world.end().await;
}

#[tokio::test]
async fn a_collection_is_done_when_its_reports_can_be_asked_for() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let collecting = Collecting::new(
        world.agents.clone(),
        world.intake.clone(),
        world.consumers.applied.clone(),
    );
    assert_eq!(
        collecting.collect_now(identity.server).await,
        CollectOutcome::NotConnected
    );
    let (mut stream, _) = world.greet(&identity).await;
    let asking = tokio::spawn({
        let collecting = collecting.clone();
        async move { collecting.collect_now(identity.server).await }
    });
    let Some(Body::CollectNow(request)) = stream.next().await else {
        panic!("not asked")
    };
    let done = CollectDone {
        request_id: request.request_id,
        success: false,
        message: "smart: failed".to_owned(),
        epoch: EPOCH,
        last_sequence: 2,
    };
    // The word that it is over overtakes the reports.
    stream.message(MessageBody::CollectDone(done), 0).await;
    stream.report(report(1, vec![])).await;
    stream.report(report(2, vec![])).await;
    stream.acked(&[1, 2]).await;
    let outcome = asking.await.unwrap();
    assert_eq!(
        outcome,
        CollectOutcome::Done {
            success: false,
            message: "smart: failed".to_owned()
        }
    );
    assert!(2 <= *world.consumers.applied.borrow());
    world.end().await;
}

#[tokio::test]
async fn a_collection_whose_stream_ends_is_not_waited_for() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let collecting = Collecting::new(
        world.agents.clone(),
        world.intake.clone(),
        world.consumers.applied.clone(),
    );
    let (mut stream, _) = world.greet(&identity).await;
    let asking = tokio::spawn(async move { collecting.collect_all().await });
    let Some(Body::CollectNow(_)) = stream.next().await else {
        panic!("not asked")
    };
    drop(stream);
    assert_eq!(
        asking.await.unwrap(),
        [(identity.server, CollectOutcome::NotConnected)]
    );
    world.end().await;
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

/// Memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
