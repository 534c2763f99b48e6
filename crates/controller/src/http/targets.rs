//! A page of metrics for each server and family, as if each had an exporter of its own, and the list of these pages for
//! Prometheus.
//!
//! A family is a scrape job. `job` and `instance` come from the list, so a scrape needs no `honor_labels`; on the pages
//! there is neither, and no time: the page shows what holds now, so a value is left out when its metric is stale.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use muster_base::id::{ResourceId, ServerId};
use muster_model::MetricType;
use muster_samples::Matcher;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Code, Problem, ProblemBody};
use super::exposition::{self, Row};
use super::extract::{Json, Path, Query, id_or};
use super::federate::head;
use super::serve::Peer;
use super::servers::server_id;
use crate::app::series::{JOBS, Latest};
use crate::app::servers::{ServerFilter, ServerName};
use crate::app::status::ServerStatus;

/// The family that every server has.
const NODE: &str = "node";
/// Labels that the list gives.
const JOINED: [&str; 3] = ["instance", "job", "server_id"];

/// The latest values of one family of a server.
#[utoipa::path(
    get, path = "/metrics/servers/{id}/{family}", tag = "metrics",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("family" = String, Path, description = "node, smartctl, zfs, postgres, mysql, cadvisor or muster"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn of_server(
    State(state): State<HttpState>,
    Path((id, family)): Path<(String, String)>,
) -> Result<Response, Problem> {
    serve(&state, &id, &family, None).await
}

/// The latest values of one family of a server, of one resource alone.
#[utoipa::path(
    get, path = "/metrics/servers/{id}/{family}/{resource}", tag = "metrics",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("family" = String, Path, description = "node, smartctl, zfs, postgres, mysql, cadvisor or muster"),
        ("resource" = i64, Path, description = "id of the resource"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn of_resource(
    State(state): State<HttpState>,
    Path((id, family, resource)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let resource = ResourceId(id_or(&resource, Code::NotFound)?);
    let server = server_id(&id)?;
    let known = state.app.resource(resource).await.ok();
    if known.is_none_or(|known| known.server != server) {
        return Err(Problem::new(
            Code::NotFound,
            format!("server {server} has no resource {resource}"),
        ));
    }
    serve(&state, &id, &family, Some(resource)).await
}

async fn serve(
    state: &HttpState,
    id: &str,
    family: &str,
    resource: Option<ResourceId>,
) -> Result<Response, Problem> {
    if !JOBS.contains(&family) {
        let known = JOBS.join(", ");
        return Err(Problem::new(
            Code::NotFound,
            format!("there is no family of this name; there are {known}"),
        ));
    }
    let server = server_id(id)?;
    let status = state.app.server(server).await?.status;
    if matches!(
        status,
        ServerStatus::Offline | ServerStatus::NeverSeen | ServerStatus::Disabled
    ) {
        // As if the server's exporter did not answer: Prometheus says `up` is 0 instead of showing old values as new.
        return Err(Problem::new(
            Code::ServerNotReporting,
            format!("server {server} is {}", status.as_str()),
        ));
    }
    let names = state.app.server_names().await?;
    let selector = vec![
        Matcher::equal("job", family),
        Matcher::equal("server_id", server.to_string()),
    ];
    let now_ms = state.app.clock().now_ms();
    let latest = state.series.latest(names, vec![selector], now_ms).await?;
    Ok(page(latest, resource))
}

fn page(latest: Vec<Latest>, resource: Option<ResourceId>) -> Response {
    let mut types: HashMap<Arc<str>, MetricType> = HashMap::new();
    let rows: Vec<Row> = latest
        .into_iter()
        .filter(|series| resource.is_none_or(|resource| series.resource == resource))
        .map(|series| {
            types
                .entry(Arc::clone(&series.name))
                .or_insert(series.metric_type);
            let mut labels = series.labels;
            labels.retain(|(name, _)| !JOINED.contains(&name.as_str()));
            for (name, _) in &mut labels {
                // An own label of such a name is shown as what it is: Prometheus moves it aside itself.
                if let Some(own) = name.strip_prefix("exported_").filter(|own| JOINED.contains(own)) {
                    *name = own.to_owned();
                }
            }
            Row {
                name: series.name,
                labels,
                value: series.value,
                time_ms: None,
            }
        })
        .collect();
    let pieces = exposition::pieces(rows, move |name| head(name, &types));
    let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)));
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], body).into_response()
}

/// Some pages to be scraped, and the labels they get.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "TargetGroup")]
pub(super) struct TargetGroup {
    /// `HOST:PORT` of this controller, as the list was asked for.
    targets: Vec<String>,
    /// `job`, `instance`, `server_id`, `tag_…`, and how the page is reached.
    labels: BTreeMap<String, String>,
}

/// Which pages are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiscoverQuery {
    per: Option<String>,
}

/// Every page of metrics: `node` of each monitored server, and each other family that has series, for `http_sd_configs` of Prometheus.
///
/// With `per=resource`, the families other than `node` are listed by resource: a page for each disk, pool, database and
/// so on that is not gone, with the label `resource_id`. The two hold the same series, so a Prometheus is given one of them.
#[utoipa::path(
    get, path = "/api/prometheus/sd", tag = "metrics",
    params(("per" = Option<String>, Query, description = "family (if not given) or resource")),
    responses(
        (status = 200, body = Vec<TargetGroup>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn discover(
    State(state): State<HttpState>,
    Query(query): Query<DiscoverQuery>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Vec<TargetGroup>>, Problem> {
    let is_per_resource = match query.per.as_deref() {
        None | Some("family") => false,
        Some("resource") => true,
        Some(_) => return Err(Problem::parameter("per", "it is family or resource")),
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .filter(|host| !host.is_empty())
        .ok_or_else(|| {
            Problem::new(
                Code::BadRequest,
                "the Host header says where the pages are, and is missing",
            )
        })?;
    let names = state.app.server_names().await?;
    let places = state.series.places().await?;
    let gone = if is_per_resource {
        state.app.gone_resources().await?
    } else {
        HashSet::new()
    };
    let mut pages: BTreeSet<Page> = places
        .iter()
        .filter(|(.., resource)| !gone.contains(resource))
        .map(|&(server, family, resource)| Page {
            server,
            family,
            resource: Some(resource).filter(|_| is_per_resource && family != NODE),
        })
        .collect();
    let monitored = ServerFilter {
        monitoring_enabled: Some(true),
    };
    // One that is silent stays on the list, so that Prometheus says it is down.
    for server in state.app.all_servers(monitored).await? {
        pages.insert(Page {
            server: server.id,
            family: NODE,
            resource: None,
        });
    }
    let groups = pages
        .into_iter()
        .filter_map(|page| Some(page.group((host, peer.is_tls), names.get(&page.server)?)));
    Ok(Json(groups.collect()))
}

/// A page of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Page {
    server: ServerId,
    family: &'static str,
    resource: Option<ResourceId>,
}

impl Page {
    fn group(self, (host, is_tls): (&str, bool), server: &ServerName) -> TargetGroup {
        let Self {
            server: id,
            family,
            resource,
        } = self;
        let mut path = format!("/metrics/servers/{id}/{family}");
        let mut labels = BTreeMap::from([
            ("instance".to_owned(), server.hostname.clone()),
            ("job".to_owned(), family.to_owned()),
            ("server_id".to_owned(), id.to_string()),
        ]);
        if let Some(resource) = resource {
            path = format!("{path}/{resource}");
            labels.insert("resource_id".to_owned(), resource.to_string());
        }
        labels.insert("__metrics_path__".to_owned(), path);
        if is_tls {
            labels.insert("__scheme__".to_owned(), "https".to_owned());
        }
        if !server.tags.is_empty() {
            let tags = format!(",{},", server.tags.join(","));
            labels.insert("__meta_muster_tags".to_owned(), tags);
        }
        TargetGroup {
            targets: vec![host.to_owned()],
            labels,
        }
    }
}
