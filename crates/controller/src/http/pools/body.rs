//! A pool as the API shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Number, Value};
use utoipa::ToSchema;

use crate::app::resources::ResourceView;
use crate::http::extract::rfc3339;
use crate::http::resources::{Known, RESERVED, last_checked, values};

/// Names that the fixed fields use beside those of every resource.
const OF_POOLS: [&str; 4] = ["pool_name", "created_at", "updated_at", "status_message"];

/// A pool, with the fields of the predecessor's table; what else is known stands beside them under its own name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Pool")]
pub(in crate::http) struct PoolBody {
    /// Its id.
    id: i64,
    /// The server that has it.
    server_id: i64,
    /// Its lasting name within the server.
    key: String,
    /// Its name now, such as `md0` or `tank`.
    pool_name: String,
    /// `mdadm`, `zfs`, `lvm`, `btrfs` or `other`.
    pool_type: String,
    /// Capacity in bytes.
    total_size_bytes: Option<i64>,
    /// Bytes in use.
    used_size_bytes: Option<i64>,
    /// Bytes that can still be used.
    available_size_bytes: Option<i64>,
    /// How fragmented its free space is, in percent.
    #[schema(value_type = Option<f64>)]
    fragmentation_percent: Option<Number>,
    /// `healthy`, `warning`, `critical`, `failed` or `unknown`.
    health: &'static str,
    /// The same value under the name of older clients.
    health_status: &'static str,
    /// What the health rests on.
    health_reasons: Vec<String>,
    /// What the pool says of itself, or what its health rests on in one text; null if there is nothing to say.
    status_message: Option<String>,
    /// Its level or layout, such as `raid1`.
    raid_level: Option<String>,
    /// How many devices it is made of.
    device_count: Option<i64>,
    /// When it was last read.
    last_checked: String,
    /// When it was first seen.
    created_at: String,
    /// When it was last seen to change.
    updated_at: String,
    /// Since when it is gone.
    gone_at: Option<String>,
    /// Everything else that is known.
    #[serde(flatten)]
    attributes: BTreeMap<String, Value>,
}

impl From<ResourceView> for PoolBody {
    fn from(view: ResourceView) -> Self {
        let mut attributes = view.attributes;
        let mut known = Known(&mut attributes);
        let reasons = view.health_reasons.join("; ");
        Self {
            id: view.id.0,
            server_id: view.server.0,
            key: view.key,
            pool_name: view.name,
            pool_type: known.text("pool_type").unwrap_or_else(|| "other".to_owned()),
            total_size_bytes: known.whole("total_size_bytes"),
            used_size_bytes: known.whole("used_size_bytes"),
            available_size_bytes: known.whole("available_size_bytes"),
            fragmentation_percent: known.number("fragmentation_percent"),
            health: view.health.as_str(),
            health_status: view.health.as_str(),
            health_reasons: view.health_reasons,
            status_message: known
                .text("status_message")
                .or((!reasons.is_empty()).then_some(reasons)),
            raid_level: known.text("raid_level"),
            device_count: known.whole("device_count"),
            last_checked: last_checked(known.0, view.observed_ms),
            created_at: rfc3339(view.first_seen_ms),
            updated_at: rfc3339(view.observed_ms),
            gone_at: view.gone_ms.map(rfc3339),
            attributes: values(attributes, &[&RESERVED[..], &OF_POOLS].concat()),
        }
    }
}
