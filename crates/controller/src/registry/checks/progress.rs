//! How far a round is, for whoever looks meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How far a round is: it only ever goes up.
#[derive(Debug, Default)]
pub struct Progress {
    images: AtomicUsize,
    checked: AtomicUsize,
    failed: AtomicUsize,
}

impl Progress {
    /// So many more images, each for each of its platforms, are to be asked about.
    pub fn add(&self, images: usize) {
        self.images.fetch_add(images, Ordering::Relaxed);
    }

    /// One of them was asked about, with success or not.
    pub fn asked(&self, is_checked: bool) {
        let count = if is_checked { &self.checked } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are in all.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images.load(Ordering::Relaxed)
    }

    /// How many were asked about, and of how many of these the registry did not say what there is.
    #[must_use]
    pub fn done(&self) -> (usize, usize) {
        let failed = self.failed.load(Ordering::Relaxed);
        (self.checked.load(Ordering::Relaxed) + failed, failed)
    }
}
