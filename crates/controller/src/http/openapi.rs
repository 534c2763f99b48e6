//! The OpenAPI document, made from the routes themselves and served to whoever is logged in.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::HttpState;

#[derive(OpenApi)]
#[openapi(info(
    title = "Muster",
    description = "Watches and looks after a fleet of Linux servers. Times are RFC 3339 in UTC; lists are \
                   {items, total, next}; refusals are problem+json with a stable code."
))]
struct Document;

/// The document without its paths.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("an access token from POST /api/auth/token"))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "meta", responses((status = 200, body = Object)))]
pub(super) async fn openapi(State(state): State<HttpState>) -> Response {
    let text = state
        .openapi
        .get()
        .map(AsRef::<str>::as_ref)
        .unwrap_or_default()
        .to_owned();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
