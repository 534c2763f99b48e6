//! Bytes of the spool's files: a header, then records, each beginning at a multiple of 64 bytes.
//!
//! A record is a head of 64 bytes and a payload: a report as [`compact`] packs it, definitions by zstd. Head and payload have checksums of their own:
//! damage in the payload leaves the record's number known, and where a head is damaged the next one is found at one
//! of the next multiples. Every checksum begins with the identity of the file (agent, epoch, number of the segment),
//! so that what another file has left in reused blocks is never taken for a record. Nothing here trusts a length
//! before its checksum.

use camino::Utf8PathBuf;
use muster_base::id::AgentId;
use muster_proto::{compact, packing};

/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 64;
/// Length of a file's header.
pub(super) const HEADER_BYTES: usize = 128;
const VERSION: u32 = 1;
const FILE_MAGIC: [u8; 8] = *b"MUSTSPL\n";
const RECORD_MAGIC: u32 = 0x4d52_4543;
const HEAD_BYTES: usize = 64;
/// Longest payload once it is unpacked: definitions of 64 series at their longest.
const PLAIN_BYTES_MAX: usize = 4 * 1024 * 1024;
const BOOT_ID_BYTES: usize = 40;

/// Which file bytes belong to. Segment 0 is the dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) agent: AgentId,
    pub(super) epoch: u64,
    pub(super) segment: u32,
}

impl FileId {
    fn hasher(self) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.agent.0.as_bytes());
        hasher.update(&self.epoch.to_le_bytes());
        hasher.update(&self.segment.to_le_bytes());
        hasher
    }
}

/// What the header of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: FileId,
    pub(super) first_sequence: u64,
    pub(super) boot_id: String,
    pub(super) wall_ms: i64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..28].copy_from_slice(self.id.agent.0.as_bytes());
        bytes[28..36].copy_from_slice(&self.id.epoch.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.id.segment.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.wall_ms.to_le_bytes());
        let boot_id = self.boot_id.as_bytes();
        let length = boot_id.len().min(BOOT_ID_BYTES);
        bytes[56..56 + length].copy_from_slice(&boot_id[..length]);
        let crc = crc32fast::hash(&bytes[..96]);
        bytes[96..100].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if it is damaged, or of a version that is not known.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if bytes[0..8] != FILE_MAGIC || u32_at(bytes, 96) != crc32fast::hash(&bytes[..96]) {
            return None;
        }
        if u32_at(bytes, 8) != VERSION {
            return None;
        }
        let boot_id = &bytes[56..56 + BOOT_ID_BYTES];
        let length = boot_id
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(BOOT_ID_BYTES);
        Some(Self {
            id: FileId {
                agent: AgentId(uuid::Uuid::from_slice(&bytes[12..28]).ok()?),
                epoch: u64_at(bytes, 28),
                segment: u32_at(bytes, 36),
            },
            first_sequence: u64_at(bytes, 40),
            boot_id: String::from_utf8_lossy(&boot_id[..length]).into_owned(),
            wall_ms: u64_at(bytes, 48).cast_signed(),
        })
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A report.
    Report,
    /// Definitions with ids from `sequence` to `definitions`.
    Definitions,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) payload_bytes: u32,
    pub(super) plain_bytes: u32,
    pub(super) sequence: u64,
    /// The report that was written before this one in this epoch; 0 for the first.
    pub(super) previous: u64,
    pub(super) definitions: u32,
    pub(super) sample_count: u32,
    pub(super) wall_ms: i64,
    pub(super) boottime_ms: i64,
}

impl Head {
    /// What the record takes in its file.
    pub(super) const fn stored_bytes(&self) -> usize {
        (HEAD_BYTES + self.payload_bytes as usize).next_multiple_of(ALIGN)
    }

    fn encode(&self, id: FileId, payload: &[u8]) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let kind: u32 = match self.kind {
            Kind::Report => 1,
            Kind::Definitions => 2,
        };
        bytes[0..4].copy_from_slice(&RECORD_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.plain_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&kind.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.definitions.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.sample_count.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.wall_ms.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.boottime_ms.to_le_bytes());
        let (head_crc, payload_crc) = checksums(id, &bytes, payload);
        bytes[16..20].copy_from_slice(&head_crc.to_le_bytes());
        bytes[20..24].copy_from_slice(&payload_crc.to_le_bytes());
        bytes
    }

    fn decode(id: FileId, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        if u32_at(bytes, 0) != RECORD_MAGIC || u32_at(bytes, 16) != checksums(id, bytes, &[]).0 {
            return None;
        }
        let kind = match u32_at(bytes, 12) {
            1 => Kind::Report,
            2 => Kind::Definitions,
            _ => return None,
        };
        Some(Self {
            kind,
            payload_bytes: u32_at(bytes, 4),
            plain_bytes: u32_at(bytes, 8),
            sequence: u64_at(bytes, 24),
            previous: u64_at(bytes, 32),
            definitions: u32_at(bytes, 40),
            sample_count: u32_at(bytes, 44),
            wall_ms: u64_at(bytes, 48).cast_signed(),
            boottime_ms: u64_at(bytes, 56).cast_signed(),
        })
    }
}

/// Checksums of a head, and of head and payload together.
fn checksums(id: FileId, head: &[u8], payload: &[u8]) -> (u32, u32) {
    let mut hasher = id.hasher();
    hasher.update(&head[..16]);
    hasher.update(&head[24..HEAD_BYTES]);
    let head_crc = hasher.clone().finalize();
    hasher.update(payload);
    (head_crc, hasher.finalize())
}

/// A record as it is written; lengths in `head` are set here.
pub(super) fn encode(id: FileId, mut head: Head, plain: &[u8]) -> std::io::Result<(Head, Vec<u8>)> {
    let payload = match head.kind {
        Kind::Report => compact::pack(plain)?,
        Kind::Definitions => packing::compress(plain, 3)?,
    };
    head.payload_bytes = u32::try_from(payload.len()).map_err(std::io::Error::other)?;
    head.plain_bytes = u32::try_from(plain.len()).map_err(std::io::Error::other)?;
    Ok((head, seal(id, head, &payload)))
}

/// A record that was found: its head is right, its payload if `plain` is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) offset: usize,
    pub(super) head: Head,
    pub(super) plain: Option<Vec<u8>>,
}

/// Every record of a file from `start` on, past all damage.
pub(super) fn scan(id: FileId, bytes: &[u8], start: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let mut offset = start;
    while offset + HEAD_BYTES <= bytes.len() {
        let Some(head) = Head::decode(id, &bytes[offset..]) else {
            offset += ALIGN;
            continue;
        };
        let plain = payload(id, head, &bytes[offset..]);
        found.push(Found { offset, head, plain });
        offset += head.stored_bytes();
    }
    found
}

/// The record at the beginning of `bytes`, if it is whole.
pub(super) fn decode(id: FileId, bytes: &[u8]) -> Option<(Head, Vec<u8>)> {
    let head = Head::decode(id, bytes)?;
    Some((head, payload(id, head, bytes)?))
}

fn payload(id: FileId, head: Head, bytes: &[u8]) -> Option<Vec<u8>> {
    let packed = packed(id, head, bytes)?;
    if PLAIN_BYTES_MAX < head.plain_bytes as usize {
        return None;
    }
    let plain_bytes = head.plain_bytes as usize;
    let plain = match head.kind {
        Kind::Report => compact::unpack(packed, plain_bytes)?,
        Kind::Definitions => packing::decompress(packed, plain_bytes).ok()?,
    };
    (plain.len() == plain_bytes).then_some(plain)
}

/// The payload as it is stored, if its checksum is right.
fn packed(id: FileId, head: Head, bytes: &[u8]) -> Option<&[u8]> {
    let packed = bytes.get(HEAD_BYTES..HEAD_BYTES + head.payload_bytes as usize)?;
    (checksums(id, bytes, packed).1 == u32_at(bytes, 20)).then_some(packed)
}

/// Heads of the records of a file that are whole, each with its offset; nothing is unpacked.
pub(super) fn scan_heads(id: FileId, bytes: &[u8]) -> Vec<(usize, Head)> {
    let (mut found, mut offset) = (Vec::new(), HEADER_BYTES);
    while offset + HEAD_BYTES <= bytes.len() {
        let Some(head) = Head::decode(id, &bytes[offset..]) else {
            offset += ALIGN;
            continue;
        };
        if packed(id, head, &bytes[offset..]).is_some() {
            found.push((offset, head));
        }
        offset += head.stored_bytes();
    }
    found
}

/// The head of the record at the beginning of `bytes`.
pub(super) fn head(id: FileId, bytes: &[u8]) -> Option<Head> {
    Head::decode(id, bytes)
}

/// The record at the beginning of `bytes`, for another file; `None` if it is damaged.
pub(super) fn reseal(from: FileId, to: FileId, bytes: &[u8]) -> Option<(Head, Vec<u8>)> {
    let head = Head::decode(from, bytes)?;
    Some((head, seal(to, head, packed(from, head, bytes)?)))
}

fn seal(id: FileId, head: Head, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(head.stored_bytes());
    bytes.extend(head.encode(id, payload));
    bytes.extend(payload);
    bytes.resize(head.stored_bytes(), 0);
    bytes
}

/// One of the two places of the file that names the highest number written, so that a cut tail is noticed.
pub(super) fn encode_mark(sequence: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The highest number that a mark file names; 0 if none can be read.
pub(super) fn decode_marks(bytes: &[u8]) -> u64 {
    let marks = bytes.chunks(ALIGN).filter(|slot| 12 <= slot.len());
    marks
        .filter(|slot| crc32fast::hash(&slot[..8]) == u32_at(slot, 8))
        .map(|slot| u64_at(slot, 0))
        .max()
        .unwrap_or(0)
}

/// Set in the numbers of segments that belong to the lane of urgent reports.
const URGENT: u32 = 1 << 31;

/// The number of the urgent lane's segment `count`.
pub(super) const fn urgent_segment(count: u32) -> u32 {
    URGENT | count
}

/// Whether a segment belongs to the lane of urgent reports.
pub(super) const fn is_urgent(segment: u32) -> bool {
    segment & URGENT != 0
}

/// Names a segment's file.
pub(super) fn segment_path(dir: &camino::Utf8Path, segment: u32) -> Utf8PathBuf {
    dir.join(format!("{segment:08}.seg"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
