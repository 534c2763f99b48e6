//! A controller that does what a test tells it.
//!
//! Every connection runs through a pipe of our own, so that it can be cut, and everything that a client says after
//! the handshake is counted, so that "it said nothing" can be asserted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use muster_proto::framing::Joiner;
use muster_proto::v1::agent_frame::Body as AgentBody;
use muster_proto::v1::agent_link_server::{AgentLink, AgentLinkServer};
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::enrollment_server::{Enrollment, EnrollmentServer};
use muster_proto::v1::{
    Ack, AgentFrame, ControllerFrame, Definitions, EnrollRequest, EnrollResponse, EpochState, Hello, Lane,
    Pong, RenewRequest, RenewResponse, Report, SequenceRange, Welcome,
};
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::pki::{Chain, Pki};

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers an enrolment.
pub(crate) type Enrol = Box<dyn FnMut(EnrollRequest) -> Result<EnrollResponse, Status> + Send>;

/// Answers a renewal.
pub(crate) type Renew = Box<dyn FnMut(RenewRequest) -> Result<RenewResponse, Status> + Send>;

/// A listening controller.
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    links_rx: mpsc::UnboundedReceiver<Link>,
    renew: Arc<Mutex<Renew>>,
    counters: Arc<Counters>,
    pipes: Arc<Mutex<JoinSet<()>>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counters {
    handshakes_refused: AtomicUsize,
    plain_bytes: AtomicUsize,
}

impl Controller {
    /// A controller of `pki` that knows no tokens.
    pub(crate) async fn start(pki: &Pki) -> Self {
        Self::start_with(
            &pki.server(),
            pki,
            Box::new(|_| Err(Status::unauthenticated("no"))),
        )
        .await
    }

    /// One whose clock stands still in the year 2001, so that certificates of then have not expired for it.
    pub(crate) async fn start_in_2001(pki: &Pki) -> Self {
        let mut tls = tls(&pki.server(), pki);
        tls.time_provider = Arc::new(In2001);
        Self::serve(tls, Box::new(|_| Err(Status::unauthenticated("no")))).await
    }

    /// One that presents `chain`, asks for client certificates of `clients`, and enrols with `enrol`.
    pub(crate) async fn start_with(chain: &Chain, clients: &Pki, enrol: Enrol) -> Self {
        Self::serve(tls(chain, clients), enrol).await
    }

    async fn serve(tls: ServerConfig, enrol: Enrol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (links_tx, links_rx) = mpsc::unbounded_channel();
        let (accepted_tx, accepted_rx) = mpsc::unbounded_channel::<io::Result<Plain>>();
        let service = Service {
            links_tx,
            enrol: Arc::new(Mutex::new(enrol)),
            renew: Arc::new(Mutex::new(Box::new(|_| Err(Status::unavailable("no"))))),
        };
        let renew = Arc::clone(&service.renew);
        let counters = Arc::new(Counters::default());
        let pipes = Arc::new(Mutex::new(JoinSet::new()));
        let mut tasks = JoinSet::new();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tasks.spawn(accept(
            listener,
            acceptor,
            accepted_tx,
            Arc::clone(&counters),
            Arc::clone(&pipes),
        ));
        tasks.spawn(async move {
            tonic::transport::Server::builder()
                .add_service(AgentLinkServer::new(service.clone()))
                .add_service(EnrollmentServer::new(service))
                .serve_with_incoming(UnboundedReceiverStream::new(accepted_rx))
                .await
                .unwrap();
        });
        Self {
            address,
            links_rx,
            renew,
            counters,
            pipes,
            _tasks: tasks,
        }
    }

    /// From now on renewals are answered like this.
    pub(crate) fn renew_with(&self, renew: Renew) {
        *self.renew.lock().unwrap() = renew;
    }

    /// The next stream, and what it said in its `Hello`.
    pub(crate) async fn accept(&mut self) -> (Link, Hello) {
        let accepted = tokio::time::timeout(PATIENCE, self.links_rx.recv()).await;
        let mut link = accepted.expect("an agent connects in time").unwrap();
        match link.frame().await {
            Some(AgentBody::Hello(hello)) => (link, hello),
            other => panic!("the first frame is no hello: {other:?}"),
        }
    }

    /// Cuts every connection without a word.
    pub(crate) fn cut(&self) {
        self.pipes.lock().unwrap().abort_all();
    }

    /// How many bytes were received after a handshake.
    pub(crate) fn plain_bytes(&self) -> usize {
        self.counters.plain_bytes.load(Ordering::SeqCst)
    }

    /// Waits until `count` handshakes have failed.
    pub(crate) async fn refused_handshakes(&self, count: usize) {
        let enough = async {
            while self.counters.handshakes_refused.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough)
            .await
            .expect("handshakes fail in time");
    }
}

#[derive(Debug)]
struct In2001;

impl TimeProvider for In2001 {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(990_000_000)))
    }
}

fn tls(chain: &Chain, clients: &Pki) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.root.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.certificates.clone(), chain.private_key())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    accepted_tx: mpsc::UnboundedSender<io::Result<Plain>>,
    counters: Arc<Counters>,
    pipes: Arc<Mutex<JoinSet<()>>>,
) {
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        pipes.lock().unwrap().spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut tcp, &mut far).await;
        });
        let (acceptor, accepted_tx, counters) =
            (acceptor.clone(), accepted_tx.clone(), Arc::clone(&counters));
        tokio::spawn(async move {
            match acceptor.accept(near).await {
                Ok(stream) => drop(accepted_tx.send(Ok(Plain { stream, counters }))),
                Err(_) => drop(counters.handshakes_refused.fetch_add(1, Ordering::SeqCst)),
            }
        });
    }
}

/// The client certificate that a connection has shown, DER; empty if none.
pub(crate) type Shown = Vec<u8>;

/// A TLS stream that counts what it reads.
struct Plain {
    stream: TlsStream<DuplexStream>,
    counters: Arc<Counters>,
}

impl Connected for Plain {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        let certificates = self.stream.get_ref().1.peer_certificates();
        certificates
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.to_vec())
            .unwrap_or_default()
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.counters
            .plain_bytes
            .fetch_add(buffer.filled().len() - before, Ordering::SeqCst);
        result
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[derive(Clone)]
struct Service {
    links_tx: mpsc::UnboundedSender<Link>,
    enrol: Arc<Mutex<Enrol>>,
    renew: Arc<Mutex<Renew>>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = ReceiverStream<Result<ControllerFrame, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (frames_tx, frames_rx) = mpsc::channel(64);
        let link = Link {
            certificate: request.extensions().get::<Shown>().cloned().unwrap_or_default(),
            inbound: request.into_inner(),
            frames_tx,
            joiner: Joiner::default(),
            pongs: Vec::new(),
            fragments: Vec::new(),
        };
        self.links_tx
            .send(link)
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(frames_rx)))
    }
}

#[tonic::async_trait]
impl Enrollment for Service {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let answer = (self.enrol.lock().unwrap())(request.into_inner());
        answer.map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let answer = (self.renew.lock().unwrap())(request.into_inner());
        answer.map(Response::new)
    }
}

/// The controller's end of a stream.
pub(crate) struct Link {
    /// The client certificate of the connection, DER.
    pub(crate) certificate: Shown,
    inbound: Streaming<AgentFrame>,
    frames_tx: mpsc::Sender<Result<ControllerFrame, Status>>,
    joiner: Joiner,
    pub(crate) pongs: Vec<Pong>,
    /// Of each fragment that came: its lane and its report's number, 0 if it has none.
    pub(crate) fragments: Vec<(Lane, u64)>,
}

impl Link {
    /// The next frame; `None` when the agent has ended the stream or it broke.
    pub(crate) async fn frame(&mut self) -> Option<AgentBody> {
        let frame = tokio::time::timeout(PATIENCE, self.inbound.message()).await;
        let frame = frame.expect("a frame comes in time").ok()??;
        Some(frame.body.expect("a frame has a body"))
    }

    /// The next message. Pongs on the way are kept.
    pub(crate) async fn message(&mut self) -> MessageBody {
        loop {
            match self.frame().await.expect("the stream goes on") {
                AgentBody::Fragment(fragment) => {
                    self.fragments.push((fragment.lane(), fragment.sequence));
                    if let Some(joined) = self.joiner.push(fragment).unwrap() {
                        return joined.message.body.unwrap();
                    }
                }
                AgentBody::Pong(pong) => self.pongs.push(pong),
                AgentBody::Hello(_) => panic!("a second hello"),
            }
        }
    }

    pub(crate) async fn report(&mut self) -> Report {
        match self.message().await {
            MessageBody::Report(report) => report,
            other => panic!("no report: {other:?}"),
        }
    }

    pub(crate) async fn definitions(&mut self) -> Definitions {
        match self.message().await {
            MessageBody::Definitions(definitions) => definitions,
            other => panic!("no definitions: {other:?}"),
        }
    }

    pub(crate) async fn send(&self, body: ControllerBody) {
        self.frames_tx
            .send(Ok(ControllerFrame { body: Some(body) }))
            .await
            .unwrap();
    }

    /// Welcomes an agent whose reports `stored` and definitions `1..=definitions` are here.
    pub(crate) async fn welcome(&self, epoch: u64, stored: &[(u64, u64)], definitions: u32) {
        self.send(ControllerBody::Welcome(welcome(epoch, stored, definitions)))
            .await;
    }

    pub(crate) async fn ack(&self, epoch: u64, stored: &[(u64, u64)]) {
        self.send(ControllerBody::Ack(Ack {
            epoch,
            stored: ranges(stored),
            definitions: 0,
        }))
        .await;
    }
}

pub(crate) fn welcome(epoch: u64, stored: &[(u64, u64)], definitions: u32) -> Welcome {
    Welcome {
        protocol: muster_proto::PROTOCOL_VERSION,
        store_id: vec![1; 16],
        store_epoch: 1,
        epochs: vec![EpochState {
            epoch,
            stored: ranges(stored),
            definitions,
        }],
        credit_bytes: 1024 * 1024,
        alert_bytes: None,
        ..Welcome::default()
    }
}

fn ranges(ranges: &[(u64, u64)]) -> Vec<SequenceRange> {
    ranges
        .iter()
        .map(|&(first, last)| SequenceRange { first, last })
        .collect()
}
