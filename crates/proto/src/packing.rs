//! zstd with contexts that are used again.
//!
//! Making a context takes longer than most messages, and one for each stream would be many times the memory of its
//! messages; so each thread has one for either direction.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

#[derive(Default)]
struct Contexts {
    packer: Option<Compressor<'static>>,
    unpacker: Option<Decompressor<'static>>,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Compresses into one frame that says how long it is.
///
/// # Errors
/// That of zstd, which has none for bytes in memory but that memory is short.
pub fn compress(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    CONTEXTS.with_borrow_mut(|contexts| {
        let packer = contexts.packer()?;
        packer.set_compression_level(level)?;
        packer.compress(bytes)
    })
}

/// Decompresses to at most `bytes_max`.
///
/// # Errors
/// If it is no frame of zstd, or longer.
pub fn decompress(bytes: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    CONTEXTS.with_borrow_mut(|contexts| contexts.unpacker()?.decompress(bytes, bytes_max))
}

/// Decompresses one frame that says how long it is, at most `bytes_max`; takes no more memory than that. `None` for
/// anything else, which may still be frames of zstd.
#[must_use]
pub fn decompress_whole(bytes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let length = zstd::zstd_safe::get_frame_content_size(bytes).ok()??;
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= bytes_max)?;
    decompress(bytes, length)
        .ok()
        .filter(|plain| plain.len() == length)
}

impl Contexts {
    fn packer(&mut self) -> io::Result<&mut Compressor<'static>> {
        let packer = match self.packer.take() {
            Some(packer) => packer,
            None => Compressor::new(0)?,
        };
        Ok(self.packer.insert(packer))
    }

    fn unpacker(&mut self) -> io::Result<&mut Decompressor<'static>> {
        let unpacker = match self.unpacker.take() {
            Some(unpacker) => unpacker,
            None => Decompressor::new()?,
        };
        Ok(self.unpacker.insert(unpacker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_at_any_level_and_no_longer_than_allowed() {
        let plain = b"0123456789".repeat(1_000);
        for level in [1, 3, 1] {
            let packed = compress(&plain, level).unwrap();
            assert_eq!(decompress_whole(&packed, plain.len()), Some(plain.clone()));
            assert_eq!(decompress_whole(&packed, plain.len() - 1), None);
            assert!(decompress(&packed, plain.len() - 1).is_err());
            assert_eq!(decompress(&packed, plain.len() + 1).unwrap(), plain);
        }
        assert!(decompress(b"no frame", 100).is_err());
    }
}
