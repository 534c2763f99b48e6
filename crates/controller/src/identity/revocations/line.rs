//! A line of the file, and what is made of one that is damaged.

use std::fmt::Write as _;

use muster_base::id::AgentId;
use ring::hmac;
use uuid::Uuid;

use super::{Loaded, RevocationKey};
use crate::identity::authority::hex;

const VERSION: &str = "muster-revocation-1";

/// A line that does not verify, or a number that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file, from 1.
    pub line: usize,
    /// The agent it names, if that can be read.
    pub agent: Option<AgentId>,
    /// The time it names, if that can be read, Unix ms.
    pub revoked_ms: Option<i64>,
}

pub(super) fn format(number: u64, revoked_ms: i64, agent: AgentId, key: &RevocationKey) -> String {
    let mut line = format!("{VERSION} {number} {revoked_ms} {agent} ");
    let mac = hmac::sign(&key.0, line.as_bytes());
    // Writing to a String cannot fail.
    let _ = writeln!(line, "{}", hex(mac.as_ref()));
    line
}

/// Reads every line. Never fails: what cannot be read is damage.
pub(super) fn parse(bytes: &[u8], key: &RevocationKey) -> Loaded {
    let mut loaded = Loaded {
        next: 1,
        ..Loaded::default()
    };
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().peekable();
    // Lines that were seen but whose numbers cannot be trusted; each may stand for one that is missing.
    let mut untrusted = 0_u64;
    while let Some((index, line)) = lines.next() {
        if line.is_empty() && lines.peek().is_none() {
            break;
        }
        loaded.lines += 1;
        let Some((number, revoked_ms, agent)) = verified(line, key) else {
            loaded.damaged.push(damage(index + 1, line));
            untrusted += 1;
            continue;
        };
        let missing = number.saturating_sub(loaded.next).saturating_sub(untrusted);
        // A gap that no damaged line explains: lines were taken out. Bounded, whatever a number says.
        for _ in 0..missing.min(1_000) {
            loaded.damaged.push(Damage {
                line: index + 1,
                agent: None,
                revoked_ms: None,
            });
        }
        untrusted = 0;
        loaded.next = loaded.next.max(number.saturating_add(1));
        loaded.entries.entry(agent).or_insert(revoked_ms);
    }
    loaded.next = loaded.next.saturating_add(untrusted);
    loaded
}

fn verified(line: &[u8], key: &RevocationKey) -> Option<(u64, i64, AgentId)> {
    let line = std::str::from_utf8(line).ok()?;
    let (signed, mac) = line.split_at_checked(line.rfind(' ')? + 1)?;
    hmac::verify(&key.0, signed.as_bytes(), &unhex(mac)?).ok()?;
    let mut words = signed.split(' ');
    if words.next() != Some(VERSION) {
        return None;
    }
    let number = words.next()?.parse().ok()?;
    let revoked_ms = words.next()?.parse().ok()?;
    let agent = AgentId(Uuid::try_parse(words.next()?).ok()?);
    Some((number, revoked_ms, agent))
}

fn damage(line: usize, bytes: &[u8]) -> Damage {
    let text = String::from_utf8_lossy(bytes);
    let agent = text
        .split(' ')
        .filter(|word| word.len() == 36)
        .find_map(|word| Uuid::try_parse(word).ok())
        .map(AgentId);
    let revoked_ms = text.split(' ').nth(2).and_then(|word| word.parse().ok());
    Damage {
        line,
        agent,
        revoked_ms,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
