//! What surrounds every request: its id, its span, bounds on time and number, a net under panics, metrics, headers.
//!
//! Owns the rendering of [`Problem`]s, since only here are the request's id and its asker (a program or a person) known.
//! Knows no route.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use tracing::Instrument as _;

use super::client::Client;
use super::error::{Code, Problem};
use super::{HttpState, page};

/// Longest time from a request's head to its answer's.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Most requests under way at once; one more is refused, not queued.
pub(super) const REQUESTS_MAX: usize = 256;
/// Longest body.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the browser may load: our own style and script from files of their own, and what that script asks us; nothing
/// else, and nobody may frame us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Runs a request within its bounds.
pub(super) async fn surround(State(state): State<HttpState>, mut request: Request, next: Next) -> Response {
    let client = Client::of_connection(&request, &state.trusted_proxies);
    request.extensions_mut().insert(client);
    let request_id = uuid::Uuid::now_v7().simple().to_string();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let asker = Asker::of(&request);
    let started = tokio::time::Instant::now();
    let span =
        tracing::info_span!("request", request.id = %request_id, http.method = %method, http.route = %route);

    let response = bounded(&state, request, next).instrument(span.clone()).await;

    let mut response = render(response, &request_id, asker);
    decorate(response.headers_mut(), &request_id);
    let took = started.elapsed();
    state.metrics.request(&method, &route, response.status(), took);
    span.in_scope(|| {
        tracing::debug!(
            http.status = response.status().as_u16(),
            duration_ms = took.as_millis(),
            "request answered"
        );
    });
    response
}

async fn bounded(state: &HttpState, request: Request, next: Next) -> Response {
    let Ok(_permit) = state.requests.try_acquire() else {
        let mut problem = Problem::new(Code::Overloaded, "try again in a moment");
        problem.retry_after = Some(Duration::from_secs(1));
        return problem.into_response();
    };
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(TIMEOUT, run).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(panic = message, "request handler panicked");
            Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Err(_elapsed) => {
            tracing::warn!("request timed out");
            Problem::new(Code::TimedOut, "ask for less at once").into_response()
        }
    }
}

/// Who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Person,
    Program,
}

impl Asker {
    fn of(request: &Request) -> Self {
        let path = request.uri().path();
        let is_for_programs = ["/api", "/federate", "/metrics", "/healthz", "/readyz"]
            .iter()
            .any(|prefix| path.starts_with(prefix));
        let wants_html = request
            .headers()
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("text/html"));
        if wants_html && !is_for_programs {
            Self::Person
        } else {
            Self::Program
        }
    }
}

/// Gives a refusal its body. What the framework refused by itself gets ours too.
fn render(mut response: Response, request_id: &str, asker: Asker) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let is_bare = (status.is_client_error() || status.is_server_error())
        && response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    let Some(problem) = problem.or_else(|| is_bare.then(|| Problem::of_status(status))) else {
        return response;
    };
    let body = problem.body(request_id);
    let (content_type, text) = match asker {
        Asker::Person => ("text/html; charset=utf-8", page::problem(&body).into_string()),
        Asker::Program => (
            "application/problem+json",
            serde_json::to_string(&body).expect("a problem has only texts and a number"),
        ),
    };
    let mut rendered = (problem.code.status(), text).into_response();
    // Allow, Retry-After and WWW-Authenticate stay; what described the old body does not.
    for (name, value) in response.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    rendered
}

fn decorate(headers: &mut HeaderMap, request_id: &str) {
    headers.insert(
        REQUEST_ID,
        HeaderValue::from_str(request_id).expect("a request id is hexadecimal"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not no-referrer: with that, browsers send `Origin: null` with our own forms, and we could not tell them from
    // foreign ones. No other site learns anything from this either.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
