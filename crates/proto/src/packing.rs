//! zstd with contexts that are used again.
//!
//! Making a context takes longer than most messages, and a context is larger than most; so there are as few as do the
//! work, for all threads and streams. Who finds all of them at work waits for one.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use zstd::bulk::{Compressor, Decompressor};

/// A context grows with the largest that it has packed, to five times that, and never shrinks: one that has packed more
/// than this is not kept. Making it is little beside such work.
const KEPT_BYTES_MAX: usize = 64 * 1024;

#[derive(Default)]
struct Contexts {
    packer: Option<Compressor<'static>>,
    unpacker: Option<Decompressor<'static>>,
}

/// The contexts of a program.
struct Pool {
    shelf: Mutex<Shelf>,
    returned: Condvar,
    most: OnceLock<NonZeroUsize>,
}

/// Those that are not at work, and how many are.
struct Shelf {
    idle: Vec<Contexts>,
    lent: usize,
}

static POOL: Pool = Pool::new();

/// Has a program do with `most` contexts. To be said before anything is packed: it does not count after that, and
/// otherwise there are two for each processor, so that one whose thread has to wait for a processor holds nobody up.
///
/// Returns whether it counts.
pub fn keep_at_most(most: NonZeroUsize) -> bool {
    POOL.most.set(most).is_ok()
}

/// Frees the contexts that are not at work, until they are needed again.
pub fn let_go() {
    POOL.shelf().idle.clear();
}

/// Compresses into one frame that says how long it is.
///
/// # Errors
/// That of zstd, which has none for bytes in memory but that memory is short.
pub fn compress(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    POOL.compress(bytes, level)
}

/// Decompresses to at most `bytes_max`.
///
/// # Errors
/// If it is no frame of zstd, or longer.
pub fn decompress(bytes: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    POOL.decompress(bytes, bytes_max)
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

impl Pool {
    const fn new() -> Self {
        Self {
            shelf: Mutex::new(Shelf {
                idle: Vec::new(),
                lent: 0,
            }),
            returned: Condvar::new(),
            most: OnceLock::new(),
        }
    }

    fn compress(&self, bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
        let mut lent = self.lend();
        let packer = lent.contexts.packer()?;
        packer.set_compression_level(level)?;
        let packed = packer.compress(bytes);
        if KEPT_BYTES_MAX < bytes.len() {
            lent.contexts.packer = None;
        }
        packed
    }

    fn decompress(&self, bytes: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
        self.lend().contexts.unpacker()?.decompress(bytes, bytes_max)
    }

    /// Contexts to work with, once there are some.
    fn lend(&self) -> Lent<'_> {
        let most = self.most.get_or_init(|| {
            let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            processors.saturating_mul(const { NonZeroUsize::new(2).unwrap() })
        });
        let mut shelf = self.shelf();
        loop {
            let idle = shelf.idle.pop();
            if idle.is_some() || shelf.lent < most.get() {
                shelf.lent += 1;
                return Lent {
                    pool: self,
                    contexts: idle.unwrap_or_default(),
                };
            }
            shelf = self.returned.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nothing is done under the lock that could leave it half done.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Contexts as long as somebody works with them.
struct Lent<'a> {
    pool: &'a Pool,
    contexts: Contexts,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut shelf = self.pool.shelf();
        shelf.lent -= 1;
        shelf.idle.push(std::mem::take(&mut self.contexts));
        drop(shelf);
        self.pool.returned.notify_one();
    }
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

    #[test]
    fn many_threads_get_what_is_theirs_out_of_one_context() {
        let pool = Pool::new();
        pool.most.set(NonZeroUsize::MIN).unwrap();
        let work = |seed: usize| {
            for round in 0..50 {
                let plain = format!("{seed} {round} ").repeat(100 + seed);
                let packed = pool.compress(plain.as_bytes(), 1).unwrap();
                let again = pool.decompress(&packed, plain.len()).unwrap();
                assert_eq!(again, plain.as_bytes());
            }
        };
        thread::scope(|scope| {
            for seed in 0..16 {
                scope.spawn(move || work(seed));
            }
        });
        let shelf = pool.shelf();
        assert_eq!((shelf.idle.len(), shelf.lent), (1, 0));
        assert!(shelf.idle[0].packer.is_some());
    }

    #[test]
    fn a_context_that_has_grown_is_not_kept() {
        let pool = Pool::new();
        pool.most.set(NonZeroUsize::MIN).unwrap();
        for (bytes, is_kept) in [(KEPT_BYTES_MAX, true), (KEPT_BYTES_MAX + 1, false), (1, true)] {
            let packed = pool.compress(&vec![7; bytes], 3).unwrap();
            assert_eq!(pool.decompress(&packed, bytes).unwrap().len(), bytes);
            assert_eq!(pool.shelf().idle[0].packer.is_some(), is_kept);
        }
    }
}
