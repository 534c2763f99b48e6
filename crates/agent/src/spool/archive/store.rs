//! The file that names the store which acknowledged what the archive holds: its id and epoch as text.

use uuid::Uuid;

use crate::outbox::StoreMark;

pub(super) fn encode(store: StoreMark) -> Vec<u8> {
    let text = format!("{} {}", store.id, store.epoch);
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

/// `None` if it is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<StoreMark> {
    let (text, crc) = std::str::from_utf8(bytes).ok()?.trim_end().rsplit_once(' ')?;
    if crc != format!("{:08x}", crc32fast::hash(text.as_bytes())) {
        return None;
    }
    let (id, epoch) = text.split_once(' ')?;
    Some(StoreMark {
        id: Uuid::parse_str(id).ok()?,
        epoch: epoch.parse().ok()?,
    })
}
