//! Who this agent is to a command, and whose commands it takes: as enrolment left it in the identity's folder.
//!
//! The command key came over the connection that the enrolment token's pin had verified, and stays until steps that it and
//! a root that is trusted now have signed lead to another (`keys`): a controller that only shows another one is not
//! believed. Such a root came with the enrolment or with a renewal since.
//! An administrator may name keys in the policy too; then only those count.

use camino::Utf8Path;
use muster_proto::convert::{Order, command_from_wire, signed_bytes};
use muster_proto::v1;
use prost::Message as _;
use ring::signature::{ED25519, UnparsedPublicKey};
use uuid::Uuid;

use muster_model::CommandRefusal;

use super::keys;
use super::refused::Refused;
use crate::identity::{Identity, IdentityDir, IdentityError};

/// Who this agent is, and whose commands it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The agent.
    pub agent: Uuid,
    /// Generation of its identity.
    pub generation: u32,
    /// The controller: its installation, as the agent's own certificate names it.
    pub controller: Uuid,
    /// Keys that sign commands.
    pub keys: Vec<[u8; 32]>,
}

impl Pinned {
    /// Reads it from the identity's folder, and what was taken since from that of commands.
    ///
    /// # Errors
    /// [`IdentityError`] if there is no identity, or its certificate names no installation.
    pub fn load(dir: &IdentityDir, folder: &Utf8Path) -> Result<Self, IdentityError> {
        let identity = dir.load()?;
        let mut pinned = Self::of(&identity).ok_or_else(|| IdentityError::Damaged {
            path: dir.path().to_owned(),
            message: "its certificate names no installation".to_owned(),
        })?;
        if let Some(key) = keys::load(folder, (pinned.controller, pinned.agent))? {
            pinned.keys = vec![key];
        }
        Ok(pinned)
    }

    /// As an identity says it.
    #[must_use]
    pub fn of(identity: &Identity) -> Option<Self> {
        Some(Self {
            agent: identity.agent_id.0,
            generation: identity.generation,
            controller: identity.installation()?,
            keys: identity.command_keys.clone(),
        })
    }

    /// Verifies an envelope over its exact bytes, then reads those bytes, then looks whether they are for this agent.
    /// `keys` are those of the policy, if it names any.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, envelope: &v1::CommandEnvelope, keys: &[[u8; 32]]) -> Result<Order, Refused> {
        let signed = signed_bytes(&envelope.command);
        let keys = if keys.is_empty() {
            self.keys.as_slice()
        } else {
            keys
        };
        let is_signed = |key: &[u8; 32]| {
            let key = UnparsedPublicKey::new(&ED25519, key);
            key.verify(&signed, &envelope.signature).is_ok()
        };
        if !keys.iter().any(is_signed) {
            let message = "the signature is not one of the pinned command key over this command";
            return Err(Refused::new(CommandRefusal::BadSignature, message));
        }
        let order = match command_from_wire(&envelope.command) {
            Ok(Some(order)) => order,
            Ok(None) => return Err(not_known(&envelope.command)),
            Err(error) => return Err(Refused::new(CommandRefusal::Malformed, error.to_string())),
        };
        let wrong = if order.controller != self.controller {
            Some((CommandRefusal::OtherController, "it is of another controller"))
        } else if order.agent != self.agent {
            Some((CommandRefusal::OtherAgent, "it is for another agent"))
        } else if order.generation != self.generation {
            Some((
                CommandRefusal::OtherGeneration,
                "it is for another generation of this agent's identity",
            ))
        } else {
            None
        };
        match wrong {
            Some((reason, message)) => Err(Refused::new(reason, message)),
            None => Ok(order),
        }
    }
}

/// Whether what is not known is the verb or something beside it.
fn not_known(command: &[u8]) -> Refused {
    match v1::Command::decode(command) {
        Ok(v1::Command { verb: None, .. }) => Refused::new(
            CommandRefusal::UnknownVerb,
            "it asks for something that this version of the agent does not know",
        ),
        _ => Refused::new(
            CommandRefusal::UnknownField,
            "it says something that this version of the agent does not know",
        ),
    }
}

/// The id that an envelope's bytes name, which proves nothing.
#[must_use]
pub fn claimed_id(envelope: &v1::CommandEnvelope) -> Option<Uuid> {
    let command = v1::Command::decode(envelope.command.as_slice()).ok()?;
    Uuid::from_slice(&command.id).ok()
}
