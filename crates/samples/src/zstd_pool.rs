//! Compression contexts that are used again: making one costs more than compressing a chunk with it.

use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

/// Level of sealed data; higher ones gain under one percent on these columns.
const LEVEL: i32 = 3;
/// Contexts kept for later; more may be in use at once.
const IDLE_MAX: usize = 4;

/// Idle contexts of both directions.
#[derive(Default)]
pub(crate) struct ZstdPool {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl ZstdPool {
    /// Compresses; `None` if that gains nothing.
    pub(crate) fn compress(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let idle = self.compressors.lock().pop();
        let mut context = idle.or_else(|| Compressor::new(LEVEL).ok())?;
        let compressed = context.compress(bytes).ok();
        give_back(&self.compressors, context);
        compressed.filter(|compressed| compressed.len() < bytes.len())
    }

    /// Decompresses what must become exactly `length` bytes.
    pub(crate) fn decompress(&self, bytes: &[u8], length: usize) -> Option<Vec<u8>> {
        let idle = self.decompressors.lock().pop();
        let mut context = idle.or_else(|| Decompressor::new().ok())?;
        let decompressed = context.decompress(bytes, length).ok();
        give_back(&self.decompressors, context);
        decompressed.filter(|decompressed| decompressed.len() == length)
    }
}

fn give_back<T>(pool: &Mutex<Vec<T>>, context: T) {
    let mut idle = pool.lock();
    if idle.len() < IDLE_MAX {
        idle.push(context);
    }
}
