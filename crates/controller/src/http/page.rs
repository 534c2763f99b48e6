//! The page for people: rendered here, without anything from outside. A small script renews what changes; everything
//! works without it.
//!
//! Each page is read into a view first (`load`) and drawn from it after, so that drawing is pure. Markup escapes every
//! text by itself; nothing here writes HTML as a string.

pub(super) mod accounts;
pub(super) mod alerts;
mod asked;
mod attention;
mod attributes;
pub(super) mod channels;
mod chart;
mod containers;
mod device;
mod docs;
mod fleet;
mod form;
mod format;
mod layout;
mod load;
mod login;
mod map;
mod pools;
mod resource;
pub(super) mod routes;
pub(super) mod rules;
mod server;
mod sheet;
pub(super) mod silences;
mod smart;
mod updates;
mod vitals;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_model::ResourceKind;
use serde::Deserialize;

use super::HttpState;
use super::access::{COOKIE, Caller};
use super::error::{Code, Problem};
use super::extract::{Path, Query};
use super::serve::Peer;
use super::{auth, resources, servers, topology};
use crate::app::auth::Role;
pub(super) use docs::docs;
pub(super) use login::problem;

/// The style, for everybody: the login page needs it.
pub(super) async fn style() -> Response {
    fixed("text/css; charset=utf-8", include_str!("page/style.css"))
}

/// The script that renews pages in place. It tells nobody anything.
pub(super) async fn script() -> Response {
    fixed("text/javascript; charset=utf-8", include_str!("page/live.js"))
}

fn fixed(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, text).into_response()
}

/// The login form.
pub(super) async fn login_form() -> Markup {
    login::form(None)
}

/// Takes the login form: sets the cookie and leads home, or shows the form again.
pub(super) async fn login(State(state): State<HttpState>, request: Request) -> Response {
    let is_secure = is_secure(&request);
    let session = match auth::login(&state, request).await {
        Ok(session) => session,
        Err(problem) => return refused(problem),
    };
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        session.access_token, session.expires_in_s
    );
    with_cookie(Redirect::to("/").into_response(), &cookie)
}

/// Whether the browser is spoken to over TLS, by us or, as it says itself, by a proxy before us. Whoever lies here only
/// makes its own cookie stricter.
fn is_secure(request: &Request) -> bool {
    let is_ours = request.extensions().get::<Peer>().is_some_and(|peer| peer.is_tls);
    let origin = request.headers().get(header::ORIGIN);
    is_ours || origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn refused(problem: Problem) -> Response {
    let sentence = match problem.code {
        Code::InvalidCredentials => problem.code.title().to_owned(),
        Code::TooManyAttempts => format!("{}: {}", problem.code.title(), problem.detail),
        _ => return problem.into_response(),
    };
    let status = problem.code.status();
    let mut headers = problem.into_response().headers().clone();
    headers.remove(header::CONTENT_TYPE);
    // A browser would answer this with a box of its own.
    headers.remove(header::WWW_AUTHENTICATE);
    (status, headers, login::form(Some(&sentence))).into_response()
}

/// Logs out and leads to the login.
pub(super) async fn logout(State(state): State<HttpState>, caller: Caller) -> Result<Response, Problem> {
    state.app.logout(&caller.token).await?;
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(with_cookie(Redirect::to("/login").into_response(), &cookie))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    match HeaderValue::from_str(cookie) {
        Ok(value) => {
            response.headers_mut().insert(header::SET_COOKIE, value);
            response
        }
        Err(_) => Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response(),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct FleetQuery {
    cursor: Option<String>,
}

/// All servers.
pub(super) async fn fleet(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<FleetQuery>,
) -> Result<Markup, Problem> {
    let view = load::fleet(&state, query.cursor).await?;
    let may_act = caller.principal.may(Role::Operator);
    Ok(layout::page(
        "Servers",
        &caller.principal,
        &fleet::draw(&view, may_act),
    ))
}

/// One server.
pub(super) async fn server(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let view = load::server(&state, servers::server_id(&id)?).await?;
    Ok(layout::page(
        &view.server.hostname,
        &caller.principal,
        &server::draw(&view, caller.principal.may(Role::Operator)),
    ))
}

/// One disk.
pub(super) async fn device(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let view = load::device(&state, resources::device_view(&state, &id).await?).await?;
    Ok(layout::page(
        &view.device.name,
        &caller.principal,
        &device::draw(&view),
    ))
}

/// Any resource; a disk, and a container that is there, has a page of its own.
pub(super) async fn resource(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let impact = topology::impact_of(&state, &id).await?;
    let is_there = impact.resource.kind == ResourceKind::Container && impact.resource.gone_ms.is_none();
    if impact.resource.kind == ResourceKind::Device || is_there {
        let page = map::address(&impact.resource);
        return Ok(Redirect::to(&page).into_response());
    }
    let server = state.app.server(impact.resource.server).await?;
    let mut drawn = resource::draw(&server.hostname, &impact);
    if let (ResourceKind::Container, Some(gone_ms)) = (impact.resource.kind, impact.resource.gone_ms) {
        let id = impact.resource.id.0;
        let said = state.updates.forgotten_since(id, gone_ms).await?;
        let may_act = caller.principal.may(Role::Operator);
        drawn = html! { (drawn) (containers::forget_form(id, said.as_ref(), may_act)) };
    }
    Ok(layout::page(&impact.resource.name, &caller.principal, &drawn).into_response())
}
