//! Wire to domain and back: the only place that can reject a message.
//!
//! Towards the wire nothing fails. From the wire, what a newer peer may have added is survived: an unknown enum value
//! gets the meaning its proto comment gives it or loses that one item, counted as a problem; what breaks a limit or
//! contradicts itself rejects the message.

mod agent;
mod command;
mod key;
mod report;
mod resource;

use thiserror::Error;

pub use agent::{ranges_from_wire, ranges_to_wire, uuid_from_wire};
pub use command::{
    AuditHead, CommandReport, Order, command_from_wire, command_state_from_wire, command_state_to_wire,
    command_to_wire, report_from_wire as command_report_from_wire, report_to_wire as command_report_to_wire,
    signed_bytes,
};
pub use key::{KeyStep, key_signed_bytes, key_step_from_wire, key_step_to_wire};
pub(crate) use report::{block_from_wire, block_to_wire};
pub use report::{definitions_from_wire, definitions_to_wire, report_from_wire, report_to_wire};
pub use resource::{health_from_wire, health_to_wire, kind_from_wire, kind_to_wire, resource_to_wire};

/// Why a message was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// A field that must be there is absent.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A number is outside what it may be.
    #[error("field {field} has value {value}, which is out of range")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i128,
    },
    /// There is more of something than there may be.
    #[error("{count} {what}, and {max} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much of it there is.
        count: usize,
        /// How much there may be.
        max: usize,
    },
    /// A text is too long.
    #[error("{what} of {bytes} bytes, and {max} are allowed")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// A text or number is not what its field may hold.
    #[error("field {0} is not what it may be")]
    Malformed(&'static str),
    /// A metric name or label breaks the rules.
    #[error("series definition {id}")]
    Series {
        /// The definition's id.
        id: u64,
        /// What is wrong with it.
        source: muster_model::LabelError,
    },
    /// A block of samples is not a rectangle or too big.
    #[error("block of samples")]
    Block(#[source] muster_model::SampleBlockError),
}

fn bounded(what: &'static str, count: usize, max: usize) -> Result<(), ConvertError> {
    if max < count {
        return Err(ConvertError::TooMany { what, count, max });
    }
    Ok(())
}

fn short(what: &'static str, text: String, max: usize) -> Result<String, ConvertError> {
    if max < text.len() {
        return Err(ConvertError::TooLong {
            what,
            bytes: text.len(),
            max,
        });
    }
    Ok(text)
}
