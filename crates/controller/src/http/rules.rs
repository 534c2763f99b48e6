//! Rules of alerts, silences and windows: listing, making, changing, deleting; rules as YAML.
//!
//! Bodies are read by `muster-alert`, which names each field that is wrong.

mod rehearsal;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use muster_alert::rule;
use serde::Deserialize;
use serde_json::{Value, json};

use self::rehearsal::RehearsalBody;
use super::HttpState;
use super::access::{Caller, Told};
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Created, Json, List, Path, Query, duration_ms, id_or, rfc3339};
use crate::alert::{AlertError, KeptRule, OVER_MAX_MS, rehearse};
use crate::store::MuteRow;

/// Which rules are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    enabled: Option<bool>,
    resource_type: Option<String>,
}

fn shown(kept: &KeptRule) -> Value {
    let mut body = kept.rule.to_json();
    body["id"] = json!(kept.rule.id);
    body["builtin"] = json!(kept.default_key.is_some());
    body["created_at"] = json!(rfc3339(kept.created_ms));
    body["updated_at"] = json!(rfc3339(kept.updated_ms));
    body["updated_by"] = json!(kept.updated_by);
    body
}

/// Every rule.
#[utoipa::path(
    get, path = "/api/infrastructure/alert-rules", tag = "alerts",
    params(
        ("enabled" = Option<bool>, Query, description = "only those that are (not) enabled"),
        ("resource_type" = Option<String>, Query, description = "only those of this kind of resource"),
    ),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let rules = state.alerts.rules().await?;
    let items: Vec<Value> = rules
        .iter()
        .filter(|kept| query.enabled.is_none_or(|enabled| kept.rule.enabled == enabled))
        .filter(|kept| {
            query
                .resource_type
                .as_deref()
                .is_none_or(|word| kept.rule.resource_kind.is_some_and(|kind| kind.as_str() == word))
        })
        .map(shown)
        .collect();
    Ok(Json(List {
        total: items.len() as u64,
        items,
        next: None,
    }))
}

/// Makes a rule.
#[utoipa::path(
    post, path = "/api/infrastructure/alert-rules", tag = "alerts",
    request_body = Object,
    responses(
        (status = 201, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<Value>,
) -> Result<Created<Value>, Problem> {
    let rule = rule::read(body).map_err(AlertError::Invalid)?;
    let kept = state.alerts.create_rule(rule, &caller.principal.username).await?;
    let mut body = shown(&kept);
    body["status"] = json!("created");
    Ok(Created {
        location: format!("/api/infrastructure/alert-rules/{}", kept.rule.id),
        told: kept.rule.name,
        body,
    })
}

/// One rule.
#[utoipa::path(
    get, path = "/api/infrastructure/alert-rules/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "number of the rule")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::RuleNotFound)?;
    Ok(Json(shown(&state.alerts.rule(id).await?)))
}

/// Changes fields of a rule; what is not named stays. Alerts of what it does not judge any more end.
#[utoipa::path(
    patch, path = "/api/infrastructure/alert-rules/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "number of the rule")),
    request_body = Object,
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Result<(Extension<Told>, Json<Value>), Problem> {
    let id = id_or(&id, Code::RuleNotFound)?;
    let kept = state
        .alerts
        .patch_rule(id, body, &caller.principal.username)
        .await?;
    let mut body = shown(&kept);
    body["status"] = json!("updated");
    Ok((Extension(Told(kept.rule.name)), Json(body)))
}

/// Deletes a rule; its alerts end.
#[utoipa::path(
    delete, path = "/api/infrastructure/alert-rules/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "number of the rule")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::RuleNotFound)?;
    state.alerts.delete_rule(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Over how long a rule is judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestQuery {
    over: Option<String>,
}

/// What a rule would say now, and with `over` what it would have said: of stored samples, by the same engine. Nothing is
/// written and nobody is told. The body may have fields that are to be other than they are, as for a change.
#[utoipa::path(
    post, path = "/api/infrastructure/alert-rules/{id}/test", tag = "alerts",
    params(
        ("id" = i64, Path, description = "number of the rule"),
        ("over" = Option<String>, Query, description = "also what would have been over within this time, such as 7d; at most 31d"),
    ),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = RehearsalBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<TestQuery>,
    body: Bytes,
) -> Result<Json<RehearsalBody>, Problem> {
    let id = id_or(&id, Code::RuleNotFound)?;
    let over_ms = over(&query)?;
    let changes: Value = if body.is_empty() {
        json!({})
    } else {
        axum::Json::from_bytes(&body).map_err(Problem::from)?.0
    };
    let rule = state.alerts.changed_rule(id, changes).await?;
    let name = rule.name.clone();
    let rehearsal = rehearse(&state.app, &state.series, rule, over_ms).await?;
    Ok(Json(RehearsalBody::of(Some(id), name, &rehearsal)))
}

/// The same for a rule that is not kept: the body is the rule.
#[utoipa::path(
    post, path = "/api/infrastructure/alert-rules/test", tag = "alerts",
    params(("over" = Option<String>, Query, description = "also what would have been over within this time, such as 7d; at most 31d")),
    request_body = Object,
    responses(
        (status = 200, body = RehearsalBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test_new(
    State(state): State<HttpState>,
    Query(query): Query<TestQuery>,
    Json(body): Json<Value>,
) -> Result<Json<RehearsalBody>, Problem> {
    let over_ms = over(&query)?;
    let rule = rule::read(body).map_err(AlertError::Invalid)?;
    let name = rule.name.clone();
    let rehearsal = rehearse(&state.app, &state.series, rule, over_ms).await?;
    Ok(Json(RehearsalBody::of(None, name, &rehearsal)))
}

fn over(query: &TestQuery) -> Result<i64, Problem> {
    let Some(text) = &query.over else {
        return Ok(0);
    };
    let over_ms = duration_ms("over", text)?;
    if OVER_MAX_MS < over_ms {
        return Err(Problem::parameter("over", "at most 31d can be looked back on"));
    }
    Ok(over_ms)
}

/// Every rule as YAML, as import takes it.
#[utoipa::path(
    get, path = "/api/infrastructure/alert-rules/export", tag = "alerts",
    responses(
        (status = 200, body = String, content_type = "application/yaml"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn export(State(state): State<HttpState>) -> Result<Response, Problem> {
    let rules: Vec<Value> = state
        .alerts
        .rules()
        .await?
        .iter()
        .map(|kept| kept.rule.to_json())
        .collect();
    let text =
        serde_norway::to_string(&json!({"rules": rules})).map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

/// Makes rules of YAML: all of them, or none if one of them is refused. One whose name is there already replaces it.
#[utoipa::path(
    post, path = "/api/infrastructure/alert-rules/import", tag = "alerts",
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn import(
    State(state): State<HttpState>,
    caller: Caller,
    text: String,
) -> Result<Json<List<Value>>, Problem> {
    let rules = rule::read_yaml(&text).map_err(AlertError::Invalid)?;
    let by = &caller.principal.username;
    let kept = state.alerts.import_rules(rules, by).await?;
    let items: Vec<Value> = kept.iter().map(shown).collect();
    Ok(Json(List {
        total: items.len() as u64,
        items,
        next: None,
    }))
}

fn shown_mute(row: &MuteRow) -> Value {
    let mut body = row.body.clone();
    body["id"] = json!(row.id);
    body["created_at"] = json!(rfc3339(row.created_ms));
    body["created_by"] = json!(row.created_by);
    body
}

/// Every silence and window.
#[utoipa::path(
    get, path = "/api/infrastructure/silences", tag = "alerts",
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn silences(State(state): State<HttpState>) -> Result<Json<List<Value>>, Problem> {
    let items: Vec<Value> = state.alerts.mutes().await?.iter().map(shown_mute).collect();
    Ok(Json(List {
        total: items.len() as u64,
        items,
        next: None,
    }))
}

/// Makes a silence (`ends`, perhaps `starts`) or a window (`cron` with `duration`, or `days` with `from` and `to`; in
/// `timezone`) of what `scope` names: `servers`, `tags`, `resources`, `rules`, or `everything`.
#[utoipa::path(
    post, path = "/api/infrastructure/silences", tag = "alerts",
    request_body = Object,
    responses(
        (status = 201, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_silence(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<Value>,
) -> Result<Created<Value>, Problem> {
    let row = state
        .alerts
        .put_mute(None, body, &caller.principal.username)
        .await?;
    Ok(Created {
        location: format!("/api/infrastructure/silences/{}", row.id),
        told: row.body.to_string(),
        body: shown_mute(&row),
    })
}

/// Puts another in the place of a silence or window.
#[utoipa::path(
    put, path = "/api/infrastructure/silences/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "number of the silence or window")),
    request_body = Object,
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn replace_silence(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::SilenceNotFound)?;
    let row = state
        .alerts
        .put_mute(Some(id), body, &caller.principal.username)
        .await?;
    Ok(Json(shown_mute(&row)))
}

/// Ends a silence or window: what is active and untold is told.
#[utoipa::path(
    delete, path = "/api/infrastructure/silences/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "number of the silence or window")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_silence(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::SilenceNotFound)?;
    state.alerts.delete_mute(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
