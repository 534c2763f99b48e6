//! The newest records in memory, for consumers that keep up.
//!
//! Bounded in bytes: past the bound the oldest go, and a consumer that has not had them reads them from disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Accepted;

/// The newest committed records in order of position.
pub struct Feed {
    recent: Mutex<Recent>,
    bytes_max: usize,
    committed_tx: watch::Sender<i64>,
}

struct Recent {
    records: VecDeque<Arc<Accepted>>,
    bytes: usize,
    /// Every record after this position is in memory.
    complete_after: i64,
}

impl Feed {
    pub(super) fn new(bytes_max: usize, committed: i64) -> Self {
        let recent = Recent {
            records: VecDeque::new(),
            bytes: 0,
            complete_after: committed,
        };
        Self {
            recent: Mutex::new(recent),
            bytes_max,
            committed_tx: watch::Sender::new(committed),
        }
    }

    /// Adds records that were just committed, in order.
    pub(super) fn push(&self, records: Vec<Arc<Accepted>>) {
        let Some(last) = records.last().map(|record| record.position) else {
            return;
        };
        let mut recent = self.lock();
        for record in records {
            recent.bytes += record.size_bytes;
            recent.records.push_back(record);
        }
        while self.bytes_max < recent.bytes && recent.drop_oldest() {}
        drop(recent);
        self.committed_tx.send_replace(last);
    }

    /// Records after `position`; `None` if some of them are no longer here.
    pub(super) fn after(
        &self,
        position: i64,
        count_max: usize,
        bytes_max: usize,
    ) -> Option<Vec<Arc<Accepted>>> {
        let recent = self.lock();
        if position < recent.complete_after {
            return None;
        }
        let start = recent
            .records
            .partition_point(|record| record.position <= position);
        let mut bytes = 0;
        let fits = |record: &&Arc<Accepted>| {
            let has_room = bytes < bytes_max;
            bytes += record.size_bytes;
            has_room
        };
        Some(
            recent
                .records
                .range(start..)
                .take(count_max)
                .take_while(fits)
                .cloned()
                .collect(),
        )
    }

    /// Lets go of everything up to `position`.
    pub(super) fn release(&self, position: i64) {
        let mut recent = self.lock();
        while recent
            .records
            .front()
            .is_some_and(|record| record.position <= position)
            && recent.drop_oldest()
        {}
    }

    /// Bytes of what is held.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// No record comes up to `position`, other than those that are here.
    pub(super) fn begin_after(&self, position: i64) {
        self.committed_tx
            .send_if_modified(|committed| std::mem::replace(committed, position.max(*committed)) < position);
    }

    /// Starts over: what is in the file up to `committed` has to be read from there.
    pub(super) fn reset(&self, committed: i64) {
        let mut recent = self.lock();
        recent.records.clear();
        recent.bytes = 0;
        recent.complete_after = committed;
        drop(recent);
        self.committed_tx.send_replace(committed);
    }

    pub(super) fn committed(&self) -> watch::Receiver<i64> {
        self.committed_tx.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn drop_oldest(&mut self) -> bool {
        let Some(record) = self.records.pop_front() else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(record.size_bytes);
        self.complete_after = record.position;
        true
    }
}

#[cfg(test)]
mod tests {
    use muster_base::id::{AgentId, ServerId};
    use muster_model::{Clock, Report};

    use super::*;

    fn record(position: i64) -> Arc<Accepted> {
        let clock = Clock {
            wall_ms: 0,
            boottime_ms: 0,
            boot_id: String::new(),
        };
        Arc::new(Accepted {
            position,
            agent: AgentId(uuid::Uuid::nil()),
            server: ServerId(1),
            received_ms: 0,
            report: Arc::new(Report::empty(1, position.unsigned_abs(), clock)),
            size_bytes: 10,
        })
    }

    fn positions(feed: &Feed, after: i64) -> Option<Vec<i64>> {
        feed.after(after, 100, 1000)
            .map(|records| records.iter().map(|record| record.position).collect())
    }

    #[test]
    fn a_reader_that_keeps_up_reads_from_memory_and_a_late_one_does_not() {
        let feed = Feed::new(30, 5);
        feed.push((6..=10).map(record).collect());
        assert_eq!(positions(&feed, 7), Some(vec![8, 9, 10]));
        assert_eq!(positions(&feed, 10), Some(vec![]));
        assert_eq!(positions(&feed, 6), None);
        assert_eq!(*feed.committed().borrow(), 10);
    }

    #[test]
    fn what_every_consumer_has_had_is_let_go() {
        let feed = Feed::new(1000, 0);
        feed.push((1..=4).map(record).collect());
        feed.release(3);
        assert_eq!(positions(&feed, 3), Some(vec![4]));
        assert_eq!(positions(&feed, 2), None);
        assert_eq!(feed.lock().bytes, 10);
    }

    #[test]
    fn a_page_is_bounded_in_count_and_bytes_but_never_empty_when_there_is_something() {
        let feed = Feed::new(1000, 0);
        feed.push((1..=9).map(record).collect());
        assert_eq!(feed.after(0, 2, 1000).unwrap().len(), 2);
        assert_eq!(feed.after(0, 100, 25).unwrap().len(), 3);
        assert_eq!(feed.after(0, 100, 1).unwrap().len(), 1);
    }
}
