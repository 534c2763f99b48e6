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
    /// Reports received on the backlog lane.
    pub reports_backlog: AtomicU64,
    /// Reports that could be decoded and that no report may be.
    pub reports_refused: AtomicU64,
    /// Connected servers whose clock is off by more than 5 s.
    pub skewed: AtomicU64,
    breaches: [AtomicU64; BREACHES.len()],
    /// Streams closed because a frame or message broke a rule.
    pub closed_bad_frame: AtomicU64,
    /// Streams closed because a newer one of the same agent came.
    pub closed_replaced: AtomicU64,
    /// Streams closed because nothing could be taken.
    pub closed_overloaded: AtomicU64,
    /// Streams closed because the identity was revoked.
    pub closed_revoked: AtomicU64,
    /// Streams closed because the identity was put in quarantine.
    pub closed_quarantined: AtomicU64,
}

/// What can be wrong with what comes in, so that the stream is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// A frame is longer than a frame may be.
    FrameTooLong,
    /// A frame is no protobuf message.
    FrameUnreadable,
    /// A message is longer than a message may be, packed or unpacked.
    MessageTooLong,
    /// A message does not unpack, or is no protobuf message.
    MessageUnreadable,
    /// A frame names a lane or compression that there is not.
    Header,
    /// The first frame is no acceptable Hello, or a second one came.
    Hello,
    /// Numbers that cannot be: a report 0, definitions from 0, more epochs than there may be.
    Numbers,
}

/// Every breach with the word for it.
const BREACHES: [(Breach, &str); 7] = [
    (Breach::FrameTooLong, "frame_too_long"),
    (Breach::FrameUnreadable, "frame_unreadable"),
    (Breach::MessageTooLong, "message_too_long"),
    (Breach::MessageUnreadable, "message_unreadable"),
    (Breach::Header, "header"),
    (Breach::Hello, "hello"),
    (Breach::Numbers, "numbers"),
];

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

    /// Streams that were closed for what came in on them, by reason.
    pub fn breaches(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        BREACHES.iter().map(|(_, name)| *name).zip(&self.breaches)
    }

    pub(super) fn count_breach(&self, breach: Breach) {
        self.breaches[breach as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_backlog(&self) {
        self.reports_backlog.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unacceptable(&self) {
        self.reports_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_close(&self, reason: CloseReason) {
        let counter = match reason {
            CloseReason::BadFrame => &self.closed_bad_frame,
            CloseReason::Replaced => &self.closed_replaced,
            CloseReason::Overloaded => &self.closed_overloaded,
            CloseReason::Revoked => &self.closed_revoked,
            CloseReason::Quarantined => &self.closed_quarantined,
            CloseReason::Unspecified | CloseReason::Shutdown => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a server as one with a wrong clock while that is so.
pub(super) struct Skewed {
    metrics: Arc<SessionMetrics>,
    is_skewed: bool,
}

impl Skewed {
    pub(super) fn new(metrics: &Arc<SessionMetrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            is_skewed: false,
        }
    }

    pub(super) fn set(&mut self, is_skewed: bool) {
        if is_skewed == self.is_skewed {
            return;
        }
        self.is_skewed = is_skewed;
        if is_skewed {
            self.metrics.skewed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.metrics.skewed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Skewed {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
    }
}
