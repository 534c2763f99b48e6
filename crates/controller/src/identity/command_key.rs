//! The key that signs commands, and how one takes the place of the one before.
//!
//! A *step* says that a new key signs from now on. The key before signs it, the new one does, and so does each root when it
//! is sent: agents take it only with all three, so that neither a stolen command key nor a stolen root is enough, and a
//! command key that was replaced is good for nothing. Steps are kept, so that an agent which slept through several takes
//! them one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_proto::convert::{KeyStep, key_signed_bytes, key_step_to_wire, signed_bytes};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{COMMAND_KEY, IdentityError, Seal, SealedSecrets, Secrets, sealed_secret};

const STEPS: &str = "command_key_steps";
/// Steps that are kept and sent: an agent that slept through more has to be enrolled again.
const STEPS_MAX: usize = 32;

/// A step as it is kept, in base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    step: String,
    signed_by_old: String,
    signed_by_new: String,
    made_ms: i64,
}

/// A step as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStep {
    /// What is signed.
    pub step: Vec<u8>,
    /// By the key before.
    pub signed_by_old: Vec<u8>,
    /// By the new one.
    pub signed_by_new: Vec<u8>,
    /// By each root there is now.
    pub signed_by_roots: Vec<Vec<u8>>,
}

/// The key that signs commands.
pub(super) struct CommandKey {
    pair: Ed25519KeyPair,
    steps: Vec<Kept>,
}

/// A key that was made and does not count yet.
pub struct NextCommandKey {
    next: CommandKey,
    changes: SealedSecrets,
}

impl std::fmt::Debug for NextCommandKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextCommandKey")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl NextCommandKey {
    /// What has to be stored.
    #[must_use]
    pub fn changes(&self) -> &SealedSecrets {
        &self.changes
    }

    /// Signs a command's bytes with it.
    #[must_use]
    pub fn sign(&self, command: &[u8]) -> Vec<u8> {
        self.next.sign(command)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> String {
        self.next.id()
    }

    pub(super) fn into_key(self) -> CommandKey {
        self.next
    }
}

impl CommandKey {
    pub(super) fn open(secrets: &mut Secrets) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_pkcs8(&secrets.take(COMMAND_KEY)?)
            .map_err(|_| IdentityError::Unreadable { name: COMMAND_KEY })?;
        let steps = match secrets.opened.remove(STEPS) {
            Some(json) => {
                serde_json::from_slice(&json).map_err(|_| IdentityError::Unreadable { name: STEPS })?
            }
            None => Vec::new(),
        };
        Ok(Self { pair, steps })
    }

    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The first bytes of the public key's SHA-256, hexadecimal.
    pub(super) fn id(&self) -> String {
        let hash: [u8; 32] = Sha256::digest(self.public()).into();
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn sign(&self, command: &[u8]) -> Vec<u8> {
        self.pair.sign(&signed_bytes(command)).as_ref().to_vec()
    }

    pub(super) fn has_signed(&self, command: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.public());
        key.verify(&signed_bytes(command), signature).is_ok()
    }

    /// When it took the place of the one before, Unix ms; `None` if it is the first.
    pub(super) fn since_ms(&self) -> Option<i64> {
        self.steps.last().map(|step| step.made_ms)
    }

    /// The steps to it, the oldest first.
    pub(super) fn steps(&self) -> Vec<SignedStep> {
        let bytes = |text: &String| BASE64.decode(text).ok();
        let steps = self.steps.iter().filter_map(|kept| {
            Some(SignedStep {
                step: bytes(&kept.step)?,
                signed_by_old: bytes(&kept.signed_by_old)?,
                signed_by_new: bytes(&kept.signed_by_new)?,
                signed_by_roots: Vec::new(),
            })
        });
        steps.collect()
    }

    /// Makes the next key, and has both sign that it is.
    pub(super) fn next(
        &self,
        controller: Uuid,
        now_ms: i64,
        seal: &Seal,
    ) -> Result<NextCommandKey, IdentityError> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| IdentityError::Random)?;
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref())
            .map_err(|_| IdentityError::Unreadable { name: COMMAND_KEY })?;
        let key = |pair: &Ed25519KeyPair| -> Result<[u8; 32], IdentityError> {
            let bytes = pair.public_key().as_ref().try_into();
            bytes.map_err(|_| IdentityError::Unreadable { name: COMMAND_KEY })
        };
        let step = key_step_to_wire(&KeyStep {
            controller,
            old: key(&self.pair)?,
            new: key(&pair)?,
            made_ms: now_ms,
        });
        let signed = key_signed_bytes(&step);
        let mut steps = self.steps.clone();
        steps.push(Kept {
            signed_by_old: BASE64.encode(self.pair.sign(&signed)),
            signed_by_new: BASE64.encode(pair.sign(&signed)),
            step: BASE64.encode(&step),
            made_ms: now_ms,
        });
        let surplus = steps.len().saturating_sub(STEPS_MAX);
        steps.drain(..surplus);
        let json = serde_json::to_vec(&steps).expect("steps are plain data");
        let changes = vec![
            sealed_secret(seal, COMMAND_KEY, made.as_ref())?,
            sealed_secret(seal, STEPS, &json)?,
        ];
        let next = Self { pair, steps };
        Ok(NextCommandKey { next, changes })
    }
}
