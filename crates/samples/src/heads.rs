//! All heads, by group, spread over locks so that appending for one server does not wait for another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::head::{Head, WindowHead};

/// Locks over which the groups are spread.
const SHARDS: usize = 64;

/// The heads of one lock.
pub(crate) type Shard = HashMap<u32, Head>;

/// All heads.
#[derive(Debug)]
pub(crate) struct Heads {
    shards: Vec<RwLock<Shard>>,
    samples: AtomicUsize,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(RwLock::default).take(SHARDS).collect(),
            samples: AtomicUsize::new(0),
        }
    }
}

impl Heads {
    /// The lock that has a group's head.
    pub(crate) fn shard(&self, group: u32) -> &RwLock<Shard> {
        &self.shards[group as usize % SHARDS]
    }

    /// Counts samples that were pushed into a head.
    pub(crate) fn count_pushed(&self, samples: usize) {
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// How many samples there are.
    pub(crate) fn sample_count(&self) -> usize {
        self.samples.load(Ordering::Relaxed)
    }

    /// Every series that has samples here.
    pub(crate) fn series(&self) -> HashSet<u32> {
        let mut series = HashSet::new();
        for shard in &self.shards {
            shard
                .read()
                .values()
                .for_each(|head| series.extend(head.series()));
        }
        series
    }

    /// About how many bytes of memory they take.
    pub(crate) fn byte_count(&self) -> usize {
        let of_head = |head: &Head| head.windows().map(WindowHead::byte_count).sum::<usize>();
        self.shards
            .iter()
            .map(|shard| shard.read().values().map(of_head).sum::<usize>())
            .sum()
    }

    /// The lowest intake position of anything that is not on disk.
    pub(crate) fn first_position(&self) -> Option<i64> {
        self.shards
            .iter()
            .filter_map(|shard| shard.read().values().filter_map(Head::first_position).min())
            .min()
    }

    /// Begin of the earliest window of anything that is not on disk, Unix milliseconds.
    pub(crate) fn first_ms(&self) -> Option<i64> {
        let of_head = |head: &Head| head.windows().map(|window| window.window.start_ms).min();
        self.shards
            .iter()
            .filter_map(|shard| shard.read().values().filter_map(of_head).min())
            .min()
    }

    /// Freezes what [`Head::freeze`] chooses of every group and returns all frozen windows, each with its group; those
    /// of a group in the order of acceptance.
    pub(crate) fn freeze(
        &self,
        group_samples_max: usize,
        mut is_due: impl FnMut(&mut WindowHead) -> bool,
    ) -> Vec<(u32, Arc<WindowHead>)> {
        let mut frozen = Vec::new();
        for shard in &self.shards {
            for (group, head) in shard.write().iter_mut() {
                let windows = head.freeze(group_samples_max, &mut is_due);
                frozen.extend(windows.iter().map(|window| (*group, Arc::clone(window))));
            }
        }
        frozen
    }

    /// Forgets windows that are on disk now.
    pub(crate) fn forget(&self, group: u32, sealed: &[Arc<WindowHead>]) {
        let mut shard = self.shard(group).write();
        let samples = sealed.iter().map(|window| window.sample_count()).sum();
        self.samples.fetch_sub(samples, Ordering::Relaxed);
        if let Some(head) = shard.get_mut(&group) {
            sealed.iter().for_each(|window| head.forget(window));
            if head.is_empty() {
                shard.remove(&group);
            }
        }
    }
}
