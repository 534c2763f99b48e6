//! What is written says itself what it is: who sent it, its number, its place, with a checksum over all of it.
//!
//! The columns of a row are for finding it; the envelope is what is believed. It is also what can still be found in a
//! file whose structure is damaged (`salvage`), because it begins with a mark and says how long it is.
//!
//! Layout: 3 bytes of mark, 1 of kind, 4 of length, 4 of CRC-32 over kind and body, then the body; all numbers
//! little-endian.

use muster_base::id::{AgentId, ServerId};
use muster_model::{RangeSet, SequenceRange};

/// What an envelope begins with: no text, and no zstd frame.
pub(super) const MARK: [u8; 3] = [0xa7, b'M', b'r'];
/// Bytes before the body.
pub(super) const HEAD_BYTES: usize = 12;
/// Longest body: a message and what is said of it.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

const RECORD: u8 = 1;
const DEFINITIONS: u8 = 2;
const CURSOR: u8 = 3;
const LEDGER: u8 = 4;

/// What a sealed envelope holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Envelope {
    Record(RecordHead, Vec<u8>),
    Definitions(DefinitionsHead, Vec<u8>),
    Cursor(CursorBody),
    Ledger(LedgerBody),
}

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) position: i64,
    pub(super) agent: AgentId,
    pub(super) server: ServerId,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) received_ms: i64,
    pub(super) kind: u8,
    pub(super) size_bytes: u32,
}

/// What is known of a message of definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DefinitionsHead {
    pub(super) agent: AgentId,
    pub(super) epoch: u64,
    pub(super) first_id: u32,
    pub(super) last_id: u32,
}

/// What is durable of an epoch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CursorBody {
    pub(super) agent: AgentId,
    pub(super) epoch: u64,
    /// The last position given when it was written: tells newer from older ones.
    pub(super) written_at: i64,
    pub(super) definitions: u32,
    pub(super) last_ms: i64,
    pub(super) ranges: RangeSet,
}

/// Which records a commit has stored: a second account, in other pages than the records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LedgerBody {
    /// The lowest position that was not deleted by then.
    pub(super) floor: i64,
    pub(super) entries: Vec<LedgerEntry>,
}

/// One record of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LedgerEntry {
    pub(super) position: i64,
    pub(super) agent: AgentId,
    pub(super) server: ServerId,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
}

pub(super) fn seal_record(head: &RecordHead, packed: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(packed.len() + 64);
    body.extend(head.position.to_le_bytes());
    body.extend(head.agent.0.as_bytes());
    body.extend(head.server.0.to_le_bytes());
    body.extend(head.epoch.to_le_bytes());
    body.extend(head.sequence.to_le_bytes());
    body.extend(head.received_ms.to_le_bytes());
    body.push(head.kind);
    body.extend(head.size_bytes.to_le_bytes());
    body.extend(packed);
    seal(RECORD, &body)
}

pub(super) fn seal_definitions(head: &DefinitionsHead, packed: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(packed.len() + 32);
    body.extend(head.agent.0.as_bytes());
    body.extend(head.epoch.to_le_bytes());
    body.extend(head.first_id.to_le_bytes());
    body.extend(head.last_id.to_le_bytes());
    body.extend(packed);
    seal(DEFINITIONS, &body)
}

pub(super) fn seal_cursor(cursor: &CursorBody) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(cursor.agent.0.as_bytes());
    body.extend(cursor.epoch.to_le_bytes());
    body.extend(cursor.written_at.to_le_bytes());
    body.extend(cursor.definitions.to_le_bytes());
    body.extend(cursor.last_ms.to_le_bytes());
    for range in cursor.ranges.iter() {
        body.extend(range.first.to_le_bytes());
        body.extend(range.last.to_le_bytes());
    }
    seal(CURSOR, &body)
}

pub(super) fn seal_ledger(ledger: &LedgerBody) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + ledger.entries.len() * 48);
    body.extend(ledger.floor.to_le_bytes());
    for entry in &ledger.entries {
        body.extend(entry.position.to_le_bytes());
        body.extend(entry.agent.0.as_bytes());
        body.extend(entry.server.0.to_le_bytes());
        body.extend(entry.epoch.to_le_bytes());
        body.extend(entry.sequence.to_le_bytes());
    }
    seal(LEDGER, &body)
}

fn seal(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEAD_BYTES + body.len());
    sealed.extend(MARK);
    sealed.push(kind);
    sealed.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    sealed.extend(checksum(kind, body).to_le_bytes());
    sealed.extend(body);
    sealed
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(body);
    hasher.finalize()
}

/// Whether bytes begin as an envelope does.
fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MARK)
}

/// How long the envelope is that begins here, head included; `None` if none can begin here.
pub(super) fn length(head: &[u8]) -> Option<usize> {
    let head = head.get(..HEAD_BYTES)?;
    if !is_sealed(head) || !(RECORD..=LEDGER).contains(&head[3]) {
        return None;
    }
    let body = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
    (body <= BODY_BYTES_MAX).then_some(HEAD_BYTES + body)
}

/// Opens an envelope of exactly these bytes; `None` if any of them is not as it was written.
pub(super) fn open(sealed: &[u8]) -> Option<Envelope> {
    if length(sealed)? != sealed.len() {
        return None;
    }
    let (kind, body) = (sealed[3], &sealed[HEAD_BYTES..]);
    let told = u32::from_le_bytes(sealed[8..12].try_into().ok()?);
    if checksum(kind, body) != told {
        return None;
    }
    let mut fields = Fields(body);
    match kind {
        RECORD => {
            let head = RecordHead {
                position: fields.i64()?,
                agent: fields.agent()?,
                server: ServerId(fields.i64()?),
                epoch: fields.u64()?,
                sequence: fields.u64()?,
                received_ms: fields.i64()?,
                kind: fields.take::<1>()?[0],
                size_bytes: fields.u32()?,
            };
            Some(Envelope::Record(head, fields.0.to_vec()))
        }
        DEFINITIONS => {
            let head = DefinitionsHead {
                agent: fields.agent()?,
                epoch: fields.u64()?,
                first_id: fields.u32()?,
                last_id: fields.u32()?,
            };
            Some(Envelope::Definitions(head, fields.0.to_vec()))
        }
        CURSOR => fields.cursor().map(Envelope::Cursor),
        _ => fields.ledger().map(Envelope::Ledger),
    }
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn agent(&mut self) -> Option<AgentId> {
        self.take().map(|bytes| AgentId(uuid::Uuid::from_bytes(bytes)))
    }

    fn cursor(&mut self) -> Option<CursorBody> {
        let (agent, epoch, written_at) = (self.agent()?, self.u64()?, self.i64()?);
        let (definitions, last_ms) = (self.u32()?, self.i64()?);
        let mut ranges = Vec::with_capacity(self.0.len() / 16);
        while !self.0.is_empty() {
            let (first, last) = (self.u64()?, self.u64()?);
            ranges.push(SequenceRange { first, last });
        }
        Some(CursorBody {
            agent,
            epoch,
            written_at,
            definitions,
            last_ms,
            ranges: ranges.into_iter().collect(),
        })
    }

    fn ledger(&mut self) -> Option<LedgerBody> {
        let floor = self.i64()?;
        let mut entries = Vec::with_capacity(self.0.len() / 48);
        while !self.0.is_empty() {
            entries.push(LedgerEntry {
                position: self.i64()?,
                agent: self.agent()?,
                server: ServerId(self.i64()?),
                epoch: self.u64()?,
                sequence: self.u64()?,
            });
        }
        Some(LedgerBody { floor, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_no_flipped_bit_goes_unseen() {
        let agent = AgentId(uuid::Uuid::from_u128(9));
        let head = RecordHead {
            position: 5,
            agent,
            server: ServerId(3),
            epoch: u64::MAX,
            sequence: 7,
            received_ms: -1,
            kind: 2,
            size_bytes: 99,
        };
        let cursor = CursorBody {
            agent,
            epoch: 4,
            written_at: 12,
            definitions: 3,
            last_ms: 8,
            ranges: [SequenceRange { first: 1, last: 3 }].into_iter().collect(),
        };
        let ledger = LedgerBody {
            floor: 2,
            entries: vec![LedgerEntry {
                position: 5,
                agent,
                server: ServerId(3),
                epoch: 4,
                sequence: 7,
            }],
        };
        for (sealed, wanted) in [
            (
                seal_record(&head, b"packed"),
                Envelope::Record(head, b"packed".to_vec()),
            ),
            (seal_cursor(&cursor), Envelope::Cursor(cursor.clone())),
            (seal_ledger(&ledger), Envelope::Ledger(ledger.clone())),
        ] {
            assert_eq!(open(&sealed), Some(wanted));
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&flipped), None, "bit {bit}");
            }
            assert_eq!(open(&sealed[..sealed.len() - 1]), None);
        }
    }
}
