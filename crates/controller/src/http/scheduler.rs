//! Work that goes on by itself: how it goes, and having it done now.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use super::access::Told;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, Path, rfc3339};
use crate::task::TaskStatus;

/// How the work goes that goes on by itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Scheduler")]
pub(super) struct SchedulerBody {
    /// `running`, or `failing` if the last run of a task failed.
    status: &'static str,
    /// The tasks by name.
    tasks: Vec<TaskBody>,
}

/// How one kind of work goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Task")]
pub(super) struct TaskBody {
    /// Its name.
    name: &'static str,
    /// Seconds from one run to the next.
    every_s: f64,
    /// When it began last.
    last_run: Option<String>,
    /// When it begins next; null if it is only done when somebody wants it.
    next_run: Option<String>,
    /// How long it took last.
    duration_ms: u64,
    /// `ok`, `failed`, `running`, or `never` if it has not ended once.
    outcome: &'static str,
    /// Why it failed last.
    error: Option<String>,
    /// How often it was done.
    runs: u64,
    /// How often it failed.
    failures: u64,
    /// Whether it can be done at any time.
    can_trigger: bool,
}

impl TaskBody {
    fn of(name: &'static str, status: TaskStatus) -> Self {
        let failures = status.failed + status.panicked;
        let runs = status.succeeded + failures;
        let has_failed = !status.last_error.is_empty();
        Self {
            name,
            every_s: status.every_ms as f64 / 1_000.0,
            last_run: (0 < runs).then(|| rfc3339(status.last_run_ms)),
            next_run: status.next_run_ms.map(rfc3339),
            duration_ms: status.last_duration_ms,
            outcome: match (status.is_running, runs, has_failed) {
                (true, ..) => "running",
                (false, 0, _) => "never",
                (false, _, true) => "failed",
                (false, _, false) => "ok",
            },
            error: has_failed.then_some(status.last_error),
            runs,
            failures,
            can_trigger: true,
        }
    }
}

/// How the work goes that goes on by itself.
#[utoipa::path(
    get, path = "/api/infrastructure/scheduler/status", tag = "scheduler",
    responses(
        (status = 200, body = SchedulerBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(State(state): State<HttpState>) -> Json<SchedulerBody> {
    let tasks: Vec<TaskBody> = state
        .tasks
        .all()
        .into_iter()
        .map(|(name, status)| TaskBody::of(name, status))
        .collect();
    let is_failing = tasks.iter().any(|task| task.error.is_some());
    Json(SchedulerBody {
        status: if is_failing { "failing" } else { "running" },
        tasks,
    })
}

/// Has a task done now, or once more if it is being done. How it went is in the status.
#[utoipa::path(
    post, path = "/api/infrastructure/scheduler/tasks/{name}/run", tag = "scheduler",
    params(("name" = String, Path, description = "name of the task")),
    responses(
        (status = 202, body = TaskBody, description = "how it was before"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn run(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Extension<Told>, Json<TaskBody>), Problem> {
    let Some((name, status)) = state.tasks.run_now(&name) else {
        return Err(Problem::new(Code::TaskNotFound, "the status lists the tasks"));
    };
    let told = Told(name.to_owned());
    Ok((
        StatusCode::ACCEPTED,
        Extension(told),
        Json(TaskBody::of(name, status)),
    ))
}
