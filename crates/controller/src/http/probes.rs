//! Whether the controller lives and whether it can be asked: for supervisors, without a token.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::HttpState;
use super::extract::Json;

/// Whether both ports accept and queries are complete. Set by whoever starts and stops the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Everything is there.
    Ready,
    /// Something is not there yet, or not any more; the text says what.
    NotReady(String),
}

impl Readiness {
    /// That the controller ends: what goes on for long should end as well.
    pub const ENDING: &str = "shutting down";

    /// Whether the controller ends.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self, Self::NotReady(why) if why == Self::ENDING)
    }
}

/// A probe's answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Probe")]
pub(super) struct ProbeBody {
    /// `ok`, or `not_ready`.
    status: &'static str,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How many parts of the sample store were found damaged since the start; absent if none was. What is left is
    /// served.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
}

/// The sender and receiver through which readiness is told; it begins as not ready.
#[must_use]
pub fn readiness() -> (watch::Sender<Readiness>, watch::Receiver<Readiness>) {
    watch::channel(Readiness::NotReady("starting".to_owned()))
}

/// Whether the controller answers at all.
#[utoipa::path(
    get, path = "/healthz", tag = "probes",
    responses((status = 200, body = ProbeBody))
)]
pub(super) async fn healthz() -> Json<ProbeBody> {
    Json(ProbeBody {
        status: "ok",
        reason: None,
        damaged: None,
    })
}

/// Whether both ports accept and queries are complete.
#[utoipa::path(
    get, path = "/readyz", tag = "probes",
    responses((status = 200, body = ProbeBody), (status = 503, body = ProbeBody))
)]
pub(super) async fn readyz(State(state): State<HttpState>) -> Response {
    let readiness = state.ready.borrow().clone();
    match readiness {
        Readiness::Ready => {
            let damaged = state.series.damaged();
            Json(ProbeBody {
                status: "ok",
                reason: None,
                damaged: Some(damaged).filter(|damaged| 0 < *damaged),
            })
            .into_response()
        }
        Readiness::NotReady(reason) => {
            let body = ProbeBody {
                status: "not_ready",
                reason: Some(reason),
                damaged: None,
            };
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
