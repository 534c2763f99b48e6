//! Disks of the whole fleet, the verdict on each, and what people decide about it.

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use muster_base::id::ResourceId;
use muster_model::ResourceKind;
use serde::{Deserialize, Serialize};
use smartmontools_parse::{AttributeRule, Overrides};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

use super::HttpState;
use super::access::{Caller, Told};
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, flag, health, id_or, page_request, part};
use super::resources::DeviceBody;
use super::servers::server_id;
use crate::app::AppError;
use crate::app::devices::JudgedDevice;
use crate::app::resources::ResourceFilter;

mod body;
pub(super) mod history;

use body::VerdictBody;

/// Which disks are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceQuery {
    health: Option<String>,
    server: Option<String>,
    server_id: Option<String>,
    #[serde(rename = "type")]
    device_type: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    include_gone: Option<String>,
    #[serde(rename = "virtual")]
    has_virtual: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl DeviceQuery {
    fn filter(&self) -> Result<ResourceFilter, Problem> {
        const TYPES: [&str; 4] = ["hdd", "ssd", "nvme", "unknown"];
        let device_type = self.device_type.clone();
        if device_type
            .as_ref()
            .is_some_and(|word| !TYPES.contains(&word.as_str()))
        {
            return Err(Problem::parameter(
                "type",
                "one of hdd, ssd, nvme, unknown is needed",
            ));
        }
        Ok(ResourceFilter {
            gone_since_ms: None,
            server: self.server_id.as_deref().map(server_id).transpose()?,
            kind: Some(ResourceKind::Device),
            include_gone: flag("include_gone", self.include_gone.as_deref())?.unwrap_or(false),
            disks_only: !flag("virtual", self.has_virtual.as_deref())?.unwrap_or(false),
            health: health(self.health.as_deref())?,
            hostname: part("server", self.server.as_ref())?,
            pool_type: None,
            device_type,
            model: part("model", self.model.as_ref())?,
            serial: part("serial", self.serial.as_ref())?,
        })
    }
}

/// Disks of all servers.
#[utoipa::path(
    get, path = "/api/infrastructure/devices", tag = "storage",
    params(
        ("health" = Option<String>, Query, description = "only those that are healthy, warning, critical, failed or unknown"),
        ("server" = Option<String>, Query, description = "only those of servers of this name"),
        ("server_id" = Option<i64>, Query, description = "only those of this server"),
        ("type" = Option<String>, Query, description = "only hdd, ssd, nvme or unknown"),
        ("model" = Option<String>, Query, description = "only those with this in their model, in any case"),
        ("serial" = Option<String>, Query, description = "only those with this in their serial number, in any case"),
        ("include_gone" = Option<bool>, Query, description = "also those that are gone"),
        ("virtual" = Option<bool>, Query, description = "also what is no disk of its own: compressed memory, files and network connections as disks, optical and floppy drives"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<DeviceBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<List<DeviceBody>>, Problem> {
    let filter = query.filter()?;
    let page = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.app.resources(filter, page).await?;
    Ok(Json(List::of(page, DeviceBody::from)))
}

/// The verdict on a disk: what it rests on, what to do, its attributes, what was accepted and decided, and how it wears.
#[utoipa::path(
    get, path = "/api/infrastructure/devices/{id}/verdict", tag = "storage",
    params(("id" = i64, Path, description = "id of the device")),
    responses(
        (status = 200, body = VerdictBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verdict(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<VerdictBody>, Problem> {
    let judged = state
        .app
        .judged_device(device_id(&id)?)
        .await
        .map_err(no_device)?;
    show(&state, judged).await
}

/// What somebody has to say about the damage they accept.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "an object, with a note if there is one"
)]
#[schema(title = "Acknowledgement")]
pub(super) struct AcknowledgementBody {
    /// A note, at most 1,000 bytes.
    note: Option<String>,
}

/// Accepts the damage that a disk shows now: from here on only what comes on top counts. What the disk itself calls failed
/// is never accepted.
#[utoipa::path(
    post, path = "/api/infrastructure/devices/{id}/baseline", tag = "storage",
    params(("id" = i64, Path, description = "id of the device")),
    request_body(content = Option<AcknowledgementBody>, description = "may be left out"),
    responses(
        (status = 200, body = VerdictBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn acknowledge(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<impl IntoResponse, Problem> {
    let body: AcknowledgementBody = if body.is_empty() {
        AcknowledgementBody::default()
    } else {
        axum::Json::from_bytes(&body).map_err(Problem::from)?.0
    };
    let by = &caller.principal.username;
    let judged = state
        .app
        .acknowledge_device(device_id(&id)?, by, body.note)
        .await
        .map_err(no_device)?;
    let accepted = judged.judgement.baseline.as_ref();
    let counts =
        accepted.map(|accepted| serde_json::to_string(&accepted.baseline.counts).unwrap_or_default());
    let told = Told(format!("accepted={}", counts.unwrap_or_default()));
    Ok((Extension(told), show(&state, judged).await?))
}

/// Forgets what was accepted of a disk: all of its damage counts again.
#[utoipa::path(
    delete, path = "/api/infrastructure/devices/{id}/baseline", tag = "storage",
    params(("id" = i64, Path, description = "id of the device")),
    responses(
        (status = 200, body = VerdictBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn forget_baseline(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<VerdictBody>, Problem> {
    let judged = state
        .app
        .forget_baseline(device_id(&id)?)
        .await
        .map_err(no_device)?;
    show(&state, judged).await
}

/// Rules of a disk's own.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "an object with ignore, attributes or temperatures"
)]
#[schema(title = "Overrides")]
pub(super) struct OverridesBody {
    /// Codes of reasons that are notes from now on, such as `crc_errors`.
    ignore: BTreeSet<String>,
    /// Rules for single ATA attributes, by number.
    attributes: BTreeMap<u8, AttributeRuleBody>,
    /// Degrees Celsius from which the disk is too warm, instead of its own limit.
    temperature_warning: Option<i64>,
    /// Degrees Celsius from which the disk is in danger, instead of its own limit.
    temperature_critical: Option<i64>,
}

/// A rule for one attribute: either it is ignored, or it has limits that take the place of the usual judgement.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(title = "AttributeRule")]
pub(super) struct AttributeRuleBody {
    /// Whatever it says is a note.
    ignore: bool,
    /// Raw count from which it is a warning.
    warning: Option<u64>,
    /// Raw count from which it is critical.
    critical: Option<u64>,
}

impl From<OverridesBody> for Overrides {
    fn from(body: OverridesBody) -> Self {
        let rule = |rule: AttributeRuleBody| AttributeRule {
            ignore: rule.ignore,
            warning: rule.warning,
            critical: rule.critical,
        };
        Self {
            ignore: body.ignore,
            attributes: body
                .attributes
                .into_iter()
                .map(|(id, body)| (id, rule(body)))
                .collect(),
            temperature_warning: body.temperature_warning,
            temperature_critical: body.temperature_critical,
        }
    }
}

/// Sets the rules of a disk's own, in place of those before; an empty object takes them away. They change warnings, never
/// what the disk itself calls failed.
#[utoipa::path(
    put, path = "/api/infrastructure/devices/{id}/overrides", tag = "storage",
    params(("id" = i64, Path, description = "id of the device")),
    request_body = OverridesBody,
    responses(
        (status = 200, body = VerdictBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn set_overrides(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<serde_json::Map<String, serde_json::Value>>,
) -> Result<impl IntoResponse, Problem> {
    // By way of an object, because an empty list would read as rules that say nothing.
    let body: OverridesBody = serde_json::from_value(body.into())
        .map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))?;
    let overrides = Overrides::from(body);
    let told = Told(serde_json::to_string(&overrides).unwrap_or_default());
    let by = &caller.principal.username;
    let judged = state
        .app
        .set_overrides(device_id(&id)?, by, overrides)
        .await
        .map_err(no_device)?;
    Ok((Extension(told), show(&state, judged).await?))
}

async fn show(state: &HttpState, judged: JudgedDevice) -> Result<Json<VerdictBody>, Problem> {
    let trend = history::trend(state, &judged.device).await?;
    Ok(Json(VerdictBody::of(judged, &trend)))
}

fn device_id(id: &str) -> Result<ResourceId, Problem> {
    Ok(ResourceId(id_or(id, Code::DeviceNotFound)?))
}

/// A resource of another kind, and none at all, are no device.
fn no_device(error: AppError) -> Problem {
    match error {
        AppError::NotFound { id, .. } => {
            Problem::new(Code::DeviceNotFound, format!("there is no device {id}"))
        }
        other => other.into(),
    }
}
