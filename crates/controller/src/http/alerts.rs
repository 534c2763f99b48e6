//! Alerts: looking at them, and saying that one knows, that one is over, or that it can wait.

use axum::body::Bytes;
use axum::extract::{Extension, State};
use muster_alert::{AlertState, Severity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod body;
pub(super) mod events;
pub(super) mod stats;

pub(super) use self::body::AlertBody;
use super::HttpState;
use super::access::{Caller, Told};
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, duration_ms, id_or, page_request, time_ms};
use crate::alert::{AlertError, Deed};
use crate::app::PAGE_LIMIT_DEFAULT;
use crate::store::AlertFilter;

/// Most alerts that one request acknowledges or resolves.
const AT_ONCE_MAX: u64 = 1_000;
/// Longest snooze, ms.
const SNOOZE_MAX_MS: i64 = 90 * 24 * 3_600_000;

/// Which alerts are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    status: Option<String>,
    status_filter: Option<String>,
    severity: Option<String>,
    server_id: Option<i64>,
    resource_id: Option<i64>,
    alert_rule_id: Option<i64>,
    start: Option<String>,
    end: Option<String>,
}

/// What somebody says with a deed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(title = "AlertNote")]
pub(super) struct NoteBody {
    /// For those who look later, at most 2000 characters.
    note: Option<String>,
}

/// How long an alert can wait.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with until or for")]
#[schema(title = "Snooze")]
pub(super) struct SnoozeBody {
    /// Until when, RFC 3339.
    until: Option<String>,
    /// For how long, such as `2h`.
    #[serde(rename = "for")]
    for_time: Option<String>,
}

/// How many alerts were changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "AlertsChanged")]
pub(super) struct ChangedBody {
    /// How many.
    changed: u64,
}

/// Alerts, the newest first.
#[utoipa::path(
    get, path = "/api/infrastructure/alerts", tag = "alerts",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
        ("status" = Option<String>, Query, description = "pending, active, acknowledged, resolved, several with commas; open is active and acknowledged"),
        ("severity" = Option<String>, Query, description = "info, warning, critical, several with commas"),
        ("server_id" = Option<i64>, Query, description = "of this server"),
        ("resource_id" = Option<i64>, Query, description = "of this resource"),
        ("alert_rule_id" = Option<i64>, Query, description = "of this rule"),
        ("start" = Option<String>, Query, description = "begun at this time or later"),
        ("end" = Option<String>, Query, description = "begun before this time"),
    ),
    responses(
        (status = 200, body = List<AlertBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<AlertBody>>, Problem> {
    let request = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = filter(&query)?;
    let before = match &request.cursor {
        None => None,
        Some(cursor) => Some(cursor.parse().map_err(|_| {
            Problem::parameter("cursor", "it is not one that an earlier answer gave in next")
        })?),
    };
    let limit = request.limit.unwrap_or(PAGE_LIMIT_DEFAULT);
    let (mut alerts, total) = state.app.alerts(&filter, before, u64::from(limit) + 1).await?;
    let has_more = limit as usize <= alerts.len().saturating_sub(1);
    alerts.truncate(limit as usize);
    let next = alerts
        .last()
        .filter(|_| has_more)
        .map(|alert| alert.id.to_string());
    Ok(Json(List {
        items: body::of_all(&state.app, alerts).await?,
        total,
        next,
    }))
}

/// The same under the name it had.
#[utoipa::path(
    get, path = "/api/infrastructure/alerts/infrastructure", tag = "alerts",
    responses(
        (status = 200, body = List<AlertBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_as_before(
    state: State<HttpState>,
    query: Query<ListQuery>,
) -> Result<Json<List<AlertBody>>, Problem> {
    list(state, query).await
}

/// One alert.
#[utoipa::path(
    get, path = "/api/infrastructure/alerts/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "number of the alert")),
    responses(
        (status = 200, body = AlertBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<AlertBody>, Problem> {
    let id = id_or(&id, Code::AlertNotFound)?;
    Ok(Json(body::whole(&state.app, state.app.alert(id).await?).await?))
}

/// Says that somebody knows. The name is the caller's own.
#[utoipa::path(
    post, path = "/api/infrastructure/alerts/{id}/acknowledge", tag = "alerts",
    params(("id" = i64, Path, description = "number of the alert")),
    request_body(content = Option<NoteBody>, content_type = "application/json"),
    responses(
        (status = 200, body = AlertBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn acknowledge(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
    body: Bytes,
) -> Result<(Extension<Told>, Json<AlertBody>), Problem> {
    act(state, caller, id, Deed::Acknowledge, note(&body)?).await
}

/// Says that an alert is over. If its condition goes on holding it opens again after the rule's cooldown.
#[utoipa::path(
    post, path = "/api/infrastructure/alerts/{id}/resolve", tag = "alerts",
    params(("id" = i64, Path, description = "number of the alert")),
    request_body(content = Option<NoteBody>, content_type = "application/json"),
    responses(
        (status = 200, body = AlertBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resolve(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
    body: Bytes,
) -> Result<(Extension<Told>, Json<AlertBody>), Problem> {
    act(state, caller, id, Deed::Resolve, note(&body)?).await
}

/// Lets an alert wait: nobody is reminded of it until then.
#[utoipa::path(
    post, path = "/api/infrastructure/alerts/{id}/snooze", tag = "alerts",
    params(("id" = i64, Path, description = "number of the alert")),
    request_body = SnoozeBody,
    responses(
        (status = 200, body = AlertBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn snooze(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
    Json(body): Json<SnoozeBody>,
) -> Result<(Extension<Told>, Json<AlertBody>), Problem> {
    let now_ms = state.app.clock().now_ms();
    let until_ms = match (&body.until, &body.for_time) {
        (Some(until), None) => {
            time_ms("until", until).map_err(|problem| Problem::field("until", problem.detail))?
        }
        (None, Some(time)) => {
            now_ms + duration_ms("for", time).map_err(|problem| Problem::field("for", problem.detail))?
        }
        _ => return Err(Problem::field("until", "one of until and for is needed")),
    };
    if until_ms <= now_ms || SNOOZE_MAX_MS < until_ms - now_ms {
        return Err(Problem::field(
            "until",
            "a time within the next 90 days is needed",
        ));
    }
    act(state, caller, id, Deed::Snooze(Some(until_ms)), None).await
}

/// Acknowledges every active alert that the filter takes, at most a thousand at once.
#[utoipa::path(
    post, path = "/api/infrastructure/alerts/acknowledge-all", tag = "alerts",
    request_body(content = Option<NoteBody>, content_type = "application/json"),
    responses(
        (status = 200, body = ChangedBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn acknowledge_all(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    body: Bytes,
) -> Result<Json<ChangedBody>, Problem> {
    let filter = filter(&query)?;
    let changed = act_on_all(&state, &caller, filter, &Deed::Acknowledge, note(&body)?).await?;
    Ok(Json(ChangedBody { changed }))
}

/// Resolves every open alert that the filter takes, at most a thousand at once.
#[utoipa::path(
    post, path = "/api/infrastructure/alerts/resolve-all", tag = "alerts",
    request_body(content = Option<NoteBody>, content_type = "application/json"),
    responses(
        (status = 200, body = ChangedBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resolve_all(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    body: Bytes,
) -> Result<Json<ChangedBody>, Problem> {
    let filter = filter(&query)?;
    let changed = act_on_all(&state, &caller, filter, &Deed::Resolve, note(&body)?).await?;
    Ok(Json(ChangedBody { changed }))
}

async fn act(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    deed: Deed,
    note: Option<String>,
) -> Result<(Extension<Told>, Json<AlertBody>), Problem> {
    let id = id_or(&id, Code::AlertNotFound)?;
    state
        .alerts
        .act(id, deed, &caller.principal.username, note)
        .await?;
    let alert = state.app.alert(id).await?;
    let told = Told(alert.rule_name.clone());
    Ok((Extension(told), Json(body::whole(&state.app, alert).await?)))
}

/// Does to all alerts that the filter takes, whatever state it names, what can be done to them; says to how many. At
/// most a thousand at once.
pub(super) async fn act_on_all(
    state: &HttpState,
    caller: &Caller,
    mut filter: AlertFilter,
    deed: &Deed,
    note: Option<String>,
) -> Result<u64, Problem> {
    filter.states = match deed {
        Deed::Acknowledge => vec![AlertState::Active.as_str()],
        Deed::Resolve | Deed::Snooze(_) => {
            vec![AlertState::Active.as_str(), AlertState::Acknowledged.as_str()]
        }
    };
    let (alerts, _) = state.app.alerts(&filter, None, AT_ONCE_MAX).await?;
    let mut changed = 0;
    for alert in alerts {
        let by = &caller.principal.username;
        match state.alerts.act(alert.id, deed.clone(), by, note.clone()).await {
            Ok(()) => changed += 1,
            // It was over in between.
            Err(AlertError::Person(_) | AlertError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(changed)
}

/// The note of a body, which may be left out.
fn note(body: &Bytes) -> Result<Option<String>, Problem> {
    let body: NoteBody = if body.is_empty() {
        NoteBody::default()
    } else {
        axum::Json::from_bytes(body).map_err(Problem::from)?.0
    };
    let note = body.note.filter(|note| !note.trim().is_empty());
    let chars_max = muster_alert::engine::NOTE_CHARS_MAX;
    if note.as_ref().is_some_and(|note| chars_max < note.chars().count()) {
        return Err(Problem::field(
            "note",
            format!("at most {chars_max} characters are taken"),
        ));
    }
    Ok(note)
}

fn filter(query: &ListQuery) -> Result<AlertFilter, Problem> {
    let mut states = Vec::new();
    for word in words(query.status.as_deref().or(query.status_filter.as_deref())) {
        match (word, AlertState::from_word(word)) {
            ("open", _) => states.extend([AlertState::Active.as_str(), AlertState::Acknowledged.as_str()]),
            (_, Some(state)) => states.push(state.as_str()),
            _ => {
                let detail = "pending, active, acknowledged, resolved or open is needed";
                return Err(Problem::parameter("status", detail));
            }
        }
    }
    let mut severities = Vec::new();
    for word in words(query.severity.as_deref()) {
        let severity = Severity::from_word(word)
            .ok_or_else(|| Problem::parameter("severity", "info, warning or critical is needed"))?;
        severities.push(severity.as_str());
    }
    Ok(AlertFilter {
        states,
        severities,
        server: query.server_id,
        resource: query.resource_id,
        rule: query.alert_rule_id,
        from_ms: query
            .start
            .as_deref()
            .map(|text| time_ms("start", text))
            .transpose()?,
        to_ms: query
            .end
            .as_deref()
            .map(|text| time_ms("end", text))
            .transpose()?,
    })
}

fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim)
}

impl From<AlertError> for Problem {
    fn from(error: AlertError) -> Self {
        match error {
            AlertError::NotFound { what: "rule", id } => {
                Self::new(Code::RuleNotFound, format!("there is no rule {id}"))
            }
            AlertError::NotFound { what: "alert", id } => {
                Self::new(Code::AlertNotFound, format!("there is no alert {id}"))
            }
            AlertError::NotFound { id, .. } => Self::new(
                Code::SilenceNotFound,
                format!("there is no silence or window {id}"),
            ),
            AlertError::Invalid(problems) => {
                let all: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.field, problem.message))
                    .collect();
                Self {
                    parameter: problems.first().map(|problem| problem.field.clone()),
                    ..Self::new(Code::InvalidBody, all.join("; "))
                }
            }
            AlertError::Person(error) => Self::new(Code::AlertState, error.to_string()),
            AlertError::TooMany(_) => Self::new(Code::LimitReached, error.to_string()),
            AlertError::App(error) => error.into(),
            AlertError::Series(error) => error.into(),
            error @ (AlertError::Store(_) | AlertError::Intake(_) | AlertError::Ended) => {
                Self::internal(&error)
            }
        }
    }
}
