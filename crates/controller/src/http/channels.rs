//! Channels: where news of alerts go; and deliveries: what became of them.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use muster_notify::{Kind, Options};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::HttpState;
use super::access::Told;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Created, Json, List, PartQuery, Path, Query, id_or, page_request, rfc3339};
use crate::app::channels::{ChannelPatch, ChannelView, DeliveryFilter, DeliveryView, NewChannel};

/// Which deliveries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveriesQuery {
    channel_id: Option<i64>,
    alert_id: Option<i64>,
    state: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Channel")]
pub(super) struct ChannelBody {
    /// Its id.
    id: i64,
    /// What people call it.
    name: String,
    /// `alertmanager`, `discord`, `email`, `gotify`, `ntfy`, `pagerduty`, `pushover`, `slack`, `telegram` or `webhook`.
    kind: String,
    /// Whether it is told anything.
    enabled: bool,
    /// What its kind is set to.
    #[schema(value_type = Object)]
    settings: Value,
    /// Filter, wording and pace.
    #[schema(value_type = Object)]
    options: Value,
    /// Names of the secrets that are set. What they are is never shown.
    secrets_set: Vec<String>,
    /// Where it points to, without anything secret.
    target: String,
    /// When it was made.
    created_at: String,
    /// When it was changed last.
    updated_at: String,
}

impl From<ChannelView> for ChannelBody {
    fn from(view: ChannelView) -> Self {
        Self {
            id: view.id,
            name: view.name,
            kind: view.kind,
            enabled: view.enabled,
            settings: view.settings,
            options: view.options,
            secrets_set: view.secrets,
            target: view.target,
            created_at: rfc3339(view.created_ms),
            updated_at: rfc3339(view.changed_ms),
        }
    }
}

/// A channel to be made.
#[derive(Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with name, kind, settings and secrets"
)]
#[schema(title = "NewChannel")]
pub(super) struct NewChannelBody {
    /// What people call it.
    name: String,
    /// `alertmanager`, `discord`, `email`, `gotify`, `ntfy`, `pagerduty`, `pushover`, `slack`, `telegram` or `webhook`.
    #[schema(value_type = String)]
    kind: Kind,
    /// Whether it is told anything; it is unless this says no.
    enabled: Option<bool>,
    /// What its kind is set to.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// Its secrets by name.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// Filter, wording and pace.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    options: Options,
}

/// Changes to a channel: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object that says what is to change")]
#[schema(title = "ChannelChange")]
pub(super) struct ChannelChangeBody {
    /// What people call it.
    name: Option<String>,
    /// Whether it is told anything; what waits is dropped when it is not.
    enabled: Option<bool>,
    /// What its kind is set to; replaces all settings.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// Secrets by name: a text sets one, null removes one, what is not named stays. All must be given again when the
    /// channel points somewhere else.
    #[serde(default)]
    secrets: BTreeMap<String, Option<String>>,
    /// Filter, wording and pace; replaces all of it.
    #[schema(value_type = Option<Object>)]
    options: Option<Options>,
}

/// What became of news of an alert at one channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Delivery")]
pub(super) struct DeliveryBody {
    /// Its id.
    id: i64,
    /// What was told: the same for all channels.
    notification_id: String,
    /// The channel; null if it was for none.
    channel_id: Option<i64>,
    /// The alert; null if it was a test.
    alert_id: Option<i64>,
    /// What happened to the alert: `firing`, `escalated`, `repeat`, `acknowledged`, `resolved` or `test`.
    kind: String,
    /// What it is called.
    title: String,
    /// `waiting`, `sent`, `dead`, `dropped`, `skipped` or `muted`.
    state: &'static str,
    /// How often it was tried.
    attempts: u32,
    /// When it was handed over.
    created_at: String,
    /// When it is tried next; null if it does not wait.
    next_attempt_at: Option<String>,
    /// When its state last changed.
    updated_at: String,
    /// What the other side last answered, or why it is in this state.
    answer: Option<String>,
}

impl From<DeliveryView> for DeliveryBody {
    fn from(view: DeliveryView) -> Self {
        Self {
            id: view.id,
            notification_id: view.notification_id,
            channel_id: view.channel_id,
            alert_id: view.alert_id,
            kind: view.kind,
            title: view.title,
            state: view.state,
            attempts: view.attempts,
            created_at: rfc3339(view.created_ms),
            next_attempt_at: view.due_ms.map(rfc3339),
            updated_at: rfc3339(view.changed_ms),
            answer: view.answer,
        }
    }
}

/// All channels.
#[utoipa::path(
    get, path = "/api/channels", tag = "channels",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<ChannelBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(part): Query<PartQuery>,
) -> Result<Json<List<ChannelBody>>, Problem> {
    let page = state.app.channels(part.request()?).await?;
    Ok(Json(List::of(page, ChannelBody::from)))
}

/// Makes a channel.
#[utoipa::path(
    post, path = "/api/channels", tag = "channels",
    request_body = NewChannelBody,
    responses(
        (status = 201, body = ChannelBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    Json(body): Json<NewChannelBody>,
) -> Result<Created<ChannelBody>, Problem> {
    let new = NewChannel {
        name: body.name,
        kind: body.kind,
        enabled: body.enabled.unwrap_or(true),
        settings: body.settings.unwrap_or_else(|| serde_json::json!({})),
        secrets: body.secrets,
        options: body.options,
    };
    let made = ChannelBody::from(state.app.create_channel(new).await?);
    Ok(Created {
        location: format!("/api/channels/{}", made.id),
        told: told(&made),
        body: made,
    })
}

/// One channel.
#[utoipa::path(
    get, path = "/api/channels/{id}", tag = "channels",
    params(("id" = i64, Path, description = "id of the channel")),
    responses(
        (status = 200, body = ChannelBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<ChannelBody>, Problem> {
    let id = id_or(&id, Code::ChannelNotFound)?;
    Ok(Json(state.app.channel(id).await?.into()))
}

/// Changes a channel.
#[utoipa::path(
    patch, path = "/api/channels/{id}", tag = "channels",
    params(("id" = i64, Path, description = "id of the channel")),
    request_body = ChannelChangeBody,
    responses(
        (status = 200, body = ChannelBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Json(body): Json<ChannelChangeBody>,
) -> Result<impl IntoResponse, Problem> {
    let id = id_or(&id, Code::ChannelNotFound)?;
    let patch = ChannelPatch {
        name: body.name,
        enabled: body.enabled,
        settings: body.settings,
        secrets: body.secrets,
        options: body.options,
    };
    let changed = ChannelBody::from(state.app.change_channel(id, patch).await?);
    let told = Told(told(&changed));
    Ok((Extension(told), Json(changed)))
}

/// Removes a channel, and drops what waits for it.
#[utoipa::path(
    delete, path = "/api/channels/{id}", tag = "channels",
    params(("id" = i64, Path, description = "id of the channel")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::ChannelNotFound)?;
    state.app.remove_channel(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test the way every alert goes, and waits for what the other side says.
#[utoipa::path(
    post, path = "/api/channels/{id}/test", tag = "channels",
    params(("id" = i64, Path, description = "id of the channel")),
    responses(
        (status = 200, body = DeliveryBody, description = "the other side has it"),
        (status = 202, body = DeliveryBody, description = "the other side has not answered yet"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = id_or(&id, Code::ChannelNotFound)?;
    let tested = state.app.test_channel(id).await?;
    let status = if tested.state == "waiting" {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(DeliveryBody::from(tested))))
}

/// What became of news, the newest first.
#[utoipa::path(
    get, path = "/api/deliveries", tag = "channels",
    params(
        ("channel_id" = Option<i64>, Query, description = "only to this channel"),
        ("alert_id" = Option<i64>, Query, description = "only of this alert"),
        ("state" = Option<String>, Query, description = "only in this state"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<DeliveryBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn deliveries(
    State(state): State<HttpState>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<List<DeliveryBody>>, Problem> {
    let request = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = DeliveryFilter {
        channel_id: query.channel_id,
        alert_id: query.alert_id,
        state: query.state.as_deref(),
    };
    let page = state.app.deliveries(filter, request).await?;
    Ok(Json(List::of(page, DeliveryBody::from)))
}

/// Sends again what was given up.
#[utoipa::path(
    post, path = "/api/deliveries/{id}/retry", tag = "channels",
    params(("id" = i64, Path, description = "id of the delivery")),
    responses(
        (status = 202),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::DeliveryNotFound)?;
    state.app.retry_delivery(id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// What the audit log keeps of a channel.
fn told(channel: &ChannelBody) -> String {
    let is_enabled = if channel.enabled { "enabled" } else { "disabled" };
    format!(
        "{} {} ({}), {is_enabled}",
        channel.kind, channel.name, channel.target
    )
}
