//! Which key signs the controller's commands by now: the one of the enrolment, until steps of the controller lead to
//! another.
//!
//! A step is taken only if the key that counts has signed it, the new one has, and a root has that this agent trusts now:
//! one of its enrolment, or of a renewal since. From then on the key before counts no more. What was taken is on disk,
//! beside the journal, before it counts; a file that cannot be read is never taken for "nothing was".

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use camino::{Utf8Path, Utf8PathBuf};
use muster_proto::convert::{KeyStep, key_signed_bytes, key_step_from_wire};
use muster_proto::v1;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::durable;
use crate::identity::IdentityError;

/// Most steps of one message.
const STEPS_MAX: usize = 64;
/// Most signatures of roots that are looked at.
const ROOTS_MAX: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    controller: Uuid,
    agent: Uuid,
    key: String,
}

fn path(folder: &Utf8Path) -> Utf8PathBuf {
    folder.join("key.json")
}

/// The key that was taken last; `None` if that of the enrolment counts. One of another identity counts no more: the agent
/// was enrolled anew.
///
/// # Errors
/// [`IdentityError`] if what was taken cannot be read.
pub(super) fn load(
    folder: &Utf8Path,
    (controller, agent): (Uuid, Uuid),
) -> Result<Option<[u8; 32]>, IdentityError> {
    let path = path(folder);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Read { path, source }),
    };
    let file: Option<File> = serde_json::from_slice(&text).ok();
    let key = file.map(|file| {
        let bytes = BASE64.decode(&file.key).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        ((file.controller, file.agent), key)
    });
    match key {
        Some((of, Some(key))) => Ok((of == (controller, agent)).then_some(key)),
        _ => Err(IdentityError::Damaged {
            path,
            message: "it names no command key".to_owned(),
        }),
    }
}

/// Keeps a key that is taken.
///
/// # Errors
/// A failure of the disk; then it does not count.
pub(super) fn store(folder: &Utf8Path, (controller, agent): (Uuid, Uuid), key: &[u8; 32]) -> io::Result<()> {
    let file = File {
        controller,
        agent,
        key: BASE64.encode(key),
    };
    let text = serde_json::to_vec(&file).expect("it is plain data");
    durable::write(&path(folder), &text, durable::SECRET)
}

/// What follows of steps for an agent for which `key` counts: the next ones, in order, each signed as it must be.
///
/// # Errors
/// Why they are not taken, in words; nothing of them then is.
pub(super) fn judge(
    keys: &v1::CommandKeys,
    controller: Uuid,
    key: [u8; 32],
    roots: &[CertificateDer<'_>],
) -> Result<Vec<KeyStep>, &'static str> {
    if keys.steps.is_empty() {
        return Ok(Vec::new());
    }
    if STEPS_MAX < keys.steps.len() {
        return Err("there are too many of them");
    }
    let read: Result<Vec<KeyStep>, _> = keys
        .steps
        .iter()
        .map(|step| key_step_from_wire(&step.step))
        .collect();
    let read = read.map_err(|_| "one of them cannot be read")?;
    if read.iter().any(|step| step.controller != controller) {
        return Err("they are of another controller");
    }
    // What led to the key that counts is past.
    let past = read.iter().rposition(|step| step.new == key);
    let first = match past {
        Some(past) => past + 1,
        None => {
            let next = read.iter().position(|step| step.old == key);
            next.ok_or("none of them is a step from the key that counts")?
        }
    };
    let mut counts = key;
    for (step, wire) in read[first..].iter().zip(&keys.steps[first..]) {
        if step.old != counts || !is_signed(step, wire, roots) {
            return Err(
                "one of them is not signed by the key before it, by its own and by a root that is trusted now",
            );
        }
        counts = step.new;
    }
    Ok(read[first..].to_vec())
}

fn is_signed(step: &KeyStep, wire: &v1::CommandKeyStep, roots: &[CertificateDer<'_>]) -> bool {
    let signed = key_signed_bytes(&wire.step);
    let by = |key: &[u8; 32], signature: &[u8]| {
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&signed, signature)
            .is_ok()
    };
    let by_root = |root: &CertificateDer<'_>| {
        let Ok((_, root)) = x509_parser::parse_x509_certificate(root) else {
            return false;
        };
        let key = UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_ASN1,
            root.public_key().subject_public_key.data.as_ref(),
        );
        let signatures = wire.signed_by_roots.iter().take(ROOTS_MAX);
        signatures
            .into_iter()
            .any(|signature| key.verify(&signed, signature).is_ok())
    };
    by(&step.old, &wire.signed_by_old) && by(&step.new, &wire.signed_by_new) && roots.iter().any(by_root)
}
