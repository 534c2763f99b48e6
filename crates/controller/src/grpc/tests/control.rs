//! The service for programs, over the HTTP port as it is served: tokens, streams, bounds.

mod storage;

use std::net::SocketAddr;

use async_trait::async_trait;
use muster_model::{CommandStatus, Labels};
use muster_proto::v1;
use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::watch_response::Event;
use muster_samples::{Batch, SeriesSpec};
use muster_update::Candidate;
use serde_json::json;
use tokio::sync::watch;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use uuid::Uuid;

use super::*;
use crate::alert::Alerts;
use crate::app::series::Series;
use crate::app::servers::{NewServer, ServerPatch};
use crate::app::tokens::{Scope, WantedToken};
use crate::http;
use crate::store::AlertWrite;
use crate::update::{Asked, Candidates, Issue, IssueError, Order, OrderReference};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller with its HTTP side alone.
struct Served {
    app: Arc<App>,
    samples: Arc<muster_samples::Store>,
    address: SocketAddr,
    stop: CancellationToken,
    token: String,
    _folder: tempfile::TempDir,
}

type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Registries that know nothing, and no way to agents.
struct Nobody;

#[async_trait]
impl Candidates for Nobody {
    async fn candidate(&self, _asked: &Asked) -> Candidate {
        Candidate::Unknown("nobody is asked".to_owned())
    }

    async fn check(&self, _asked: &[Asked], _progress: &crate::registry::Progress) -> Result<(), String> {
        Err("nobody is asked".to_owned())
    }
}

#[async_trait]
impl Issue for Nobody {
    async fn issue(&self, _order: Order) -> Result<Uuid, IssueError> {
        Err(IssueError::Unavailable("nobody is told".to_owned()))
    }

    async fn find(&self, _reference: &OrderReference) -> Result<Option<Uuid>, IssueError> {
        Ok(None)
    }

    async fn status(&self, _id: Uuid) -> Result<Option<CommandStatus>, IssueError> {
        Ok(None)
    }
}

/// Shows a token with each call.
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let clock = WallClock::fixed(NOW);
        let (database, secret_key) = (dir.join("state.db"), dir.join("secret.key"));
        let settings = app::tests::quick();
        let app = app::open(&database, &secret_key, clock.clone(), settings).await;
        let app = Arc::new(app.unwrap());
        app.ensure_first_admin(|_| Ok(())).await.unwrap();
        let token = app.local_session(0).await.unwrap().access_token;
        let samples = muster_samples::Store::open(&dir.join("samples"), muster_samples::Options::default());
        let samples = Arc::new(samples.unwrap());
        let intake = Intake::open(&dir, intake::Options::default(), clock).unwrap();
        let stopped = CancellationToken::new();
        let (alerts, _judging) = Alerts::start(Arc::clone(&app), intake.clone(), stopped)
            .await
            .unwrap();
        let updates = crate::update::Updates::new(Arc::clone(&app), Arc::new(Nobody), Arc::new(Nobody));
        let router = http::router(http::Parts {
            alerts,
            registries: crate::registry::tests::unreachable(&app),
            updates,
            app: Arc::clone(&app),
            series: Series::new(Arc::clone(&samples)),
            collect: Collecting::new(Agents::default(), intake, watch::channel(0).1),
            tasks: crate::task::TaskStatuses::default(),
            metrics: http::metrics::Metrics::new(Vec::new()),
            ready: http::readiness().1,
            trusted_proxies: Vec::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, None, router, stop.clone()));
        Self {
            app,
            samples,
            address,
            stop,
            token,
            _folder: folder,
        }
    }

    /// A client that shows this token.
    fn client(&self, token: &str) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
        ControlClient::with_interceptor(endpoint.connect_lazy(), bearer)
    }

    async fn server(&self, hostname: &str) -> ServerId {
        let new = NewServer {
            hostname: hostname.to_owned(),
            ..NewServer::default()
        };
        self.app.create_server(new, "a test").await.unwrap().server.id
    }

    fn put(&self, server: ServerId, name: &str, rows: &[(i64, f64)]) {
        let spec = SeriesSpec {
            server,
            resource: server.resource(),
            name: name.to_owned(),
            labels: Labels::default(),
            metric_type: MetricType::Gauge,
            unit: String::new(),
            collector: "test".to_owned(),
            interval_ms: 15_000,
        };
        let series = self.samples.series(&spec).unwrap();
        for (time_ms, value) in rows {
            let batch = Batch {
                position: 1,
                received_ms: NOW,
                times_ms: &[*time_ms],
                series: &[series],
                values: &[*value],
            };
            self.samples.append(&batch).unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> Option<Event> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await;
    message.expect("something within a minute").ok().flatten()?.event
}

#[tokio::test]
async fn a_program_reads_servers_and_samples_part_by_part() {
    let served = Served::start().await;
    let mut client = served.client(&served.token);
    let (web, db) = (served.server("web").await, served.server("db").await);
    let first = v1::ListServersRequest { after: 0, limit: 1 };
    let first = client.list_servers(first).await.unwrap().into_inner();
    assert_eq!(
        (first.servers[0].hostname.as_str(), first.next_after),
        ("web", web.0)
    );
    assert_eq!(first.servers[0].status(), v1::ServerStatus::NeverSeen);
    let rest = v1::ListServersRequest {
        after: first.next_after,
        limit: 0,
    };
    let rest = client.list_servers(rest).await.unwrap().into_inner();
    assert_eq!((rest.servers[0].id, rest.next_after), (db.0, 0));
    let missing = client
        .get_server(v1::GetServerRequest { id: 99 })
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let resources = client
        .list_resources(v1::ListResourcesRequest::default())
        .await
        .unwrap();
    assert_eq!(resources.into_inner().next_after, 0);
}

#[tokio::test]
async fn a_range_comes_in_messages_of_bounded_size_and_a_wrong_question_is_refused() {
    let served = Served::start().await;
    let mut client = served.client(&served.token);
    let web = served.server("web").await;
    let rows: Vec<(i64, f64)> = (0..5_000)
        .map(|n| (NOW - 6_000_000 + 1_000 * n, n as f64))
        .collect();
    served.put(web, "node_load1", &rows);
    let request = v1::QueryRangeRequest {
        selector: "node_load1{instance=\"web\"}".to_owned(),
        start_ms: NOW - 6_000_000,
        ..v1::QueryRangeRequest::default()
    };
    let mut stream = client.query_range(request.clone()).await.unwrap().into_inner();
    let (mut points, mut messages) = (Vec::new(), 0);
    while let Some(message) = stream.message().await.unwrap() {
        assert_eq!(message.series.is_some(), messages == 0, "a series is named once");
        messages += 1;
        points.extend(message.times_ms.into_iter().zip(message.values));
    }
    assert!(
        points == rows && messages == 2,
        "{} points in {messages} messages",
        points.len()
    );
    for wrong in [
        v1::QueryRangeRequest {
            selector: "rate(x[5m])".to_owned(),
            ..request.clone()
        },
        v1::QueryRangeRequest {
            end_ms: 1,
            ..request.clone()
        },
        v1::QueryRangeRequest {
            step_ms: -1,
            ..request.clone()
        },
        v1::QueryRangeRequest {
            step_ms: 1,
            ..request.clone()
        },
        v1::QueryRangeRequest {
            selector: "x".repeat(5_000),
            ..request
        },
    ] {
        assert_eq!(
            client.query_range(wrong).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}

#[tokio::test]
async fn nobody_calls_without_a_token_that_is_good_for_it() {
    let served = Served::start().await;
    let mut stranger = served.client("nonsense");
    let refused = stranger
        .list_servers(v1::ListServersRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_ne!(refused.message(), "");
    let watch = v1::WatchRequest {
        servers: true,
        ..v1::WatchRequest::default()
    };
    assert_eq!(
        stranger.watch(watch).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let principal = served.app.find_principal(&served.token).await.unwrap();
    let metrics_only = WantedToken {
        name: "prometheus".to_owned(),
        scopes: vec![Scope::Metrics],
        ttl: None,
    };
    let made = served
        .app
        .create_api_token(&principal, metrics_only)
        .await
        .unwrap();
    let mut metrics = served.client(&made.text);
    let refused = metrics
        .list_servers(v1::ListServersRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_watcher_is_told_what_there_is_and_what_changes_until_its_token_ends() {
    let served = Served::start().await;
    let web = served.server("web").await;
    served.put(web, "node_load1", &[(NOW - 30_000, 1.0)]);
    let mut client = served.client(&served.token);
    let nothing = v1::WatchRequest::default();
    assert_eq!(
        client.watch(nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let request = v1::WatchRequest {
        servers: true,
        selectors: vec!["node_load1".to_owned()],
        alerts: false,
    };
    let mut stream = client.watch(request).await.unwrap().into_inner();
    let Some(Event::Server(server)) = next(&mut stream).await else {
        panic!("what there is comes first");
    };
    assert_eq!((server.id, server.hostname.as_str()), (web.0, "web"));
    assert!(matches!(next(&mut stream).await, Some(Event::Sample(sample)) if sample.value == 1.0));
    served.put(web, "node_load1", &[(NOW - 15_000, 2.0)]);
    assert!(matches!(next(&mut stream).await, Some(Event::Sample(sample)) if sample.value == 2.0));
    let patch = ServerPatch {
        hostname: Some("www".to_owned()),
        ..ServerPatch::default()
    };
    served.app.patch_server(web, patch, "a test").await.unwrap();
    // Under its new name the series is told once more; in which order does not matter.
    let mut told = Vec::new();
    while !told.contains(&"www".to_owned()) {
        if let Some(Event::Server(server)) = next(&mut stream).await {
            told.push(server.hostname);
        }
    }
    served.app.delete_server(web, "a test").await.unwrap();
    loop {
        match next(&mut stream).await {
            Some(Event::DeletedServer(deleted)) => break assert_eq!(deleted.id, web.0),
            Some(_) => {}
            None => panic!("the stream ended early"),
        }
    }
    served.app.logout(&served.token).await.unwrap();
    assert_eq!(next(&mut stream).await, None, "the token has ended");
}

#[tokio::test]
async fn a_watch_tells_open_alerts_first() {
    let served = Served::start().await;
    let open = json!({"id": 7, "key": "k", "rule": 3, "rule_name": "Hot", "server": 1, "resource": 1, "kind": "server",
        "labels": {"sensor": "cpu"}, "metric": "node_load1", "state": "active", "severity": "critical", "value": 9.0,
        "threshold": 4.0, "started_ms": NOW, "active_ms": NOW, "ended_ms": null, "end": null, "acknowledgement": null,
        "resolved_by": null, "resolved_note": null, "snoozed_until_ms": null, "is_late": false, "inside": null,
        "told": null, "told_ms": null, "news": 0, "calm_since_ms": null});
    let open: muster_alert::Alert = serde_json::from_value(open).unwrap();
    let write = AlertWrite::Change(muster_alert::Change::Alert(Box::new(open)));
    served.app.store().write_alerts(&[write], NOW).await.unwrap();
    let mut client = served.client(&served.token);
    let request = v1::WatchRequest {
        alerts: true,
        ..v1::WatchRequest::default()
    };
    let mut stream = client.watch(request).await.unwrap().into_inner();
    let Some(Event::Alert(alert)) = next(&mut stream).await else {
        panic!("the open alert comes first");
    };
    assert_eq!(
        (alert.id, alert.state(), alert.severity()),
        (7, v1::AlertState::Active, v1::AlertSeverity::Critical)
    );
    assert_eq!((alert.value, alert.labels["sensor"].as_str()), (Some(9.0), "cpu"));
}

#[tokio::test]
async fn one_account_has_only_so_many_streams() {
    let served = Served::start().await;
    let mut client = served.client(&served.token);
    let request = v1::WatchRequest {
        servers: true,
        ..v1::WatchRequest::default()
    };
    let mut open = Vec::new();
    let refused = loop {
        match client.watch(request.clone()).await {
            Ok(stream) => open.push(stream),
            Err(refused) => break refused,
        }
        assert!(open.len() < 100);
    };
    assert_eq!((refused.code(), open.len()), (Code::ResourceExhausted, 8));
    drop(open);
    let again = async {
        while client.watch(request.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("places come back");
}

#[tokio::test]
async fn tools_can_ask_which_calls_there_are() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let served = Served::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    let mut client = ServerReflectionClient::new(endpoint.connect().await.unwrap());
    let ask = |token: &str| {
        let question = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut request = tonic::Request::new(tokio_stream::once(question));
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    };
    let refused = client.server_reflection_info(ask("nonsense")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut answers = client
        .server_reflection_info(ask(&served.token))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = services
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(names.contains(&"muster.v1.Control"), "{names:?}");
    assert!(
        !names.contains(&"muster.v1.AgentLink"),
        "agents have a port of their own"
    );
}
