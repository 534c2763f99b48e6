//! Containers: what runs where, what there is for it, why it is (not) updated, and how it goes.

mod acts;
mod body;
mod events;
mod hosts;
mod policies;
mod rollouts;
mod updates;

use axum::extract::State;
use muster_base::id::{ResourceId, ServerId};
use muster_samples::Matcher;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::routes;

use super::HttpState;
use super::access::{Access, Routes};
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, flag, id_or, page_request, rfc3339};
use crate::app::auth::Role;
use crate::update::{IssueError, UpdateError};

/// Every route of containers. What is literal in a path stands before what is a number: the router prefers it, and no
/// number is a word.
pub(super) fn add(routes: Routes) -> Routes {
    let look = Access::Needs(Role::Viewer);
    let act = Access::Needs(Role::Operator);
    let administer = Access::Needs(Role::Admin);
    let routes = routes
        .add(look, routes!(hosts::list))
        .change(administer, "container_host.create", routes!(hosts::create))
        .add(look, routes!(hosts::get))
        .change(administer, "container_host.change", routes!(hosts::put))
        .change(administer, "container_host.delete", routes!(hosts::delete))
        .change(act, "container_host.sync", routes!(hosts::sync))
        .add(look, routes!(hosts::stats))
        .add(look, routes!(list))
        .add(look, routes!(acts::missing))
        .add(look, routes!(events::events))
        .add(look, routes!(get))
        .add(look, routes!(stats))
        .add(look, routes!(explain))
        .change(act, "container.start", routes!(acts::start))
        .change(act, "container.stop", routes!(acts::stop))
        .change(act, "container.restart", routes!(acts::restart))
        .change(act, "container.pause", routes!(acts::pause))
        .change(act, "container.unpause", routes!(acts::unpause))
        .change(act, "container.remove", routes!(acts::remove))
        .change(act, "container.forget", routes!(acts::forget))
        .change(act, "container.logs", routes!(acts::logs));
    of_updates(routes, look, act, administer)
}

fn of_updates(routes: Routes, look: Access, act: Access, administer: Access) -> Routes {
    routes
        .add(look, routes!(updates::list))
        .add(look, routes!(updates::history))
        .change(act, "update.check", routes!(updates::check))
        .add(look, routes!(updates::check_round))
        .add(look, routes!(updates::get))
        .change(act, "update.execute", routes!(updates::execute))
        .change(act, "update.approve", routes!(updates::approve))
        .change(act, "update.reject", routes!(updates::reject))
        .change(act, "update.rollback", routes!(updates::rollback))
        .add(look, routes!(updates::notices))
        .add(look, routes!(policies::policies))
        .change(
            administer,
            "update_policy.create",
            routes!(policies::create_policy),
        )
        .add(look, routes!(policies::policy))
        .change(administer, "update_policy.change", routes!(policies::put_policy))
        .change(
            administer,
            "update_policy.delete",
            routes!(policies::delete_policy),
        )
        .add(look, routes!(policies::windows))
        .change(
            administer,
            "maintenance_window.create",
            routes!(policies::create_window),
        )
        .add(look, routes!(policies::window))
        .change(
            administer,
            "maintenance_window.change",
            routes!(policies::put_window),
        )
        .change(
            administer,
            "maintenance_window.delete",
            routes!(policies::delete_window),
        )
        .add(look, routes!(policies::freeze))
        .change(act, "update.freeze", routes!(policies::set_freeze))
        .add(look, routes!(policies::bad_digests))
        .change(administer, "bad_digest.forgive", routes!(policies::forgive))
        .add(look, routes!(rollouts::list))
        .change(act, "rollout.create", routes!(rollouts::create))
        .add(look, routes!(rollouts::get))
        .change(act, "rollout.pause", routes!(rollouts::pause))
        .change(act, "rollout.resume", routes!(rollouts::resume))
        .change(act, "rollout.abort", routes!(rollouts::abort))
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Self {
        let detail = error.to_string();
        match error {
            UpdateError::NotFound { what, .. } => {
                let code = match what {
                    "container" => Code::ContainerNotFound,
                    "container host" => Code::ContainerHostNotFound,
                    "update" => Code::UpdateNotFound,
                    "update policy" => Code::UpdatePolicyNotFound,
                    "maintenance window" => Code::WindowNotFound,
                    _ => Code::RolloutNotFound,
                };
                Self::new(code, detail)
            }
            UpdateError::Invalid(problems) => {
                let all: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.field, problem.message))
                    .collect();
                Self {
                    parameter: problems.first().map(|problem| problem.field.clone()),
                    ..Self::new(Code::InvalidBody, all.join("; "))
                }
            }
            UpdateError::NotReady(_) => Self::new(Code::UpdateNotReady, detail),
            UpdateError::State(_) => Self::new(Code::WrongState, detail),
            UpdateError::Frozen(_) => Self::new(Code::Frozen, detail),
            UpdateError::TooMany(_) => Self::new(Code::LimitReached, detail),
            UpdateError::Issue(IssueError::Store(error)) => Self::internal(&error),
            UpdateError::Issue(_) => Self::new(Code::CommandNotIssued, detail),
            UpdateError::App(error) => error.into(),
            UpdateError::Store(error) => Self::internal(&error),
        }
    }
}

/// Which containers are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContainersQuery {
    host_id: Option<i64>,
    server_id: Option<i64>,
    status: Option<String>,
    update_available: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Every container that is there. `update_available` is null where that cannot be told.
#[utoipa::path(
    get, path = "/api/containers", tag = "containers",
    params(("host_id" = Option<i64>, Query, description = "only of this runtime"), ("server_id" = Option<i64>, Query, description = "only of this server"), ("status" = Option<String>, Query, description = "only with this status, such as running"), ("update_available" = Option<bool>, Query, description = "only those for which there is (nothing) new"), ("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent"), ("cursor" = Option<String>, Query, description = "next of the answer before")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ContainersQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let wanted = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let available = flag("update_available", query.update_available.as_deref())?;
    let mut server = query.server_id.map(ServerId);
    let mut runtime_key = None;
    if let Some(host) = query.host_id {
        let host = state.updates.runtime(host).await?;
        if server.is_some_and(|server| server != host.view.server) {
            return Err(Problem::parameter("host_id", "the host is on another server"));
        }
        server = Some(host.view.server);
        runtime_key = Some(host.view.key);
    }
    if let Some(server) = server {
        state.app.server(server).await?;
    }
    let all = state.updates.containers(server).await?;
    let known = state.updates.availability(&all).await?;
    let (limit, after) = (wanted.limit() as usize, wanted.after()?);
    let found: Vec<_> = all
        .into_iter()
        .filter(|seen| {
            runtime_key
                .as_ref()
                .is_none_or(|key| seen.target.runtime.as_str() == key)
        })
        .filter(|seen| {
            query
                .status
                .as_ref()
                .is_none_or(|word| body::status(seen) == word)
        })
        .filter(|seen| {
            let is_available = known.get(&seen.container.id).and_then(body::is_available);
            available.is_none_or(|wanted| is_available == Some(wanted))
        })
        .collect();
    let total = found.len() as u64;
    let mut rest = found.into_iter().filter(|seen| after < seen.container.id);
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let next = rest
        .next()
        .and(page.last())
        .map(|seen| seen.container.id.to_string());
    let names = body::Names::of(&state).await?;
    let items = page
        .iter()
        .map(|seen| body::container(seen, known.get(&seen.container.id), &names))
        .collect();
    Ok(Json(List { items, total, next }))
}

/// One container.
#[utoipa::path(
    get, path = "/api/containers/{id}", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let seen = state.updates.container(id).await?;
    let known = state.updates.availability(std::slice::from_ref(&seen)).await?;
    let names = body::Names::of(&state).await?;
    Ok(Json(body::container(&seen, known.get(&id), &names)))
}

/// Why a container is (not) updated: what is decided, and every rule that was asked, in words.
#[utoipa::path(
    get, path = "/api/containers/{id}/explain", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn explain(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    Ok(Json(body::judged(&state.updates.explain(id).await?)))
}

/// The latest numbers of a container, named as cAdvisor names them.
#[utoipa::path(
    get, path = "/api/containers/{id}/stats", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stats(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let seen = state.updates.container(id).await?;
    let names = state.app.server_names().await?;
    let selector = vec![Matcher::equal("server_id", seen.server().to_string())];
    let now_ms = state.app.clock().now_ms();
    let latest = state.series.latest(names, vec![selector], now_ms).await?;
    let samples: Vec<Value> = latest
        .into_iter()
        .filter(|series| series.resource == ResourceId(id) && series.value.is_finite())
        .map(|series| {
            let labels: serde_json::Map<String, Value> = series
                .labels
                .into_iter()
                .map(|(name, value)| (name, json!(value)))
                .collect();
            json!({
                "metric": &*series.name, "labels": labels, "value": series.value, "at": rfc3339(series.time_ms),
            })
        })
        .collect();
    Ok(Json(
        json!({"container_id": id, "name": seen.view.name, "samples": samples}),
    ))
}
