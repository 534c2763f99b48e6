//! The latest values of all series, in the Prometheus text format.
//!
//! Made for `honor_labels: true`: each line carries its own `job` and `instance`, and its own time. Without a `match[]`
//! everything is served, since a scrape configuration that forgot it should not look like an empty fleet.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use muster_model::MetricType;

use super::HttpState;
use super::error::{Problem, ProblemBody};
use super::exposition::{self, Row};
use super::extract::Query;
use super::range::parse_selector;

/// Most selectors of one request.
const SELECTORS_MAX: usize = 64;

/// The latest values in the Prometheus text format 0.0.4, with `job`, `instance`, `server_id` and times.
/// Without `match[]`, of all series.
#[utoipa::path(
    get, path = "/federate", tag = "metrics",
    params(("match[]" = Option<Vec<String>>, Query, description = "selectors; what any of them takes is served")),
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn federate(
    State(state): State<HttpState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut selectors = Vec::new();
    for (name, value) in &pairs {
        if name != "match[]" {
            return Err(Problem::parameter(name, "there is no such parameter here"));
        }
        if selectors.len() == SELECTORS_MAX {
            return Err(Problem::parameter(
                "match[]",
                format!("at most {SELECTORS_MAX} are possible"),
            ));
        }
        selectors.push(parse_selector("match[]", value)?);
    }
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let names = state.app.server_names().await?;
    let latest = state
        .series
        .latest(names, selectors, state.app.clock().now_ms())
        .await?;
    let mut types: HashMap<Arc<str>, MetricType> = HashMap::new();
    let rows: Vec<Row> = latest
        .into_iter()
        .map(|series| {
            types
                .entry(Arc::clone(&series.name))
                .or_insert(series.metric_type);
            Row {
                name: series.name,
                labels: series.labels,
                value: series.value,
                time_ms: Some(series.time_ms),
            }
        })
        .collect();
    let pieces = exposition::pieces(rows, move |name| head(name, &types));
    let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)));
    Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], body).into_response())
}

/// The catalogue's word on a metric; for what it does not know, the type its agent gave.
pub(super) fn head(name: &str, types: &HashMap<Arc<str>, MetricType>) -> (String, MetricType) {
    match muster_catalogue::lookup(name) {
        Some(known) => (known.help.to_owned(), known.metric_type),
        None => (
            String::new(),
            types.get(name).copied().unwrap_or(MetricType::Untyped),
        ),
    }
}
