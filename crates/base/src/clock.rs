//! The wall clock, behind a type that tests can set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Tells Unix milliseconds: the system's, or those a test sets.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    fixed_ms: Option<Arc<AtomicI64>>,
}

impl WallClock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`WallClock::set`].
    #[must_use]
    pub fn fixed(now_ms: i64) -> Self {
        Self {
            fixed_ms: Some(Arc::new(AtomicI64::new(now_ms))),
        }
    }

    /// Sets a fixed clock, and every clone of it; the system's clock is left alone.
    pub fn set(&self, now_ms: i64) {
        if let Some(fixed) = &self.fixed_ms {
            fixed.store(now_ms, Ordering::SeqCst);
        }
    }

    /// Unix milliseconds now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
    pub fn now_ms(&self) -> i64 {
        if let Some(fixed) = &self.fixed_ms {
            return fixed.load(Ordering::SeqCst);
        }
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }
}
