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
mod command_key;
mod control;
mod exactly_once;
mod lanes;
mod matrix;
mod renewal;
mod session;
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
            alerts: None,
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
        send_message(&self.frame_tx, lane, body, sequence).await;
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

async fn send_message(frame_tx: &mpsc::Sender<AgentFrame>, lane: Lane, body: MessageBody, sequence: u64) {
    let message = AgentMessage { body: Some(body) };
    for fragment in framing::cut(&message, lane, sequence).unwrap() {
        let body = Some(agent_frame::Body::Fragment(fragment));
        // A stream that is being closed takes nothing, which is what some tests are about.
        let _ = frame_tx.send(AgentFrame { body }).await;
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
        name: name.to_owned().into(),
        labels: Labels::default(),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "test".into(),
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

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

/// Memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
