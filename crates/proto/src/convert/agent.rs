//! Ranges and ids of the session messages.

use muster_model::{RangeSet, SequenceRange};
use uuid::Uuid;

use super::{ConvertError, bounded};
use crate::v1;

/// The ranges of a set.
#[must_use]
pub fn ranges_to_wire(set: &RangeSet) -> Vec<v1::SequenceRange> {
    set.iter()
        .map(|range| v1::SequenceRange {
            first: range.first,
            last: range.last,
        })
        .collect()
}

/// A set from its ranges; empty and reversed ranges are ignored.
///
/// # Errors
/// [`ConvertError::TooMany`] if there are more ranges than a set may have.
pub fn ranges_from_wire(ranges: &[v1::SequenceRange]) -> Result<RangeSet, ConvertError> {
    bounded(
        "sequence ranges",
        ranges.len(),
        muster_model::limits::RANGES_PER_EPOCH_MAX,
    )?;
    Ok(ranges
        .iter()
        .map(|range| SequenceRange {
            first: range.first,
            last: range.last,
        })
        .collect())
}

/// A UUID from its 16 bytes.
///
/// # Errors
/// [`ConvertError::OutOfRange`] if there are not 16.
pub fn uuid_from_wire(field: &'static str, bytes: &[u8]) -> Result<Uuid, ConvertError> {
    Uuid::from_slice(bytes).map_err(|_| ConvertError::OutOfRange {
        field,
        value: bytes.len() as i128,
    })
}
