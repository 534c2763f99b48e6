//! How much backlog each stream may have on its way: all together have one amount, which those that have backlog share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::CREDIT_BYTES;

/// Bytes of backlog that all agents together may have on their way.
const ALL_BYTES: u64 = 64 * 1024 * 1024;
/// A stream without backlog for this long has none.
const OVER_AFTER: Duration = Duration::from_secs(30);

/// How many streams have backlog.
#[derive(Debug, Default)]
pub(in crate::grpc) struct Backlogs {
    streams: AtomicU64,
}

impl Backlogs {
    fn share_bytes(&self) -> u64 {
        (ALL_BYTES / self.streams.load(Ordering::Relaxed).max(1)).min(CREDIT_BYTES / 2)
    }
}

/// One stream's share.
#[derive(Debug)]
pub(super) struct Share {
    backlogs: Arc<Backlogs>,
    granted_bytes: u64,
    /// When backlog came last; `None`: it has none.
    came: Option<Instant>,
}

impl Share {
    pub(super) const fn new(backlogs: Arc<Backlogs>) -> Self {
        Self {
            backlogs,
            granted_bytes: 0,
            came: None,
        }
    }

    /// Backlog has come.
    pub(super) fn came(&mut self) {
        if self.came.replace(Instant::now()).is_none() {
            self.backlogs.streams.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the agent is to be granted from now on, if that is news: its share grows and shrinks with the number of
    /// those who have backlog.
    pub(super) fn news(&mut self) -> Option<u64> {
        if self.came.is_some_and(|came| OVER_AFTER <= came.elapsed()) {
            self.end();
        }
        let wanted = self.came.map_or(0, |_| self.backlogs.share_bytes());
        let is_news = (wanted == 0) != (self.granted_bytes == 0)
            || self.granted_bytes / 4 < wanted.abs_diff(self.granted_bytes);
        if !is_news {
            return None;
        }
        self.granted_bytes = wanted;
        Some(wanted)
    }

    fn end(&mut self) {
        if self.came.take().is_some() {
            self.backlogs.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_with_backlog_share_one_amount() {
        let backlogs = Arc::new(Backlogs::default());
        let mut first = Share::new(Arc::clone(&backlogs));
        assert_eq!(first.news(), None);
        first.came();
        assert_eq!(first.news(), Some(CREDIT_BYTES / 2));
        let mut others: Vec<Share> = (0..999).map(|_| Share::new(Arc::clone(&backlogs))).collect();
        for other in &mut others {
            other.came();
        }
        assert_eq!(first.news(), Some(ALL_BYTES / 1_000));
        assert_eq!(first.news(), None, "said once");
        drop(others);
        assert_eq!(first.news(), Some(CREDIT_BYTES / 2));
        tokio::time::advance(OVER_AFTER).await;
        assert_eq!(first.news(), Some(0));
        assert_eq!(backlogs.streams.load(Ordering::Relaxed), 0);
    }
}
