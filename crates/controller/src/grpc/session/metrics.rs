//! Counts of streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_proto::v1::CloseReason;

/// Counts of streams since the start.
#[derive(Debug, Default)]
pub struct SessionMetrics {
    /// Streams open now.
    pub open: AtomicU64,
    /// Streams that were opened.
    pub opened: AtomicU64,
    /// Streams that were refused: the identity is unknown, revoked, or its certificate has expired.
    pub refused: AtomicU64,
    /// Frames received.
    pub frames: AtomicU64,
    /// Reports received, whatever became of them.
    pub reports: AtomicU64,
    /// Streams closed because a frame or message broke a rule.
    pub closed_bad_frame: AtomicU64,
    /// Streams closed because a newer one of the same agent came.
    pub closed_replaced: AtomicU64,
    /// Streams closed because nothing could be taken.
    pub closed_overloaded: AtomicU64,
    /// Streams closed because the identity was revoked.
    pub closed_revoked: AtomicU64,
}

/// A stream that counts as open while this lives.
pub(super) struct Opened {
    metrics: Arc<SessionMetrics>,
}

impl SessionMetrics {
    pub(super) fn opened(self: &Arc<Self>) -> Opened {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Opened {
            metrics: Arc::clone(self),
        }
    }

    pub(in crate::grpc) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_report(&self) {
        self.reports.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_close(&self, reason: CloseReason) {
        let counter = match reason {
            CloseReason::BadFrame => &self.closed_bad_frame,
            CloseReason::Replaced => &self.closed_replaced,
            CloseReason::Overloaded => &self.closed_overloaded,
            CloseReason::Revoked => &self.closed_revoked,
            CloseReason::Unspecified | CloseReason::Shutdown => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
    }
}
