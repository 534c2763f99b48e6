//! Collecting now, outside the cadence.

use axum::extract::State;
use axum::http::StatusCode;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, Path};
use super::servers::server_id;
use crate::app::collect::CollectOutcome;
use crate::app::servers::{ServerFilter, ServerView};

/// How the collection of one server went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Collection")]
pub(super) struct CollectionBody {
    /// The server.
    server_id: i64,
    /// Its name.
    hostname: String,
    /// Whether every collector did what it should; false also while it is still running.
    success: bool,
    /// What failed, or that it is still running.
    message: String,
}

/// How the collections of all servers went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Collections")]
pub(super) struct CollectionsBody {
    /// Monitored servers.
    total: usize,
    /// Of these, collected without a failure.
    successful: usize,
    /// Of these, with a failure or not connected.
    failed: usize,
    /// Of these, not over yet.
    still_running: usize,
    /// One for each that did not succeed.
    errors: Vec<CollectionBody>,
}

/// What to say of an outcome.
const STILL_RUNNING: &str = "the collection is still running";
const NOT_CONNECTED: &str = "the agent is not connected";
const NONE_CONNECTED: &str = "no agent of a monitored server is connected";
const COLLECTED: &str = "collected";

/// Has a server's agent collect everything now, and waits up to 20 s until the facts can be asked for.
#[utoipa::path(
    post, path = "/api/infrastructure/servers/{id}/collect", tag = "collections",
    params(("id" = i64, Path, description = "id of the server")),
    responses(
        (status = 200, body = CollectionBody),
        (status = 202, body = CollectionBody, description = "still running"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "the agent is not connected"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<CollectionBody>), Problem> {
    let server = state.app.server(server_id(&id)?).await?;
    let outcome = state.collect.collect_now(server.id).await;
    let status = match outcome {
        CollectOutcome::Done { .. } => StatusCode::OK,
        CollectOutcome::StillRunning => StatusCode::ACCEPTED,
        CollectOutcome::NotConnected => return Err(Problem::new(Code::AgentNotConnected, NOT_CONNECTED)),
    };
    Ok((status, Json(body(server, outcome))))
}

/// Has the agents of all monitored servers collect everything now, and waits up to 20 s.
#[utoipa::path(
    post, path = "/api/infrastructure/collect", tag = "collections",
    responses(
        (status = 200, body = CollectionsBody),
        (status = 202, body = CollectionsBody, description = "some are still running"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "no agent is connected"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn all(
    State(state): State<HttpState>,
) -> Result<(StatusCode, Json<CollectionsBody>), Problem> {
    let monitored = ServerFilter {
        monitoring_enabled: Some(true),
    };
    let servers = state.app.all_servers(monitored).await?;
    let total = servers.len();
    let collecting = &state.collect;
    let outcomes: Vec<(ServerView, CollectOutcome)> = stream::iter(servers)
        .map(async |server| {
            let outcome = collecting.collect_now(server.id).await;
            (server, outcome)
        })
        // Each waits for its agent, so all may wait together; the servers' number bounds them.
        .buffer_unordered(total.max(1))
        .collect()
        .await;
    let is_asked = |(_, outcome): &(_, CollectOutcome)| !matches!(outcome, CollectOutcome::NotConnected);
    if !outcomes.iter().any(is_asked) {
        return Err(Problem::new(Code::AgentNotConnected, NONE_CONNECTED));
    }
    let mut summary = CollectionsBody {
        total,
        successful: 0,
        failed: 0,
        still_running: 0,
        errors: Vec::new(),
    };
    for (server, outcome) in outcomes {
        match outcome {
            CollectOutcome::Done { success: true, .. } => {
                summary.successful += 1;
                continue;
            }
            CollectOutcome::StillRunning => summary.still_running += 1,
            CollectOutcome::Done { success: false, .. } | CollectOutcome::NotConnected => summary.failed += 1,
        }
        summary.errors.push(body(server, outcome));
    }
    summary.errors.sort_unstable_by_key(|error| error.server_id);
    let status = if summary.still_running == 0 {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(summary)))
}

/// The same under the name it had.
#[utoipa::path(
    post, path = "/api/infrastructure/scheduler/trigger-collection", tag = "collections",
    responses(
        (status = 200, body = CollectionsBody),
        (status = 202, body = CollectionsBody, description = "some are still running"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "no agent is connected"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn all_as_before(
    state: State<HttpState>,
) -> Result<(StatusCode, Json<CollectionsBody>), Problem> {
    all(state).await
}

fn body(server: ServerView, outcome: CollectOutcome) -> CollectionBody {
    let (success, message) = match outcome {
        CollectOutcome::Done { success, message } if message.is_empty() => (
            success,
            if success {
                COLLECTED
            } else {
                "some collectors failed"
            }
            .to_owned(),
        ),
        CollectOutcome::Done { success, message } => (success, message),
        CollectOutcome::StillRunning => (false, STILL_RUNNING.to_owned()),
        CollectOutcome::NotConnected => (false, NOT_CONNECTED.to_owned()),
    };
    CollectionBody {
        server_id: server.id.0,
        hostname: server.hostname,
        success,
        message,
    }
}
