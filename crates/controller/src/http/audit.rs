//! The audit log: who did what.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Problem, ProblemBody};
use super::extract::{Json, List, Query, page_request, rfc3339, time_ms};
use crate::app::audit::{AuditFilter, Recorded};

/// Which entries are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    actor: Option<String>,
    action: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "AuditEntry")]
pub(super) struct EntryBody {
    /// Its number in the chain.
    id: i64,
    /// When.
    time: String,
    /// Who: `user`, `api_token`, `agent`, `local`, `system` or `nobody`.
    actor_kind: String,
    /// Id of the account, API token or agent; for `local` the user id on the controller's machine.
    actor_id: Option<String>,
    /// Name of the account; of an API token, of its owner.
    actor: Option<String>,
    /// Address it came from.
    peer: Option<String>,
    /// What was done or tried.
    #[schema(example = "server.create")]
    action: String,
    /// To what.
    target: String,
    /// `allowed`, `refused`, `failed`, or `unknown` if the controller ended before it could tell.
    outcome: String,
    /// Why it was refused or failed, or is not known.
    reason: Option<String>,
    /// What else is worth knowing.
    detail: Option<String>,
    /// How many events the entry stands for; of frequent refusals only some have an entry of their own.
    count: i64,
    /// Signature of the entry and of all before it.
    hash: String,
}

impl From<Recorded> for EntryBody {
    fn from(entry: Recorded) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: entry.id,
            time: rfc3339(entry.time_ms),
            actor_kind: entry.actor_kind,
            actor_id: given(entry.actor_id),
            actor: given(entry.actor_name),
            peer: given(entry.peer),
            action: entry.action,
            target: entry.target,
            outcome: entry.outcome,
            reason: given(entry.reason),
            detail: given(entry.detail),
            count: entry.count,
            hash: entry.hash,
        }
    }
}

/// Who did what, newest first.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit",
    params(
        ("actor" = Option<String>, Query, description = "only of the account with this name"),
        ("action" = Option<String>, Query, description = "only this action"),
        ("from" = Option<String>, Query, description = "only since this time, RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "only before this time, RFC 3339 or Unix seconds"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<EntryBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<EntryBody>>, Problem> {
    let time = |name, text: Option<String>| text.map(|text| time_ms(name, &text)).transpose();
    let filter = AuditFilter {
        from_ms: time("from", query.from)?,
        to_ms: time("to", query.to)?,
        actor: query.actor,
        action: query.action,
    };
    let request = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.app.audit().list(filter, request).await?;
    Ok(Json(List::of(page, EntryBody::from)))
}
