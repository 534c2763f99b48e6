//! `[uplink]`: the way to the controller.

use serde::Deserialize;

use super::Problems;

/// The way to the controller. Its address is part of the identity that enrolment gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Most memory that undelivered reports may take, in bytes.
    pub buffer_bytes: u64,
}

impl Uplink {
    /// Memory for undelivered reports unless told otherwise, in bytes.
    pub const BUFFER_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
    /// The least that makes sense: a few reports of the largest size, in bytes.
    pub const BUFFER_BYTES_MIN: u64 = 1024 * 1024;
}

impl Default for Uplink {
    fn default() -> Self {
        Self {
            buffer_bytes: Self::BUFFER_BYTES_DEFAULT,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUplink {
    buffer_bytes: Option<u64>,
}

pub(super) fn default_text() -> String {
    format!(
        "[uplink]\n# Most memory that undelivered reports may take, in bytes.\n# buffer_bytes = {}\n",
        Uplink::BUFFER_BYTES_DEFAULT
    )
}

impl RawUplink {
    pub(super) fn validate(self, problems: &mut Problems) -> Uplink {
        let buffer_bytes = self.buffer_bytes.unwrap_or(Uplink::BUFFER_BYTES_DEFAULT);
        if buffer_bytes < Uplink::BUFFER_BYTES_MIN {
            problems.note(
                "uplink.buffer_bytes",
                &format!("must be at least {}", Uplink::BUFFER_BYTES_MIN),
            );
        }
        Uplink { buffer_bytes }
    }
}
