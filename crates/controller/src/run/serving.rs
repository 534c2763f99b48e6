//! The parts that answer: the agent port, HTTP, the control socket, and the work that goes on by itself.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muster_base::shutdown::CancellationToken;
use muster_notify::{Courier, Guard, Heartbeat, Network, Roots, SystemResolver};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::data::Data;
use super::tls::Tls;
use super::{RunError, until_deadline};
use crate::app::collect::Collecting;
use crate::app::ingest::{Ingest, Limits};
use crate::app::live::Agents;
use crate::app::series::Series;
use crate::backup::DeletionHold;
use crate::config::Config;
use crate::control::server::{self, ControlSocket};
use crate::grpc::{self, GrpcMetrics};
use crate::http::metrics::{Metrics, Sources, of_the_controller};
use crate::http::{self, Readiness};
use crate::notify;
use crate::registry::Outbound;
use crate::task::{self, TaskStatuses, Tasks};

/// How long requests and streams may take to end at most: storing what is left needs its time too.
const STREAMS_MAX: Duration = Duration::from_secs(6);

/// The parts that answer.
pub(super) struct Serving {
    pub(super) http_address: SocketAddr,
    pub(super) tls: Option<Tls>,
    pub(super) agents_address: SocketAddr,
    readiness: watch::Sender<Readiness>,
    agents: JoinHandle<Result<(), grpc::ServeError>>,
    http: JoinHandle<()>,
    control: JoinHandle<()>,
    telling: Vec<JoinHandle<()>>,
    tasks: Tasks,
    statuses: TaskStatuses,
    stop: CancellationToken,
    stop_tasks: CancellationToken,
}

impl Serving {
    /// Starts answering on both ports and the control socket. Not ready yet.
    pub(super) fn start(
        config: &Config,
        data: &Data,
        http: TcpListener,
        agents: TcpListener,
    ) -> Result<Self, RunError> {
        let heartbeat = heartbeat(config)?;
        let http_address = http.local_addr().unwrap_or(config.http.address);
        let agents_address = agents.local_addr().unwrap_or(config.agents.address);
        let tls = config.http.tls.as_ref();
        let tls = tls.map(|wanted| Tls::start(wanted, data.app.identity(), http_address));
        let tls = tls.transpose()?;
        let http_tls = tls.as_ref().map(|tls| Arc::clone(&tls.config));
        let control = ControlSocket::bind(&config.data_dir)?;
        let stop_tasks = CancellationToken::new();
        let hold = DeletionHold::default();
        let tasks = task::spawn_all(task_parts(config, data, &hold), &stop_tasks);
        let live = Agents::default();
        let counts = GrpcMetrics::default();
        let metrics = Metrics::new(of_the_controller(sources(data, &counts, &tasks)));
        let (readiness, ready) = http::readiness();
        let router = http::router(http::Parts {
            app: Arc::clone(&data.app),
            series: Series::new(Arc::clone(&data.samples)),
            collect: Collecting::new(live.clone(), data.intake.clone(), data.consumers.applied.clone()),
            alerts: data.alerts.clone(),
            registries: data.registries.clone(),
            updates: data.updates.clone(),
            tasks: tasks.statuses(),
            metrics,
            ready,
            trusted_proxies: config.http.trusted_proxies.clone(),
        });
        let grpc_parts = grpc::Parts {
            listener: agents,
            app: Arc::clone(&data.app),
            ingest: Ingest::new(data.intake.clone(), data.app.clock().clone(), limits(config)),
            agents: live,
            options: grpc::Options {
                connections_max: config.agents.connections_max,
                ..grpc::Options::default()
            },
        };
        let control_parts = server::Parts {
            app: Arc::clone(&data.app),
            hold,
            data_dir: config.data_dir.clone(),
        };
        let stop = CancellationToken::new();
        let telling = telling(config, data, heartbeat, readiness.subscribe(), &stop_tasks);
        Ok(Self {
            http_address,
            tls,
            agents_address,
            readiness,
            agents: tokio::spawn(grpc::serve(grpc_parts, counts, stop.clone())),
            http: tokio::spawn(http::serve(http, http_tls, router, stop.clone())),
            control: tokio::spawn(control.serve(control_parts, stop.clone())),
            telling,
            statuses: tasks.statuses(),
            tasks,
            stop,
            stop_tasks,
        })
    }

    /// From now on `/readyz` says so.
    pub(super) fn tell(&self, now: Readiness) {
        self.readiness.send_if_modified(|told| {
            let is_news = *told != now;
            if is_news && let Readiness::NotReady(reason) = &now {
                tracing::debug!(reason, "not ready");
            }
            *told = now;
            is_news
        });
    }

    /// How the work goes that goes on by itself.
    pub(super) fn tasks(&self) -> &TaskStatuses {
        &self.statuses
    }

    /// Waits until a part has ended that should go on. To be called again only if it was dropped before it returned.
    pub(super) async fn failed(&mut self) -> RunError {
        tokio::select! {
            ended = &mut self.agents => match ended {
                Ok(Ok(())) => RunError::Ended("the agent port"),
                Ok(Err(error)) => error.into(),
                Err(panicked) => panicked.into(),
            },
            ended = &mut self.http => ended.err().map_or(RunError::Ended("HTTP"), RunError::from),
            ended = &mut self.control => ended.err().map_or(RunError::Ended("the control socket"), RunError::from),
        }
    }

    /// Takes nothing new, lets what is under way end, and tells agents to come again.
    pub(super) async fn end(self, deadline: Instant) {
        self.readiness
            .send_replace(Readiness::NotReady(Readiness::ENDING.to_owned()));
        self.stop.cancel();
        let ended = async {
            // One that has ended was seen by `failed`, and must not be asked again.
            if !self.agents.is_finished() {
                let _ = self.agents.await;
            }
            for part in [self.http, self.control] {
                if !part.is_finished() {
                    let _ = part.await;
                }
            }
        };
        let streams_until = deadline.min(Instant::now() + STREAMS_MAX);
        until_deadline(streams_until, "requests and streams", ended).await;
        self.stop_tasks.cancel();
        until_deadline(deadline, "background work", self.tasks.ended()).await;
        for part in self.telling {
            until_deadline(deadline, "telling people", async {
                let _ = part.await;
            })
            .await;
        }
    }
}

/// Where signs of life go, from the file that the settings name.
fn heartbeat(config: &Config) -> Result<Option<Heartbeat>, RunError> {
    let Some(file) = &config.notify.heartbeat_url_file else {
        return Ok(None);
    };
    let failed = |why: String| RunError::Heartbeat(file.clone(), why);
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    Heartbeat::parse(&text).map(Some).map_err(failed)
}

/// Whoever tells somebody outside: channels of alerts, a watcher of the controller.
fn telling(
    config: &Config,
    data: &Data,
    heartbeat: Option<Heartbeat>,
    ready: watch::Receiver<Readiness>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let guard = Guard::new(config.notify.allow_addresses.clone());
    let network = Network::new(Arc::new(SystemResolver), guard);
    let courier = Courier::new(network, Roots::of_the_system());
    let mut telling = vec![notify::spawn(
        Arc::clone(&data.app),
        courier.clone(),
        stop.clone(),
    )];
    if let Some(heartbeat) = heartbeat {
        let is_well = move || *ready.borrow() == Readiness::Ready;
        let every = config.notify.heartbeat_every;
        telling.push(notify::spawn_heartbeat(
            heartbeat,
            every,
            courier,
            is_well,
            stop.clone(),
        ));
    }
    telling
}

/// How registries are reached.
pub(super) fn outbound(config: &Config) -> Result<Outbound, RunError> {
    let wanted = &config.registries;
    let mut allowed = wanted.allow_addresses.clone();
    if wanted.allow_loopback {
        allowed.extend([
            IpNet::new_assert(IpAddr::from([127, 0, 0, 0]), 8),
            IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ]);
    }
    let mut roots = Roots::of_the_system();
    if let Some(file) = &wanted.ca_file {
        let failed = |why: String| RunError::RegistriesCa(file.clone(), why);
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let own = Roots::of_pem(&text).map_err(|error| failed(error.to_string()))?;
        roots = roots.and(&own);
    }
    Ok(Outbound {
        network: Network::new(Arc::new(SystemResolver), Guard::new(allowed)),
        roots,
        allow_loopback: wanted.allow_loopback,
        total_max: Outbound::TOTAL_MAX_DEFAULT,
        pause: Outbound::PAUSE_DEFAULT,
    })
}

fn task_parts(config: &Config, data: &Data, hold: &DeletionHold) -> task::Parts {
    task::Parts {
        app: Arc::clone(&data.app),
        updates: data.updates.clone(),
        alerts: data.alerts.clone(),
        intake: data.intake.clone(),
        samples: Arc::clone(&data.samples),
        state_applied: data.consumers.state_applied.clone(),
        hold: hold.clone(),
        registries: data.registries.clone(),
        schedule: config.scheduler.clone(),
    }
}

fn sources(data: &Data, counts: &GrpcMetrics, tasks: &Tasks) -> Sources {
    Sources {
        intake: data.intake.clone(),
        state_consumer: Arc::clone(&data.consumers.state_metrics),
        samples_consumer: Arc::clone(&data.consumers.samples_metrics),
        samples: Arc::clone(&data.samples),
        grpc: counts.clone(),
        refusals: data.app.refusals(),
        tasks: tasks.statuses(),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        series_per_agent: config.intake.series_per_agent,
        ..Limits::default()
    }
}
