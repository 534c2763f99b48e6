//! Registries with their credentials, and what checks of images found.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::Told;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Created, Json, List, PartQuery, Path, Query, id_or, rfc3339};
use crate::app::registries::{RegistryFields, RegistryUseError, RegistryView};
use crate::registry::{ImageCheck, RateLimit};

/// Images of one answer unless less are wanted.
const IMAGES_DEFAULT: usize = 100;

/// A registry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Registry")]
pub(super) struct RegistryBody {
    /// Its id.
    id: i64,
    /// What people call it.
    name: String,
    /// What it is for.
    description: String,
    /// Where it is.
    registry_url: String,
    /// What names of its images begin with.
    host: String,
    /// Who we are there; empty if nobody, or if a token is shown instead.
    username: String,
    /// Of whom the account is.
    email: String,
    /// Whether a password or token is set. What it is is never shown.
    password_set: bool,
    /// Whether it may be talked to without TLS.
    allow_http: bool,
    /// Whether it is asked.
    enabled: bool,
    /// When its credentials were last tried.
    last_validated: Option<String>,
    /// `valid`, `invalid` or `unknown`.
    validation_status: String,
    /// Why they are not valid, or why that is not known.
    validation_error: Option<String>,
    /// What it said of how much it allows; null if it never did.
    rate_limit: Option<RateLimitBody>,
    /// When it was made.
    created_at: String,
    /// When it was changed last.
    updated_at: String,
}

/// How much a registry allows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "RateLimit")]
pub(super) struct RateLimitBody {
    /// How many pulls in a window.
    limit: Option<u64>,
    /// How many are left.
    remaining: Option<u64>,
    /// How long the window is, in seconds.
    window_seconds: Option<u64>,
    /// Whom they are counted for, as the registry says: an address, or an account.
    source: Option<String>,
    /// When this was said.
    told_at: Option<String>,
    /// Until when it is not asked, because it had too many requests.
    blocked_until: Option<String>,
}

impl From<&RateLimit> for RateLimitBody {
    fn from(limit: &RateLimit) -> Self {
        Self {
            limit: limit.limit,
            remaining: limit.remaining,
            window_seconds: limit.window_s,
            source: limit.source.clone(),
            told_at: limit.told_ms.map(rfc3339),
            blocked_until: limit.blocked_until_ms.map(rfc3339),
        }
    }
}

impl RegistryBody {
    fn of(view: RegistryView, limits: &BTreeMap<String, RateLimit>) -> Self {
        Self {
            rate_limit: limits.get(&view.host).map(RateLimitBody::from),
            id: view.id,
            name: view.name,
            description: view.description,
            registry_url: view.url,
            host: view.host,
            username: view.username,
            email: view.email,
            password_set: view.has_password,
            allow_http: view.allow_http,
            enabled: view.enabled,
            last_validated: view.validated_ms.map(rfc3339),
            validation_status: view.validation,
            validation_error: view.validation_error,
            created_at: rfc3339(view.created_ms),
            updated_at: rfc3339(view.changed_ms),
        }
    }
}

/// What a registry is set to. Of one that exists, what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with name, registry_url, username and password"
)]
#[schema(title = "RegistryFields")]
pub(super) struct RegistryFieldsBody {
    /// What people call it.
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// Where it is: its host, with `https://` or, where `allow_http` says so, `http://` before it.
    registry_url: Option<String>,
    /// Who we are there; without, the password is a token that the registry itself takes.
    username: Option<String>,
    /// The password or token; empty removes it. To be given again when the registry is somewhere else.
    #[serde(alias = "auth_token")]
    password: Option<String>,
    /// Of whom the account is.
    email: Option<String>,
    /// Whether it may be talked to without TLS.
    allow_http: Option<bool>,
    /// Whether it is asked.
    enabled: Option<bool>,
}

impl From<RegistryFieldsBody> for RegistryFields {
    fn from(body: RegistryFieldsBody) -> Self {
        Self {
            name: body.name,
            description: body.description,
            url: body.registry_url,
            username: body.username,
            password: body.password,
            email: body.email,
            allow_http: body.allow_http,
            enabled: body.enabled,
        }
    }
}

/// What is known of an image for one platform.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "ImageCheck")]
pub(super) struct ImageBody {
    /// The image, in normal form.
    image: String,
    /// As people write it.
    name: String,
    /// The platform of the servers that run it.
    platform: String,
    /// `checked`, `failed` (the rest is what the last check found that succeeded) or `never` (none has).
    status: &'static str,
    /// Why the last check failed.
    error: Option<String>,
    /// How many checks have failed since one succeeded.
    failures: u32,
    /// What the tag names.
    digest: Option<String>,
    /// What of that is for the platform; null where nobody had to know.
    platform_digest: Option<String>,
    /// When that was first seen here.
    first_seen_at: Option<String>,
    /// The version that its builder says it is.
    version: Option<String>,
    /// Where people read what has changed.
    release_notes_url: Option<String>,
    /// When it was last checked with success.
    checked_at: Option<String>,
    /// When a check was last tried.
    tried_at: String,
}

impl From<ImageCheck> for ImageBody {
    fn from(check: ImageCheck) -> Self {
        let status = match (&check.error, check.checked_ms) {
            (_, None) => "never",
            (Some(_), Some(_)) => "failed",
            (None, Some(_)) => "checked",
        };
        Self {
            image: check.reference.to_string(),
            name: check.reference.familiar(),
            platform: check.platform.to_string(),
            status,
            error: check.error,
            failures: check.failures,
            digest: check.digest.map(String::from),
            platform_digest: check.platform_digest.map(String::from),
            first_seen_at: check.first_seen_ms.map(rfc3339),
            release_notes_url: check.details.release_notes(&check.reference),
            version: check.details.version,
            checked_at: check.checked_ms.map(rfc3339),
            tried_at: rfc3339(check.tried_ms),
        }
    }
}

/// What checks found, and how much registries allow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Images")]
pub(super) struct ImagesBody {
    /// What checks found, by name and platform.
    items: Vec<ImageBody>,
    /// How many there are in all.
    total: u64,
    /// What to give as cursor for the next part; null if this is the last.
    next: Option<String>,
    /// How much registries said they allow, by registry.
    rate_limits: BTreeMap<String, RateLimitBody>,
}

/// All registries.
#[utoipa::path(
    get, path = "/api/containers/registries", tag = "containers", operation_id = "list_registries",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<RegistryBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(part): Query<PartQuery>,
) -> Result<Json<List<RegistryBody>>, Problem> {
    let request = part.request()?;
    let page = state.app.registries(request).await?;
    let limits = state.registries.limits();
    Ok(Json(List::of(page, |view| RegistryBody::of(view, &limits))))
}

/// Makes a registry.
#[utoipa::path(
    post, path = "/api/containers/registries", tag = "containers", operation_id = "create_registry",
    request_body = RegistryFieldsBody,
    responses(
        (status = 201, body = RegistryBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    Json(body): Json<RegistryFieldsBody>,
) -> Result<Created<RegistryBody>, Problem> {
    let view = state.app.create_registry(body.into()).await?;
    let made = RegistryBody::of(view, &state.registries.limits());
    Ok(Created {
        location: format!("/api/containers/registries/{}", made.id),
        told: told(&made),
        body: made,
    })
}

/// One registry.
#[utoipa::path(
    get, path = "/api/containers/registries/{id}", tag = "containers", operation_id = "get_registry",
    params(("id" = i64, Path, description = "id of the registry")),
    responses(
        (status = 200, body = RegistryBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<RegistryBody>, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    let view = state.app.registry(id).await?;
    Ok(Json(RegistryBody::of(view, &state.registries.limits())))
}

/// Changes a registry: what is absent stays.
#[utoipa::path(
    put, path = "/api/containers/registries/{id}", tag = "containers", operation_id = "change_registry",
    params(("id" = i64, Path, description = "id of the registry")),
    request_body = RegistryFieldsBody,
    responses(
        (status = 200, body = RegistryBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Json(body): Json<RegistryFieldsBody>,
) -> Result<impl IntoResponse, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    let view = state.app.change_registry(id, body.into()).await?;
    let changed = RegistryBody::of(view, &state.registries.limits());
    Ok((Extension(Told(told(&changed))), Json(changed)))
}

/// Removes a registry with its credentials.
#[utoipa::path(
    delete, path = "/api/containers/registries/{id}", tag = "containers", operation_id = "delete_registry",
    params(("id" = i64, Path, description = "id of the registry")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    state.app.remove_registry(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Logs in to a registry, and says how that went.
#[utoipa::path(
    post, path = "/api/containers/registries/{id}/validate", tag = "containers", operation_id = "validate_registry",
    params(("id" = i64, Path, description = "id of the registry")),
    responses(
        (status = 200, body = RegistryBody, description = "validation_status says how it went"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn validate(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    let view = state.registries.validate(id).await?;
    let tried = RegistryBody::of(view, &state.registries.limits());
    let told = format!("{} ({}): {}", tried.name, tried.host, tried.validation_status);
    Ok((Extension(Told(told)), Json(tried)))
}

/// What checks of images found, and how much registries allow.
#[utoipa::path(
    get, path = "/api/containers/images", tag = "containers", operation_id = "list_image_checks",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = ImagesBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn images(
    State(state): State<HttpState>,
    Query(part): Query<PartQuery>,
) -> Result<Json<ImagesBody>, Problem> {
    let request = part.request()?;
    let skip = match request.cursor.as_deref().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(skip)) => skip,
        Some(Err(_)) => {
            return Err(Problem::parameter(
                "cursor",
                "it is not one that an earlier answer gave in next",
            ));
        }
    };
    let limit = request
        .limit
        .map_or(IMAGES_DEFAULT, |limit| (limit as usize).clamp(1, 1_000));
    let checks = state.registries.checks().await.map_err(RegistryUseError::from)?;
    let total = checks.len();
    let items: Vec<ImageBody> = checks
        .into_iter()
        .skip(skip)
        .take(limit)
        .map(ImageBody::from)
        .collect();
    let read = skip.saturating_add(items.len());
    let limits = state.registries.limits();
    Ok(Json(ImagesBody {
        next: (read < total && !items.is_empty()).then(|| read.to_string()),
        items,
        total: total as u64,
        rate_limits: limits
            .iter()
            .map(|(registry, limit)| (registry.clone(), RateLimitBody::from(limit)))
            .collect(),
    }))
}

/// What the audit log keeps of a registry.
fn told(registry: &RegistryBody) -> String {
    let is_enabled = if registry.enabled { "enabled" } else { "disabled" };
    let way = if registry.allow_http {
        ", plain HTTP allowed"
    } else {
        ""
    };
    format!(
        "{} ({}) as {:?}, {is_enabled}{way}",
        registry.name, registry.host, registry.username
    )
}
