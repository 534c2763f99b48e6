//! The service for programs, on the HTTP port: reading what the HTTP API reads too, and watching it.
//!
//! Who may call is decided where the routes are, beside those of HTTP; here is only what a call does. Streams hold a
//! place each, few for one account, and what waits for a slow reader is bounded.

mod places;
mod show;
mod storage;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use muster_base::ErrorChain;
use muster_base::id::{ResourceId, ServerId};
use muster_proto::convert::kind_from_wire;
use muster_proto::v1;
use muster_proto::v1::control_server::{Control, ControlServer};
use muster_samples::{Matcher, selector};
use tonic::{Request, Response, Status};

use self::places::{Place, Places};
use super::status;
use crate::alert::Alerts;
use crate::app::auth::Principal;
use crate::app::resources::ResourceFilter;
use crate::app::series::{RangeQuery, Series};
use crate::app::servers::ServerFilter;
use crate::app::{App, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest};

/// Longest request.
const REQUEST_BYTES_MAX: usize = 128 * 1024;
/// Longest selector.
const SELECTOR_BYTES_MAX: usize = 4 * 1024;
/// Most selectors of one watch.
const SELECTORS_MAX: usize = 16;
/// Most points of one message: some 64 KiB.
const MESSAGE_POINTS: usize = 4_096;
/// Most steps from start to end, as over HTTP.
const STEPS_MAX: i64 = 50_000;

/// Every call of the service by its path; the routes say who may make it.
pub(crate) const CALLS: [&str; 8] = [
    "/muster.v1.Control/ListServers",
    "/muster.v1.Control/GetServer",
    "/muster.v1.Control/ListResources",
    "/muster.v1.Control/ListPools",
    "/muster.v1.Control/GetTopology",
    "/muster.v1.Control/GetImpact",
    "/muster.v1.Control/QueryRange",
    "/muster.v1.Control/Watch",
];
/// The call with which tools ask what calls there are.
pub(crate) const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The service.
pub(crate) fn service(app: Arc<App>, series: Series, alerts: Alerts) -> ControlServer<ControlService> {
    let service = ControlService {
        app,
        series,
        alerts,
        places: Places::default(),
    };
    ControlServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX)
}

/// What tells tools which calls there are.
pub(crate) fn reflection()
-> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(muster_proto::FILE_DESCRIPTOR_SET)
        .with_service_name("muster.v1.Control")
        .build_v1()
        .expect("the descriptors are made with the code")
        .max_decoding_message_size(REQUEST_BYTES_MAX)
}

/// What the calls do.
pub(crate) struct ControlService {
    app: Arc<App>,
    series: Series,
    alerts: Alerts,
    places: Places,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Control for ControlService {
    type QueryRangeStream = Answers<v1::QueryRangeResponse>;
    type WatchStream = Answers<v1::WatchResponse>;

    async fn list_servers(
        &self,
        request: Request<v1::ListServersRequest>,
    ) -> Result<Response<v1::ListServersResponse>, Status> {
        let request = request.into_inner();
        let wanted = part(request.after, request.limit)?;
        let page = self.app.servers(ServerFilter::default(), wanted).await;
        let page = page.map_err(|error| status::of_app(&error))?;
        let next_after = match page.next {
            Some(_) => page.items.last().map_or(0, |server| server.id.0),
            None => 0,
        };
        let servers = page.items.iter().map(show::server).collect();
        Ok(Response::new(v1::ListServersResponse { servers, next_after }))
    }

    async fn get_server(
        &self,
        request: Request<v1::GetServerRequest>,
    ) -> Result<Response<v1::Server>, Status> {
        let server = self.app.server(ServerId(request.into_inner().id)).await;
        let server = server.map_err(|error| status::of_app(&error))?;
        Ok(Response::new(show::server(&server)))
    }

    async fn list_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let request = request.into_inner();
        let wanted = part(request.after, request.limit)?;
        let kind = match request.kind() {
            v1::ResourceKind::Unspecified if request.kind == 0 => None,
            known => Some(kind_from_wire(known).ok_or_else(|| invalid("kind", "it is not known here"))?),
        };
        let filter = ResourceFilter {
            server: (request.server_id != 0).then_some(ServerId(request.server_id)),
            kind,
            include_gone: request.include_gone,
            ..ResourceFilter::default()
        };
        self.resources(filter, wanted).await
    }

    async fn list_pools(
        &self,
        request: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let request = request.into_inner();
        let wanted = part(request.after, request.limit)?;
        self.resources(storage::pools(&request)?, wanted).await
    }

    async fn get_topology(
        &self,
        request: Request<v1::GetTopologyRequest>,
    ) -> Result<Response<v1::Topology>, Status> {
        let request = request.into_inner();
        let server = ServerId(request.server_id);
        let topology = self.app.topology(server, request.include_gone).await;
        let topology = topology.map_err(|error| status::of_app(&error))?;
        Ok(Response::new(storage::topology(topology)))
    }

    async fn get_impact(
        &self,
        request: Request<v1::GetImpactRequest>,
    ) -> Result<Response<v1::Impact>, Status> {
        let impact = self
            .app
            .impact(ResourceId(request.into_inner().resource_id))
            .await;
        let impact = impact.map_err(|error| status::of_app(&error))?;
        Ok(Response::new(storage::impact(impact)))
    }

    async fn query_range(
        &self,
        request: Request<v1::QueryRangeRequest>,
    ) -> Result<Response<Self::QueryRangeStream>, Status> {
        let place = self.place(&request)?;
        let query = range_query(&request.into_inner(), self.app.clock().now_ms())?;
        let names = self.app.server_names().await;
        let names = names.map_err(|error| status::of_app(&error))?;
        let range = self.series.range(names, query).await;
        let range = range.map_err(|error| status::internal(tonic::Code::Internal, &error))?;
        let (is_truncated, damaged) = (range.is_truncated, range.damaged);
        let messages = range.series.into_iter().flat_map(|mut series| {
            let mut name = Some(show::series(&series));
            let points = std::mem::take(&mut series.points);
            let count = points.len().div_ceil(MESSAGE_POINTS);
            (0..count).map(move |index| {
                let last = points.len().min((index + 1) * MESSAGE_POINTS);
                let some = &points[index * MESSAGE_POINTS..last];
                v1::QueryRangeResponse {
                    series: name.take(),
                    times_ms: some.iter().map(|point| point.0).collect(),
                    values: some.iter().map(|point| point.1).collect(),
                    ..v1::QueryRangeResponse::default()
                }
            })
        });
        let end = (is_truncated || 0 < damaged).then(|| v1::QueryRangeResponse {
            truncated: is_truncated,
            damaged: u32::try_from(damaged).unwrap_or(u32::MAX),
            ..v1::QueryRangeResponse::default()
        });
        let answers = stream::iter(messages.chain(end)).map(move |message| {
            let _held = &place;
            Ok(message)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let place = self.place(&request)?;
        let request = request.into_inner();
        if SELECTORS_MAX < request.selectors.len() {
            return Err(invalid("selectors", "at most 16 are possible"));
        }
        if request.selectors.is_empty() && !request.servers && !request.alerts {
            return Err(invalid("selectors", "there is nothing to watch"));
        }
        let selectors = request.selectors.iter().map(|text| matchers("selectors", text));
        let watcher = watch::Watcher {
            app: Arc::clone(&self.app),
            series: self.series.clone(),
            wants_servers: request.servers,
            alerts: request.alerts.then(|| self.alerts.changed()),
            selectors: selectors.collect::<Result<_, _>>()?,
        };
        Ok(Response::new(watch::spawn(watcher, place).boxed()))
    }
}

impl ControlService {
    async fn resources(
        &self,
        filter: ResourceFilter,
        wanted: PageRequest,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let page = self.app.resources(filter, wanted).await;
        let page = page.map_err(|error| status::of_app(&error))?;
        let next_after = match page.next {
            Some(_) => page.items.last().map_or(0, |resource| resource.id.0),
            None => 0,
        };
        let resources = page.items.into_iter().map(show::resource).collect();
        Ok(Response::new(v1::ListResourcesResponse {
            resources,
            next_after,
        }))
    }

    /// A place for one more stream of whoever calls.
    fn place<T>(&self, request: &Request<T>) -> Result<Place, Status> {
        // Put there by the check of who may call; without it nobody called.
        let principal = request.extensions().get::<Principal>();
        let user = principal
            .ok_or_else(|| Status::unauthenticated("nobody calls"))?
            .user_id;
        self.places
            .take(user)
            .ok_or_else(|| Status::resource_exhausted("this account has too many streams open already"))
    }
}

fn invalid(field: &str, message: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {message}"))
}

fn part(after: i64, limit: u32) -> Result<PageRequest, Status> {
    let limit = if limit == 0 { PAGE_LIMIT_DEFAULT } else { limit };
    if after < 0 || PAGE_LIMIT_MAX < limit {
        return Err(invalid(
            "after and limit",
            "0 or more, and at most 1000, are needed",
        ));
    }
    Ok(PageRequest {
        limit: Some(limit),
        cursor: (after != 0).then(|| after.to_string()),
    })
}

fn matchers(field: &str, text: &str) -> Result<Vec<Matcher>, Status> {
    if SELECTOR_BYTES_MAX < text.len() {
        return Err(invalid(field, "it is longer than 4 KiB"));
    }
    selector::parse(text).map_err(|error| invalid(field, ErrorChain(&error)))
}

fn range_query(request: &v1::QueryRangeRequest, now_ms: i64) -> Result<RangeQuery, Status> {
    let end_ms = if request.end_ms == 0 {
        now_ms
    } else {
        request.end_ms
    };
    let length_ms = end_ms
        .checked_sub(request.start_ms)
        .filter(|length_ms| 0 <= *length_ms);
    let length_ms = length_ms.ok_or_else(|| invalid("end_ms", "it lies before start_ms"))?;
    if request.start_ms < 0 || request.step_ms < 0 {
        return Err(invalid("start_ms and step_ms", "they are never negative"));
    }
    let step_ms = (request.step_ms != 0).then_some(request.step_ms);
    if step_ms.is_some_and(|step_ms| STEPS_MAX < length_ms / step_ms) {
        return Err(invalid(
            "step_ms",
            format!("more than {STEPS_MAX} points a series"),
        ));
    }
    Ok(RangeQuery {
        matchers: matchers("selector", &request.selector)?,
        resource: (request.resource_id != 0).then_some(ResourceId(request.resource_id)),
        start_ms: request.start_ms,
        end_ms,
        step_ms,
    })
}
