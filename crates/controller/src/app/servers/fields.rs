//! What people may set of a server: its bounds, and how a change is applied.

use super::ServerPatch;
use crate::app::live::Cadence;
use crate::app::{AppError, FieldProblem};
use crate::store::ServerFields;

/// Longest name, address or account, in bytes.
const SHORT_BYTES_MAX: usize = 255;
/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// Most tags of a server.
const TAGS_MAX: usize = 64;
/// Shortest and longest time between collections that may be set, in seconds.
const INTERVAL_S: std::ops::RangeInclusive<u32> = 5..=86_400;

impl ServerPatch {
    pub(super) fn apply(self, fields: &mut ServerFields) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut fields.hostname, self.hostname);
        set(&mut fields.ip_address, self.ip_address);
        set(&mut fields.ssh_port, self.ssh_port);
        set(&mut fields.username, self.username);
        set(&mut fields.ssh_key_id, self.ssh_key_id);
        set(&mut fields.credential_id, self.credential_id);
        set(&mut fields.description, self.description);
        set(&mut fields.tags, self.tags);
        set(&mut fields.monitoring_enabled, self.monitoring_enabled);
        set(&mut fields.collection_interval_s, self.collection_interval);
    }
}

/// Checks everything and names each field that cannot be taken.
pub(super) fn check(fields: &ServerFields) -> Result<(), AppError> {
    let mut problems = Vec::new();
    let mut require = |field, is_good: bool, message: String| {
        if !is_good {
            problems.push(FieldProblem { field, message });
        }
    };
    let short = format!("must have 1 to {SHORT_BYTES_MAX} bytes, none a control character");
    let is_short = |text: &str| {
        !text.trim().is_empty() && text.len() <= SHORT_BYTES_MAX && !text.chars().any(char::is_control)
    };
    require("hostname", is_short(&fields.hostname), short.clone());
    for (field, value) in [("ip_address", &fields.ip_address), ("username", &fields.username)] {
        require(field, value.as_deref().is_none_or(is_short), short.clone());
    }
    require(
        "ssh_port",
        fields.ssh_port != 0,
        "must be from 1 to 65535".to_owned(),
    );
    let described = fields.description.as_deref().unwrap_or_default();
    require(
        "description",
        described.len() <= DESCRIPTION_BYTES_MAX,
        format!("must have at most {DESCRIPTION_BYTES_MAX} bytes"),
    );
    require(
        "tags",
        fields.tags.len() <= TAGS_MAX && fields.tags.iter().all(|tag| is_short(tag)),
        format!("must be at most {TAGS_MAX}, each with 1 to {SHORT_BYTES_MAX} bytes"),
    );
    require(
        "collection_interval",
        fields
            .collection_interval_s
            .is_none_or(|s| INTERVAL_S.contains(&s)),
        format!(
            "must be from {} to {} seconds",
            INTERVAL_S.start(),
            INTERVAL_S.end()
        ),
    );
    if problems.is_empty() {
        Ok(())
    } else {
        Err(AppError::Invalid(problems))
    }
}

impl ServerFields {
    /// How often the server is to collect.
    pub(in crate::app) const fn cadence(&self) -> Cadence {
        Cadence {
            interval_s: self.collection_interval_s,
            heartbeat_only: !self.monitoring_enabled,
        }
    }
}
