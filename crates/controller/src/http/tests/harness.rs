//! A router over a real app: its own folder, its own database, a clock that stands still.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use camino::Utf8PathBuf;
use muster_base::clock::WallClock;
use muster_base::id::{ResourceId, ServerId};
use muster_base::shutdown::CancellationToken;
use muster_model::{
    Attribute, Clock, CollectorRun, Health, Inventory, Labels, MetricType, Problem, Report, Resource,
    ResourceKey, ResourceKind, RunOutcome,
};
use muster_samples::{Batch, SeriesSpec};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::fakes::Fakes;
use crate::alert::Alerts;
use crate::app::auth::Role;
use crate::app::collect::Collecting;
use crate::app::live::Agents;
use crate::app::series::Series;
use crate::app::{self, App};
use crate::http::access::Declared;
use crate::http::metrics::Metrics;
use crate::http::{HttpState, Parts, Peer, Readiness, build, readiness};
use crate::store::NewSession;
use crate::store::apply::AppliedReport;
use crate::task::TaskStatuses;
use crate::update::Updates;

/// The time on the clock: 2026-01-02T03:04:05Z.
pub(super) const NOW: i64 = 1_767_323_045_000;

/// The HTTP side over an app in a temporary folder, with the admin logged in.
pub(super) struct TestApp {
    /// Who may call what.
    pub(super) table: Vec<Declared>,
    /// The admin's password.
    pub(super) password: String,
    /// Says whether the controller is ready.
    pub(super) ready: watch::Sender<Readiness>,
    /// The sample store.
    pub(super) samples: Arc<muster_samples::Store>,
    /// What handlers share.
    pub(super) state: HttpState,
    /// The log of reports.
    pub(super) intake: crate::intake::Intake,
    /// What registries say, and what agents were told.
    pub(super) fakes: Fakes,
    router: axum::Router,
    app: Arc<App>,
    token: String,
    _folder: tempfile::TempDir,
}

/// What came back.
pub(super) struct Answer {
    /// The status.
    pub(super) status: StatusCode,
    /// The headers.
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// A header, empty if absent.
    pub(super) fn header(&self, name: &str) -> String {
        let value = self
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    }

    /// The body as text.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The problem's code, empty if this is none.
    pub(super) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body without what differs from request to request.
    pub(super) fn without_request_id(&self) -> Value {
        let mut body = self.json();
        if let Some(object) = body.as_object_mut() {
            object.remove("request_id");
        }
        body
    }

    /// Status and body for a snapshot.
    pub(super) fn shown(&self) -> Value {
        let body = if self.body.is_empty() {
            Value::Null
        } else {
            self.without_request_id()
        };
        json!({"status": self.status.as_u16(), "body": body})
    }
}

/// A request without credentials, from the machine itself.
pub(super) fn request(method: &str, uri: &str, content_type: &str, body: String) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body))
        .unwrap()
}

impl TestApp {
    /// Starts with an empty database.
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let clock = WallClock::fixed(NOW);
        let database = dir.join("state.db");
        let key_file = dir.join("secret.key");
        let app = app::open(&database, &key_file, clock.clone(), app::tests::quick());
        let app = Arc::new(app.await.unwrap());
        let mut password = String::new();
        let keep = |made: &str| {
            made.clone_into(&mut password);
            Ok(())
        };
        app.ensure_first_admin(keep).await.unwrap();
        let samples = muster_samples::Store::open(&dir.join("samples"), muster_samples::Options::default());
        let samples = Arc::new(samples.unwrap());
        let intake = crate::intake::Intake::open(&dir, crate::intake::Options::default(), clock).unwrap();
        let stop = CancellationToken::new();
        let (alerts, _judging) = Alerts::start(Arc::clone(&app), intake.clone(), stop)
            .await
            .unwrap();
        let (_applied_tx, applied) = watch::channel(0);
        let (ready, ready_rx) = readiness();
        let fakes = Fakes::default();
        let parts = Parts {
            app: Arc::clone(&app),
            series: Series::new(Arc::clone(&samples)),
            collect: Collecting::new(Agents::default(), intake.clone(), applied),
            alerts,
            registries: crate::registry::tests::unreachable(&app),
            updates: Updates::new(
                Arc::clone(&app),
                Arc::<super::fakes::FakeRegistry>::clone(&fakes.registry),
                Arc::<super::fakes::FakeAgents>::clone(&fakes.agents),
            ),
            tasks: TaskStatuses::default(),
            metrics: Metrics::new(Vec::new()),
            ready: ready_rx,
            trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        };
        let state = HttpState::new(parts);
        let (router, table) = build(state.clone());
        let mut test = Self {
            table,
            password,
            ready,
            samples,
            state,
            intake,
            fakes,
            router,
            app,
            token: String::new(),
            _folder: folder,
        };
        test.token = test.login().await;
        test
    }

    /// A fresh token of the admin.
    pub(super) async fn login(&self) -> String {
        let body = json!({"username": "admin", "password": self.password}).to_string();
        let answer = self
            .send(request("POST", "/api/auth/token", "application/json", body))
            .await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// A token of a fresh account with this role.
    pub(super) async fn token_of(&self, role: Role) -> String {
        let store = self.app.store();
        let name = role.as_str();
        store
            .add_account(name, "no password fits", name, NOW)
            .await
            .unwrap();
        let user_id = store.account(name).await.unwrap().unwrap().id;
        let token = format!("token-of-{name}");
        let token_sha256 = Sha256::digest(&token)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let session = NewSession {
            token_sha256,
            user_id,
            now_ms: NOW,
            expires_ms: NOW + 1_000,
        };
        store.add_session(session).await.unwrap();
        token
    }

    /// Sends a request as it is, from the machine itself.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        self.send_from(IpAddr::V4(Ipv4Addr::LOCALHOST), request).await
    }

    /// Sends a request as it is, over a connection from this address.
    pub(super) async fn send_from(&self, peer: IpAddr, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(Peer {
            address: SocketAddr::new(peer, 40_000),
            is_tls: false,
        });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, mut body) = response.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind == "text/event-stream") {
            // Goes on for as long as somebody listens.
            body = Body::empty();
        }
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }

    /// A request without body and credentials.
    pub(super) fn bare(&self, method: &str, uri: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::empty())
            .unwrap()
    }

    /// A request with a bearer token.
    pub(super) fn as_bearer(&self, method: &str, uri: &str, token: &str) -> Request<Body> {
        let mut request = self.bare(method, uri);
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
        request
    }

    /// Asks as the admin.
    pub(super) async fn get(&self, uri: &str) -> Answer {
        self.send(self.as_bearer("GET", uri, &self.token)).await
    }

    /// Sends JSON as the admin.
    pub(super) async fn with_json(&self, method: &str, uri: &str, body: &Value) -> Answer {
        let mut request = self.as_bearer(method, uri, &self.token);
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        *request.body_mut() = Body::from(body.to_string());
        self.send(request).await
    }

    /// Sends a request without a body as the admin.
    pub(super) async fn call(&self, method: &str, uri: &str) -> Answer {
        self.send(self.as_bearer(method, uri, &self.token)).await
    }

    /// Asks for a page as the admin, as a browser does.
    pub(super) async fn browse(&self, uri: &str) -> Answer {
        let mut request = self.bare("GET", uri);
        let cookie = format!("muster_session={}", self.token).parse().unwrap();
        request.headers_mut().insert(header::COOKIE, cookie);
        request
            .headers_mut()
            .insert(header::ACCEPT, "text/html,application/xhtml+xml".parse().unwrap());
        self.send(request).await
    }

    /// Creates a server.
    pub(super) async fn server(&self, hostname: &str) -> ServerId {
        let created = self
            .with_json(
                "POST",
                "/api/infrastructure/servers",
                &json!({"hostname": hostname}),
            )
            .await;
        ServerId(created.json()["id"].as_i64().unwrap())
    }

    /// Has a server report.
    pub(super) async fn report(&self, server: ServerId, position: i64, fill: impl FnOnce(&mut Report)) {
        let clock = Clock {
            wall_ms: NOW - 1_000,
            boottime_ms: 1,
            boot_id: "boot".to_owned(),
        };
        let mut report = Report::empty(1, u64::try_from(position).unwrap(), clock);
        fill(&mut report);
        let applied = AppliedReport {
            position,
            server,
            report: Arc::new(report),
            received_ms: NOW - 1_000,
        };
        self.app.store().apply_reports(&[applied]).await.unwrap();
    }

    /// A server with a failing disk, a filesystem, two collectors and a problem, all called `name` in some way.
    pub(super) async fn furnished(&self, name: &str) -> (ServerId, ResourceId) {
        let server = self.server(name).await;
        self.report(server, 1, |report| {
            report.resources = vec![computer(name), disk(name), filesystem(name)];
            report.inventories = vec![Inventory {
                collector: "block".to_owned(),
                observed_ms: NOW - 1_000,
                keys: report
                    .resources
                    .iter()
                    .map(|resource| resource.key.clone())
                    .collect(),
                links: Vec::new(),
            }];
            report.runs = vec![
                run("block", RunOutcome::Facts, ""),
                run("smart", RunOutcome::Failed, name),
            ];
            report.problems = vec![Problem {
                collector: "smart".to_owned(),
                message: format!("read {name}"),
                line: None,
            }];
        })
        .await;
        let ids = self.app.store().resource_ids(server).await.unwrap();
        (server, ids[&ResourceKey::new("device:wwn:1")])
    }

    /// Stores samples of one series.
    pub(super) fn put(
        &self,
        server: ServerId,
        resource: ResourceId,
        name: &str,
        labels: &Labels,
        rows: &[(i64, f64)],
    ) {
        let series = self
            .samples
            .series(&SeriesSpec {
                server,
                resource,
                name: name.to_owned(),
                labels: labels.clone(),
                metric_type: MetricType::Gauge,
                unit: String::new(),
                collector: "test".to_owned(),
                interval_ms: 15_000,
            })
            .unwrap();
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

fn run(collector: &str, outcome: RunOutcome, message: &str) -> CollectorRun {
    CollectorRun {
        collector: collector.to_owned(),
        started_ms: NOW - 2_000,
        duration_ms: 12,
        outcome,
        message: message.to_owned(),
    }
}

fn computer(name: &str) -> Resource {
    let mut computer = Resource::new(ResourceKind::Server, ResourceKey::server(), name);
    computer
        .set("os", Some("Debian GNU/Linux 12 (bookworm)"))
        .set("kernel", Some(name))
        .set("boot_time", Some("2026-01-01T00:00:00Z"));
    computer
}

fn disk(name: &str) -> Resource {
    let mut disk = Resource::new(ResourceKind::Device, ResourceKey::new("device:wwn:1"), name);
    disk.health = Some(Health::Warning);
    disk.health_reasons = vec![format!("3 pending sectors on {name}")];
    let raw = json!({"ata_smart_attributes": {"table": [{"id": 197, "name": name, "raw": {"string": "3"}}]}});
    disk.set("device_path", Some("/dev/sda"))
        .set("device_type", Some("hdd"))
        .set("model", Some(name))
        .set("serial_number", Some("WX1"))
        .set("size_bytes", Some(4_000_787_030_016_i64))
        .set("temperature_celsius", Some(31_i64))
        .set("power_on_hours", Some(12_345_i64))
        .set("pending_sectors", Some(3_i64))
        .set("smart_passed", Some(true))
        .set("rotation_rate_rpm", Some(5_400_i64))
        .set("last_checked", Some("2026-01-02T03:00:00Z"))
        .set("smart_data_raw", Some(raw.to_string()));
    disk
}

fn filesystem(name: &str) -> Resource {
    let mut filesystem = Resource::new(ResourceKind::Filesystem, ResourceKey::new("filesystem:/"), "/");
    filesystem
        .set("mountpoint", Some(name))
        .set("fs_type", Some("ext4"))
        .set("size_bytes", Some(1_000_000_i64))
        .set("used_bytes", Some(850_000_i64))
        .set("free_bytes", Some(150_000_i64))
        .set("available_bytes", Some(100_000_i64))
        .set("options", Some(Attribute::List(vec!["rw".to_owned()])));
    filesystem
}
