//! The list of things that were begun and have not come back, so that what hangs is not begun again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

type Entries = HashMap<String, Entry, RandomState>;

/// Names of what is under way. Clones share the list.
#[derive(Debug, Clone)]
pub(super) struct Outstanding {
    entries: Arc<Mutex<Entries>>,
    entries_max: usize,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    count: u32,
}

/// Proof of being on the list; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Entered {
    list: Outstanding,
    name: String,
}

impl Outstanding {
    /// An empty list of at most this many names.
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            entries: Arc::default(),
            entries_max,
        }
    }

    /// Enters a name. `None` if the same name has been on the list for `stuck_after` or longer, or the list is full.
    pub(super) fn enter(&self, name: &str, stuck_after: Duration) -> Option<Entered> {
        let mut entries = self.lock();
        let is_full = self.entries_max <= entries.len();
        match entries.get_mut(name) {
            Some(entry) if stuck_after <= entry.since.elapsed() => return None,
            Some(entry) => entry.count += 1,
            None if is_full => return None,
            None => {
                entries.insert(
                    name.to_owned(),
                    Entry {
                        since: Instant::now(),
                        count: 1,
                    },
                );
            }
        }
        Some(Entered {
            list: self.clone(),
            name: name.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere cannot leave the map half-changed: each change is one call.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut entries = self.list.lock();
        if let Some(entry) = entries.get_mut(&self.name) {
            entry.count -= 1;
            if entry.count == 0 {
                entries.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_refused_until_it_comes_back() {
        let list = Outstanding::new(2);
        let hanging = list.enter("sda", Duration::ZERO);
        assert!(hanging.is_some());
        assert!(list.enter("sda", Duration::ZERO).is_none());
        drop(hanging);
        assert!(list.enter("sda", Duration::ZERO).is_some());
    }

    #[test]
    fn what_is_young_may_run_twice() {
        let list = Outstanding::new(2);
        let first = list.enter("stat", Duration::from_secs(60));
        let second = list.enter("stat", Duration::from_secs(60));
        assert!(first.is_some() && second.is_some());
        drop(first);
        assert!(
            list.enter("stat", Duration::ZERO).is_none(),
            "the second is still under way"
        );
    }

    #[test]
    fn a_full_list_refuses_new_names() {
        let list = Outstanding::new(1);
        let _one = list.enter("a", Duration::ZERO);
        assert!(list.enter("b", Duration::ZERO).is_none());
    }
}
