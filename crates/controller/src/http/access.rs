//! Who may call what: the place where a role is checked.
//!
//! [`Routes`] is the only way to add a route, and adding one needs an [`Access`]; so a route about which nobody decided
//! does not compile. The check runs before any part of the request is read. The table of all decisions is kept for
//! the coverage test, and each operation's decision is written into the OpenAPI document.
//!
//! A request under way, and an answer that streams, end within seconds when their caller may no longer have them. Every
//! request that would change something is written to the audit log here, so that no handler can forget it.
//!
//! A caller shows a bearer token, or the page's cookie. A cookie is sent by browsers unasked, so a request that changes
//! something and shows only a cookie must also show that it came from our own page.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, on, post_service};
use futures::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use tower::Service;
use tracing::Instrument as _;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::HttpState;
use super::client::Client;
use super::error::{Code, Problem};
use crate::app::audit::{Actor, Entry, Outcome};
use crate::app::auth::{AuthError, Principal, Role};
use crate::grpc;

/// Name of the page's cookie.
pub(super) const COOKIE: &str = "muster_session";
/// How often it is asked whether whoever waits for an answer may still have it. Twice this and a moment is how long a
/// change takes to hold everywhere.
const ASKED_AGAIN_EVERY: Duration = Duration::from_secs(2);
/// The largest refusal that is read again to say it in other terms.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody. Only for what must answer before a login.
    Public,
    /// Whoever has this role or a greater one.
    Needs(Role),
    /// Whoever may look, and API tokens that are good for metrics alone.
    Metrics,
    /// As [`Access::Needs`], for a page: whoever is not logged in is led to the login.
    Page(Role),
}

impl Access {
    /// Whether somebody may call the route.
    fn allows(self, principal: &Principal) -> bool {
        match self {
            // Whatever an API token is good for, reading metrics is less.
            Self::Public | Self::Metrics => true,
            Self::Needs(role) | Self::Page(role) => principal.may(role),
        }
    }
}

/// One row of the table of decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    /// The method.
    pub(super) method: Method,
    /// The path, with its parameters in braces.
    pub(super) path: String,
    /// Who may call it.
    pub(super) access: Access,
    /// As what the audit log knows it; every route that changes something has a word, but for logins, which write their
    /// own entries.
    pub(super) action: Option<&'static str>,
}

/// A router under construction.
pub(super) struct Routes {
    inner: OpenApiRouter<HttpState>,
    state: HttpState,
    table: Vec<Declared>,
}

impl Routes {
    /// Starts with an OpenAPI document that has no paths.
    pub(super) fn new(state: HttpState, openapi: utoipa::openapi::OpenApi) -> Self {
        Self {
            inner: OpenApiRouter::with_openapi(openapi),
            state,
            table: Vec::new(),
        }
    }

    /// Adds documented routes that change nothing, or are logins.
    pub(super) fn add(self, access: Access, routes: UtoipaMethodRouter<HttpState>) -> Self {
        self.routes(access, None, routes)
    }

    /// Adds a documented route that changes something: each call has an entry in the audit log under this action.
    pub(super) fn change(
        self,
        access: Access,
        action: &'static str,
        routes: UtoipaMethodRouter<HttpState>,
    ) -> Self {
        self.routes(access, Some(action), routes)
    }

    fn routes(
        mut self,
        access: Access,
        action: Option<&'static str>,
        (schemas, mut paths, methods): UtoipaMethodRouter<HttpState>,
    ) -> Self {
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                declare(operation, access);
                complete(operation, &method, path);
                self.table.push(Declared {
                    method,
                    path: path.clone(),
                    access,
                    action,
                });
            }
        }
        let guard = from_fn_with_state((self.state.clone(), access, action), check);
        self.inner = self.inner.routes((schemas, paths, methods.route_layer(guard)));
        self
    }

    /// Adds a route that is for people, and so is not in the OpenAPI document; it changes nothing, or is a login.
    pub(super) fn page<H, T>(self, access: Access, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<T, HttpState>,
        T: 'static,
    {
        self.for_people(access, None, method, path, handler)
    }

    /// Adds what a form of a page posts to: each call has an entry in the audit log under this action.
    pub(super) fn form<H, T>(self, access: Access, action: &'static str, path: &str, handler: H) -> Self
    where
        H: Handler<T, HttpState>,
        T: 'static,
    {
        self.for_people(access, Some(action), Method::POST, path, handler)
    }

    fn for_people<H, T>(
        mut self,
        access: Access,
        action: Option<&'static str>,
        method: Method,
        path: &str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, HttpState>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("pages are read or posted to");
        let guard = from_fn_with_state((self.state.clone(), access, action), check);
        self.inner = self.inner.route(path, on(filter, handler).route_layer(guard));
        self.table.push(Declared {
            method,
            path: path.to_owned(),
            access,
            action,
        });
        self
    }

    /// Adds calls of gRPC that change nothing; each is a route of its own, so that none is there about which nobody
    /// decided.
    pub(super) fn calls<S>(mut self, access: Access, paths: &[&str], service: &S) -> Self
    where
        S: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        for path in paths {
            let guard = from_fn_with_state((self.state.clone(), access, None), check);
            let route = post_service(service.clone())
                .route_layer(guard)
                .route_layer(from_fn(in_terms_of_grpc));
            self.inner = self.inner.route(path, route);
            self.table.push(Declared {
                method: Method::POST,
                path: (*path).to_owned(),
                access,
                action: None,
            });
        }
        self
    }

    /// The router, its OpenAPI document and the table of decisions.
    pub(super) fn build(self) -> (axum::Router<HttpState>, utoipa::openapi::OpenApi, Vec<Declared>) {
        let (router, openapi) = self.inner.split_for_parts();
        (router, openapi, self.table)
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Writes into the document who may call an operation.
fn declare(operation: &mut Operation, access: Access) {
    let (security, sentence) = match access {
        Access::Public => (SecurityRequirement::default(), "Needs no token.".to_owned()),
        Access::Metrics => (
            SecurityRequirement::new::<_, _, String>("bearer", []),
            "Needs the role viewer, or an API token with the scope metrics.".to_owned(),
        ),
        Access::Needs(role) | Access::Page(role) => (
            SecurityRequirement::new::<_, _, String>("bearer", []),
            format!("Needs the role {}.", role.as_str()),
        ),
    };
    operation.security = Some(vec![security]);
    let description = operation.description.take().unwrap_or_default();
    operation.description = Some(if description.is_empty() {
        sentence
    } else {
        format!("{description}\n\n{sentence}")
    });
}

/// Adds what OpenAPI demands and handlers need not repeat: an id that no other operation has, and a description of
/// each response.
fn complete(operation: &mut Operation, method: &Method, path: &str) {
    let words = path.trim_start_matches("/api/").split(['/', '-', '.']);
    let words = words.map(|word| word.trim_matches(['{', '}']));
    let id = std::iter::once(method.as_str().to_lowercase()).chain(words.map(str::to_owned));
    operation.operation_id = Some(id.collect::<Vec<_>>().join("_"));
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = status_words(status).to_owned();
        }
    }
}

/// What a status means where the handler says nothing more particular.
fn status_words(status: &str) -> &'static str {
    match status
        .parse()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
    {
        Some(code) => code.canonical_reason().unwrap_or("the answer"),
        None => "what went wrong",
    }
}

/// Who makes this request; only behind a route that [`Access::Needs`] a role or is a [`Access::Page`].
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The account.
    pub(super) principal: Principal,
    /// The access token it showed.
    pub(super) token: String,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthenticated)
    }
}

type Guarded = (HttpState, Access, Option<&'static str>);

async fn check(State((state, access, action)): State<Guarded>, request: Request, next: Next) -> Response {
    if access == Access::Public {
        return next.run(request).await;
    }
    if action.is_none() {
        return checked(&state, access, action, request, next).await;
    }
    // In a task of its own: what is done must have its entry, also if whoever asked is gone by then.
    let work = async move { checked(&state, access, action, request, next).await };
    match tokio::spawn(work.in_current_span()).await {
        Ok(response) => response,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Problem::new(Code::Internal, "the controller is ending").into_response(),
        },
    }
}

async fn checked(
    state: &HttpState,
    access: Access,
    action: Option<&'static str>,
    request: Request,
    next: Next,
) -> Response {
    let Client(peer) = Client::of(&request);
    let path = request.uri().path().to_owned();
    let caller = match identify(state, request.method(), &path, request.headers(), peer).await {
        Ok(caller) => caller,
        Err(problem) if problem.code == Code::Unauthenticated && matches!(access, Access::Page(_)) => {
            if let Some(action) = action {
                let entry = Entry::refused(Actor::Nobody, action, path, problem.code.as_str());
                state.app.audit().note(entry.from_peer(peer)).await;
            }
            return Redirect::to("/login").into_response();
        }
        Err(problem) => {
            let response = problem.into_response();
            if let Some(action) = action {
                let entry = audited(Actor::Nobody, action, path, &response);
                state.app.audit().note(entry.from_peer(peer)).await;
            }
            return response;
        }
    };
    let Some(action) = action else {
        return guarded(state, access, caller, request, next).await;
    };
    let (audit, actor) = (state.app.audit(), caller.principal.actor());
    let begun = if access.allows(&caller.principal) {
        let entry = Entry::allowed(actor.clone(), action, path.as_str());
        Some(audit.begin(&entry.from_peer(peer)).await)
    } else {
        None
    };
    let response = guarded(state, access, caller, request, next).await;
    let entry = audited(actor, action, path, &response);
    audit.conclude(begun, entry.from_peer(peer)).await;
    response
}

/// Runs a request for whoever may make it, and no longer than they may.
async fn guarded(
    state: &HttpState,
    access: Access,
    caller: Caller,
    mut request: Request,
    next: Next,
) -> Response {
    if !access.allows(&caller.principal) {
        return forbidden(access, &caller.principal).into_response();
    }
    let token = caller.token.clone();
    request.extensions_mut().insert(caller.principal.clone());
    request.extensions_mut().insert(caller);
    let response = tokio::select! {
        response = next.run(request) => response,
        () = ended(state.clone(), token.clone(), access) => {
            return Problem::unauthenticated().into_response();
        }
    };
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // A stream: it goes on only as long as its reader may read it.
    let (parts, body) = response.into_parts();
    // Frames, because gRPC says in trailers how it ended.
    let frames = BodyStream::new(body).take_until(Box::pin(ended(state.clone(), token, access)));
    Response::from_parts(parts, Body::new(StreamBody::new(frames)))
}

/// A refusal by the check, as callers of gRPC read one: they look for a status in the headers and at nothing else.
async fn in_terms_of_grpc(request: Request, next: Next) -> Response {
    let is_asked = is_grpc(request.headers());
    let response = next.run(request).await;
    if !is_asked || is_grpc(response.headers()) {
        return response;
    }
    let status = response.status();
    let body = to_bytes(response.into_body(), PROBLEM_BYTES_MAX).await;
    let problem: serde_json::Value = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok())
        .unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("the call was refused");
    grpc::status::refusal(status, detail)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Waits until the token is none any more, or may no longer call the route.
async fn ended(state: HttpState, token: String, access: Access) {
    let mut is_in_doubt = false;
    loop {
        tokio::time::sleep(ASKED_AGAIN_EVERY).await;
        match state.app.find_principal(&token).await {
            Ok(principal) if access.allows(&principal) => is_in_doubt = false,
            // The database may be busy for once; who cannot be known twice in a row is nobody.
            Err(AuthError::Store(_)) if !is_in_doubt => is_in_doubt = true,
            Ok(_) | Err(_) => return,
        }
    }
}

fn forbidden(access: Access, principal: &Principal) -> Problem {
    let (Access::Needs(role) | Access::Page(role)) = access else {
        return Problem::new(Code::Forbidden, "this is not for you");
    };
    let detail = if role <= principal.role {
        format!(
            "this needs the role {}, and the API token is good for metrics alone",
            role.as_str()
        )
    } else {
        format!(
            "this needs the role {}, and {} has the role {}",
            role.as_str(),
            principal.username,
            principal.role.as_str()
        )
    };
    Problem::new(Code::Forbidden, detail)
}

/// What the audit log keeps of a request that would change something.
fn audited(actor: Actor, action: &'static str, path: String, response: &Response) -> Entry {
    let status = response.status();
    let reason = response
        .extensions()
        .get::<Problem>()
        .map_or("not_taken", |problem| problem.code.as_str());
    // What was made has an address of its own.
    let made = response.headers().get(header::LOCATION);
    let made = made.filter(|_| status == StatusCode::CREATED);
    let target = made.and_then(|made| made.to_str().ok()).map(str::to_owned);
    let detail = response.extensions().get::<Told>();
    Entry {
        outcome: if status.is_server_error() {
            Outcome::Failed { reason }
        } else if status.is_client_error() {
            Outcome::Refused { reason }
        } else {
            Outcome::Allowed
        },
        ..Entry::allowed(actor, action, target.unwrap_or(path))
    }
    .with_detail(detail.map(|told| told.0.clone()).unwrap_or_default())
}

/// What a handler has to say to the audit log beside who, what and whether; never a secret.
#[derive(Debug, Clone)]
pub(super) struct Told(pub(super) String);

async fn identify(
    state: &HttpState,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<Caller, Problem> {
    let (token, is_cookie) = match headers.get(header::AUTHORIZATION) {
        // Whoever sends this header means it: a bad one is never made good by a cookie.
        Some(value) => (
            bearer(value.as_bytes()).ok_or_else(Problem::unauthenticated)?,
            false,
        ),
        None => (cookie(headers).ok_or_else(Problem::unauthenticated)?, true),
    };
    let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_cookie && !is_safe && site(headers) != Site::Same {
        return Err(Problem::new(
            Code::CrossOrigin,
            "a cookie alone may only change something from this controller's own page",
        ));
    }
    match state.app.authenticate(token, peer).await {
        Ok(principal) => Ok(Caller {
            principal,
            token: token.to_owned(),
        }),
        Err(AuthError::BadToken | AuthError::BadCredentials) => {
            let entry = Entry::refused(Actor::Nobody, "auth.show_token", path, "bad_token");
            state.app.audit().note(entry.from_peer(peer)).await;
            Err(Problem::unauthenticated())
        }
        Err(error) => Err(error.into()),
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The page's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE && !value.is_empty()).then_some(value))
}

/// Where a request was made, as far as the browser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// On our own page.
    Same,
    /// Elsewhere.
    Other,
    /// Nothing says; browsers always say when they post.
    Unsaid,
}

/// Reads `Sec-Fetch-Site`, else compares `Origin` with `Host`.
pub(super) fn site(headers: &HeaderMap) -> Site {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    if let Some(value) = headers.get(SEC_FETCH_SITE) {
        return if value == "same-origin" {
            Site::Same
        } else {
            Site::Other
        };
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Site::Unsaid;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if authority.is_some() && authority == host {
        Site::Same
    } else {
        Site::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_bearer_scheme_with_a_token_counts() {
        assert_eq!(bearer(b"Bearer abc"), Some("abc"));
        assert_eq!(bearer(b"bearer abc"), Some("abc"));
        for value in [&b"Bearer"[..], b"Bearer ", b"Basic abc", b"abc", b"\xff \xff"] {
            assert_eq!(bearer(value), None);
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = headers(&[("cookie", "a=b; muster_session=xyz; c=d")]);
        assert_eq!(cookie(&found), Some("xyz"));
        assert_eq!(
            cookie(&headers(&[("cookie", "xmuster_session=xyz; muster_session=")])),
            None
        );
    }

    #[test]
    fn a_request_is_ours_only_if_the_browser_says_so() {
        for (pairs, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], Site::Same),
            (&[("sec-fetch-site", "same-site")], Site::Other),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://h"),
                    ("host", "h"),
                ],
                Site::Other,
            ),
            (&[("origin", "http://h:8480"), ("host", "h:8480")], Site::Same),
            (&[("origin", "http://h:8481"), ("host", "h:8480")], Site::Other),
            (&[("origin", "null"), ("host", "h:8480")], Site::Other),
            (&[("origin", "http://h")], Site::Other),
            (&[("host", "h")], Site::Unsaid),
        ] {
            assert_eq!(site(&headers(pairs)), expected, "{pairs:?}");
        }
    }
}
