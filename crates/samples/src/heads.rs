//! All heads, by group, spread over locks so that appending for one server does not wait for another.

use std::collections::HashMap;
use std::sync::Arc;

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
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(RwLock::default).take(SHARDS).collect(),
        }
    }
}

impl Heads {
    /// The lock that has a group's head.
    pub(crate) fn shard(&self, group: u32) -> &RwLock<Shard> {
        &self.shards[group as usize % SHARDS]
    }

    /// The lowest intake position of anything that is not on disk.
    pub(crate) fn first_position(&self) -> Option<i64> {
        self.shards
            .iter()
            .filter_map(|shard| shard.read().values().filter_map(Head::first_position).min())
            .min()
    }

    /// How many samples there are, and about how many bytes they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut size = (0, 0);
        for shard in &self.shards {
            for window in shard.read().values().flat_map(Head::windows) {
                size.0 += window.sample_count();
                size.1 += window.byte_count();
            }
        }
        size
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
        if let Some(head) = shard.get_mut(&group) {
            sealed.iter().for_each(|window| head.forget(window));
            if head.is_empty() {
                shard.remove(&group);
            }
        }
    }
}
