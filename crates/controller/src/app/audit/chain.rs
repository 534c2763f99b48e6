//! How entries hang together: what is signed, and with what.

use ring::hmac;

use super::{Actor, Entry, Outcome};
use crate::store::{AuditRow, AuditStart};

/// Changes whenever what is signed does.
const VERSION: u8 = 1;
/// What the first entry hangs on.
pub(super) const BEGINNING: [u8; 32] = [0; 32];
const NAME_BYTES_MAX: usize = 255;
const TARGET_BYTES_MAX: usize = 512;
const DETAIL_BYTES_MAX: usize = 2_048;

/// The newest entry of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) hash: Vec<u8>,
}

impl Head {
    /// The head that this entry makes; without one, that of an empty chain.
    pub(super) fn of(row: Option<AuditRow>) -> Self {
        let empty = || (0, BEGINNING.to_vec());
        let (id, hash) = row.map_or_else(empty, |row| (row.id, row.hash));
        Self { id, hash }
    }
}

/// Signs and checks.
pub(super) struct Chain {
    key: hmac::Key,
}

impl Chain {
    pub(super) const fn new(key: hmac::Key) -> Self {
        Self { key }
    }

    /// The entry as the next one behind `head`.
    pub(super) fn link(&self, head: &Head, entry: &Entry, count: i64, time_ms: i64) -> AuditRow {
        let (actor_kind, actor_id, actor_name) = actor(&entry.actor);
        let (outcome, reason) = match entry.outcome {
            Outcome::Allowed => ("allowed", ""),
            Outcome::Refused { reason } => ("refused", reason),
            Outcome::Failed { reason } => ("failed", reason),
            Outcome::Unknown { reason } => ("unknown", reason),
        };
        let mut row = AuditRow {
            id: head.id.saturating_add(1),
            time_ms,
            actor_kind: actor_kind.to_owned(),
            actor_id,
            actor_name: cut(&actor_name, NAME_BYTES_MAX),
            peer: entry.peer.map(|peer| peer.to_string()).unwrap_or_default(),
            action: entry.action.to_owned(),
            target: cut(&entry.target, TARGET_BYTES_MAX),
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
            detail: cut(&entry.detail, DETAIL_BYTES_MAX),
            count,
            previous: head.hash.clone(),
            hash: Vec::new(),
        };
        row.hash = hmac::sign(&self.key, &signed(&row)).as_ref().to_vec();
        row
    }

    /// Whether the entry is as it was written.
    pub(super) fn is_genuine(&self, row: &AuditRow) -> bool {
        hmac::verify(&self.key, &signed(row), &row.hash).is_ok()
    }

    /// Signs where the log starts.
    pub(super) fn start_mac(&self, start: &AuditStart) -> Vec<u8> {
        hmac::sign(&self.key, &signed_start(start)).as_ref().to_vec()
    }

    /// Whether retention wrote this start.
    pub(super) fn is_genuine_start(&self, start: &AuditStart) -> bool {
        hmac::verify(&self.key, &signed_start(start), &start.mac).is_ok()
    }

    /// Signs the text of an anchor.
    pub(super) fn anchor_mac(&self, text: &str) -> String {
        hex(hmac::sign(&self.key, &labelled("anchor", text.as_bytes())).as_ref())
    }
}

/// Everything but the hash itself, each text with its length, so that no two entries look alike.
fn signed(row: &AuditRow) -> Vec<u8> {
    let mut bytes = labelled("entry", &row.id.to_be_bytes());
    bytes.extend(row.time_ms.to_be_bytes());
    bytes.extend(row.count.to_be_bytes());
    for text in [
        &row.actor_kind,
        &row.actor_id,
        &row.actor_name,
        &row.peer,
        &row.action,
        &row.target,
        &row.outcome,
        &row.reason,
        &row.detail,
    ] {
        put(&mut bytes, text.as_bytes());
    }
    put(&mut bytes, &row.previous);
    bytes
}

fn signed_start(start: &AuditStart) -> Vec<u8> {
    let mut bytes = labelled("start", &start.first_id.to_be_bytes());
    bytes.extend(start.removed_ms.to_be_bytes());
    put(&mut bytes, &start.previous);
    bytes
}

fn labelled(label: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    put(&mut bytes, label.as_bytes());
    put(&mut bytes, body);
    bytes
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u64).to_be_bytes());
    bytes.extend(part);
}

/// Kind, id and name of an actor.
pub(super) fn actor(actor: &Actor) -> (&'static str, String, String) {
    match actor {
        Actor::User { id, name } => ("user", id.to_string(), name.clone()),
        Actor::ApiToken { id, user } => ("api_token", id.to_string(), user.clone()),
        Actor::Agent(agent) => ("agent", agent.to_string(), String::new()),
        Actor::Local { uid } => ("local", uid.to_string(), String::new()),
        Actor::System => ("system", String::new(), String::new()),
        Actor::Nobody => ("nobody", String::new(), String::new()),
    }
}

/// The text, or its beginning with a mark.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
