//! Steps from one command key to the next.
//!
//! As with commands, what is signed is bytes with one meaning: a step with a field that is not known is refused.

use prost::Message as _;
use uuid::Uuid;

use super::{ConvertError, uuid_from_wire};
use crate::v1;

/// What stands before a step's bytes when they are signed, so that a signature is good for nothing else.
const CONTEXT: &[u8] = b"muster command key v1\0";

/// That another key signs commands from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStep {
    /// The controller: its installation.
    pub controller: Uuid,
    /// The key that signed before, Ed25519.
    pub old: [u8; 32],
    /// The key that signs from now on.
    pub new: [u8; 32],
    /// When it was made, Unix ms.
    pub made_ms: i64,
}

/// What is signed for a step of these bytes.
#[must_use]
pub fn key_signed_bytes(step: &[u8]) -> Vec<u8> {
    [CONTEXT, step].concat()
}

/// The bytes of a step.
#[must_use]
pub fn key_step_to_wire(step: &KeyStep) -> Vec<u8> {
    let wire = v1::CommandKey {
        controller_id: step.controller.as_bytes().to_vec(),
        old_key: step.old.to_vec(),
        new_key: step.new.to_vec(),
        made_ms: step.made_ms,
    };
    wire.encode_to_vec()
}

/// Reads a step's bytes.
///
/// # Errors
/// [`ConvertError`] if they are none, or say more than is known.
pub fn key_step_from_wire(bytes: &[u8]) -> Result<KeyStep, ConvertError> {
    let wire = v1::CommandKey::decode(bytes).map_err(|_| ConvertError::Malformed("step"))?;
    let key = |field, key: &[u8]| key.try_into().map_err(|_| ConvertError::Malformed(field));
    let step = KeyStep {
        controller: uuid_from_wire("controller_id", &wire.controller_id)?,
        old: key("old_key", &wire.old_key)?,
        new: key("new_key", &wire.new_key)?,
        made_ms: wire.made_ms,
    };
    // A step without its time is one that was cut off.
    if step.made_ms <= 0 || key_step_to_wire(&step) != bytes {
        return Err(ConvertError::Malformed("step"));
    }
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_one_form_and_nothing_more() {
        let step = KeyStep {
            controller: Uuid::from_u128(7),
            old: [1; 32],
            new: [2; 32],
            made_ms: 5,
        };
        let bytes = key_step_to_wire(&step);
        assert_eq!(key_step_from_wire(&bytes).unwrap(), step);
        // A field that is not known, and bytes that are cut off.
        assert!(key_step_from_wire(&[bytes.as_slice(), &[0x78, 1]].concat()).is_err());
        for length in 0..bytes.len() {
            assert!(key_step_from_wire(&bytes[..length]).is_err(), "cut at {length}");
        }
    }
}
