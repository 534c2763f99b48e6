//! Resources of a server: all kinds in one form, and devices in the form that the disk pages know.

use std::collections::BTreeMap;

use axum::extract::State;
use muster_base::id::ResourceId;
use muster_model::{Attribute, Attributes, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, flag, id_or, page_request, rfc3339};
use super::servers::server_id;
use crate::app::PageRequest;
use crate::app::resources::{ResourceFilter, ResourceView};

/// A resource of any kind. What else is known of it stands beside these fields under its own name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Resource")]
pub(super) struct ResourceBody {
    /// Its id.
    id: i64,
    /// The server that has it.
    server_id: i64,
    /// What it is.
    #[schema(example = "filesystem")]
    kind: &'static str,
    /// Its lasting name within the server.
    key: String,
    /// What people call it now.
    name: String,
    /// `healthy`, `warning`, `critical`, `failed` or `unknown`.
    health: &'static str,
    /// The same value under the name of older clients.
    health_status: &'static str,
    /// What the health rests on.
    health_reasons: Vec<String>,
    /// When it was first seen.
    first_seen: String,
    /// When it was last read.
    last_checked: String,
    /// Since when it is gone.
    gone_at: Option<String>,
    /// Everything else that is known.
    #[serde(flatten)]
    attributes: BTreeMap<String, Value>,
}

/// Names that the fixed fields use; an attribute never displaces one.
pub(super) const RESERVED: [&str; 11] = [
    "id",
    "server_id",
    "kind",
    "key",
    "name",
    "health",
    "health_status",
    "health_reasons",
    "first_seen",
    "last_checked",
    "gone_at",
];

impl From<ResourceView> for ResourceBody {
    fn from(view: ResourceView) -> Self {
        let mut attributes = view.attributes;
        Self {
            id: view.id.0,
            server_id: view.server.0,
            kind: view.kind.as_str(),
            key: view.key,
            name: view.name,
            health: view.health.as_str(),
            health_status: view.health.as_str(),
            health_reasons: view.health_reasons,
            first_seen: rfc3339(view.first_seen_ms),
            last_checked: last_checked(&mut attributes, view.observed_ms),
            gone_at: view.gone_ms.map(rfc3339),
            attributes: values(attributes, &RESERVED),
        }
    }
}

/// A disk, with the fields of the predecessor's table; what else is known stands beside them under its own name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Device")]
pub(super) struct DeviceBody {
    /// Its id.
    id: i64,
    /// The server that has it.
    server_id: i64,
    /// Its lasting name within the server.
    key: String,
    /// Its name now, such as `sda`.
    device_name: String,
    /// Its path now, such as `/dev/sda`.
    device_path: Option<String>,
    /// Serial number.
    serial_number: Option<String>,
    /// Model.
    model: Option<String>,
    /// Version of its firmware.
    firmware_version: Option<String>,
    /// `hdd`, `ssd`, `nvme` or `unknown`.
    device_type: String,
    /// Capacity in bytes.
    size_bytes: Option<i64>,
    /// Bytes of a logical sector.
    sector_size: Option<i64>,
    /// `healthy`, `warning`, `critical`, `failed` or `unknown`.
    health: &'static str,
    /// The same value under the name of older clients.
    smart_status: &'static str,
    /// What the health rests on.
    health_reasons: Vec<String>,
    /// Whether the disk says of itself that it is well.
    smart_passed: Option<bool>,
    /// Temperature in degrees Celsius.
    #[schema(value_type = Option<f64>)]
    temperature_celsius: Option<Number>,
    /// Hours powered on.
    power_on_hours: Option<i64>,
    /// How much of its endurance is used, in percent.
    #[schema(value_type = Option<f64>)]
    wear_level_percent: Option<Number>,
    /// Bytes written in its life.
    total_bytes_written: Option<i64>,
    /// Bytes read in its life.
    total_bytes_read: Option<i64>,
    /// Sectors replaced by spares.
    reallocated_sectors: Option<i64>,
    /// Sectors waiting to be replaced.
    pending_sectors: Option<i64>,
    /// Errors that could not be corrected.
    uncorrectable_errors: Option<i64>,
    /// When it was first seen.
    first_seen: String,
    /// When it was last read.
    last_checked: String,
    /// Since when it is gone.
    gone_at: Option<String>,
    /// Everything else that is known.
    #[serde(flatten)]
    attributes: BTreeMap<String, Value>,
}

impl From<ResourceView> for DeviceBody {
    fn from(view: ResourceView) -> Self {
        let mut attributes = view.attributes;
        let mut known = Known(&mut attributes);
        Self {
            id: view.id.0,
            server_id: view.server.0,
            key: view.key,
            device_path: known.text("device_path"),
            serial_number: known.text("serial_number"),
            model: known.text("model"),
            firmware_version: known.text("firmware_version"),
            device_type: known.text("device_type").unwrap_or_else(|| "unknown".to_owned()),
            size_bytes: known.whole("size_bytes"),
            sector_size: known.whole("sector_size"),
            health: view.health.as_str(),
            smart_status: view.health.as_str(),
            health_reasons: view.health_reasons,
            smart_passed: known.truth("smart_passed"),
            temperature_celsius: known.number("temperature_celsius"),
            power_on_hours: known.whole("power_on_hours"),
            wear_level_percent: known.number("wear_level_percent"),
            total_bytes_written: known.whole("total_bytes_written"),
            total_bytes_read: known.whole("total_bytes_read"),
            reallocated_sectors: known.whole("reallocated_sectors"),
            pending_sectors: known.whole("pending_sectors"),
            uncorrectable_errors: known.whole("uncorrectable_errors"),
            first_seen: rfc3339(view.first_seen_ms),
            last_checked: last_checked(known.0, view.observed_ms),
            gone_at: view.gone_ms.map(rfc3339),
            device_name: view.name,
            attributes: values(
                attributes,
                &[&RESERVED[..], &["device_name", "smart_status"]].concat(),
            ),
        }
    }
}

/// Takes attributes out, each as the type its field has. One of another type is taken out too: two values under one
/// name would be worse than none.
pub(super) struct Known<'a>(pub(super) &'a mut Attributes);

impl Known<'_> {
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Attribute::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn whole(&mut self, name: &str) -> Option<i64> {
        match self.0.remove(name)? {
            Attribute::Int(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Option<Number> {
        match self.0.remove(name)? {
            Attribute::Int(number) => Some(number.into()),
            Attribute::Float(number) => Number::from_f64(number),
            _ => None,
        }
    }

    fn truth(&mut self, name: &str) -> Option<bool> {
        match self.0.remove(name)? {
            Attribute::Bool(truth) => Some(truth),
            _ => None,
        }
    }
}

/// When a resource was last read: its collector knows best, since a sleeping disk keeps its last values.
pub(super) fn last_checked(attributes: &mut Attributes, observed_ms: i64) -> String {
    Known(attributes)
        .text("last_checked")
        .unwrap_or_else(|| rfc3339(observed_ms))
}

/// Attributes as JSON. Raw documents, which travel as text, are given as the JSON they are.
pub(super) fn values(attributes: Attributes, reserved: &[&str]) -> BTreeMap<String, Value> {
    attributes
        .into_iter()
        .filter(|(name, _)| !reserved.contains(&name.as_str()))
        .map(|(name, attribute)| {
            let value = match attribute {
                Attribute::Bool(truth) => truth.into(),
                Attribute::Int(number) => number.into(),
                Attribute::Float(number) => number.into(),
                Attribute::Text(text) if name.ends_with("_raw") => {
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                }
                Attribute::Text(text) => text.into(),
                Attribute::List(texts) => texts.into(),
            };
            (name, value)
        })
        .collect()
}

/// Which resources are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceQuery {
    kind: Option<String>,
    include_gone: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl ResourceQuery {
    fn parse(&self) -> Result<(Option<ResourceKind>, bool, PageRequest), Problem> {
        let kind = match &self.kind {
            None => None,
            Some(word) => Some(word.parse().map_err(|_| {
                let known: Vec<_> = ResourceKind::ALL.iter().map(|kind| kind.as_str()).collect();
                Problem::parameter("kind", format!("one of {} is needed", known.join(", ")))
            })?),
        };
        let include_gone = flag("include_gone", self.include_gone.as_deref())?.unwrap_or(false);
        let page = page_request(self.limit.as_deref(), self.cursor.as_deref())?;
        Ok((kind, include_gone, page))
    }
}

/// Resources of a server: disks, partitions, filesystems, swap and so on.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}/resources", tag = "resources",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("kind" = Option<String>, Query, description = "only of this kind"),
        ("include_gone" = Option<bool>, Query, description = "also those that are gone"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<ResourceBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<ResourceQuery>,
) -> Result<Json<List<ResourceBody>>, Problem> {
    let server = server_id(&id)?;
    let (kind, include_gone, page) = query.parse()?;
    let filter = ResourceFilter {
        server: Some(server),
        kind,
        include_gone,
        ..ResourceFilter::default()
    };
    let page = state.app.resources(filter, page).await?;
    Ok(Json(List::of(page, ResourceBody::from)))
}

/// Disks of a server.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}/storage/devices", tag = "storage",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("include_gone" = Option<bool>, Query, description = "also those that are gone"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<DeviceBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn devices(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<ResourceQuery>,
) -> Result<Json<List<DeviceBody>>, Problem> {
    let server = server_id(&id)?;
    if query.kind.is_some() {
        return Err(Problem::parameter("kind", "devices are of one kind only"));
    }
    let (_, include_gone, page) = query.parse()?;
    let filter = ResourceFilter {
        server: Some(server),
        kind: Some(ResourceKind::Device),
        include_gone,
        ..ResourceFilter::default()
    };
    let page = state.app.resources(filter, page).await?;
    Ok(Json(List::of(page, DeviceBody::from)))
}

/// One disk with everything that is known of it, its raw SMART document included.
#[utoipa::path(
    get, path = "/api/infrastructure/storage/devices/{id}", tag = "storage",
    params(("id" = i64, Path, description = "id of the device")),
    responses(
        (status = 200, body = DeviceBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn device(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<DeviceBody>, Problem> {
    let view = device_view(&state, &id).await?;
    Ok(Json(view.into()))
}

/// Reads a device; a resource of another kind is no device.
pub(super) async fn device_view(state: &HttpState, id: &str) -> Result<ResourceView, Problem> {
    let id = ResourceId(id_or(id, Code::DeviceNotFound)?);
    let none = || Problem::new(Code::DeviceNotFound, format!("there is no device {id}"));
    match state.app.resource(id).await {
        Ok(view) if view.kind == ResourceKind::Device => Ok(view),
        Ok(_) | Err(crate::app::AppError::NotFound { .. }) => Err(none()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_document_is_given_as_json_and_a_broken_one_as_text() {
        let attributes = Attributes::from([
            ("smart_data_raw".to_owned(), Attribute::from(r#"{"a":[1]}"#)),
            ("other_raw".to_owned(), Attribute::from("{")),
            ("plain".to_owned(), Attribute::from("{}")),
            ("id".to_owned(), Attribute::from(666_i64)),
        ]);
        let shown = serde_json::to_string(&values(attributes, &RESERVED)).unwrap();
        assert_eq!(
            shown,
            r#"{"other_raw":"{","plain":"{}","smart_data_raw":{"a":[1]}}"#
        );
    }
}
