//! Heads: what was appended and is not sealed yet, in memory.
//!
//! A head belongs to a group (the series of one collector of one server), because their samples come together:
//! a tick is one row of values under one time. A head holds windows; a window holds [`RowBlock`]s, one for each
//! set of series that came together. Appending copies a row and looks at nothing else.
//!
//! Invariants: a window is in exactly one place (open here, frozen here, or in a chunk on disk) except for the
//! moment after a commit, when it is in two, which merging forgives; a window's `first_position` is the lowest
//! intake position of what it holds. Knows nothing of files.

mod block;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::run::Run;
use crate::series::SeriesRef;
use crate::window::{Window, phase_of};

pub(crate) use block::RowBlock;

/// Blocks that are compared when looking for the one a row belongs to. A collector whose set of series changes
/// from tick to tick makes more blocks, which costs memory but no time.
const BLOCKS_SEARCHED: usize = 8;

/// Rows as they come from the intake, all of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Where the intake keeps them.
    pub(crate) position: i64,
    /// Ids of the series of each row.
    pub(crate) series: &'a [SeriesRef],
    /// A row's time, Unix milliseconds.
    pub(crate) time_ms: i64,
    /// A row's values.
    pub(crate) values: &'a [f64],
}

/// The unsealed samples of one window.
#[derive(Debug)]
pub(crate) struct WindowHead {
    /// The window.
    pub(crate) window: Window,
    /// The lowest intake position of the samples.
    pub(crate) first_position: i64,
    /// When sealing first saw the window, by the controller's clock.
    pub(crate) seen_ms: Option<i64>,
    blocks: Vec<RowBlock>,
}

impl WindowHead {
    const fn new(window: Window, position: i64) -> Self {
        Self {
            window,
            first_position: position,
            seen_ms: None,
            blocks: Vec::new(),
        }
    }

    /// Takes a row, unless the same series already have one for this time; says whether it took it.
    fn push(&mut self, rows: Rows<'_>) -> bool {
        self.first_position = self.first_position.min(rows.position);
        if let Some(index) = self.block(rows.series) {
            // Blocks are read one after another, so for one time their order must be that of acceptance.
            let is_last_for_time = !self.blocks[index + 1..]
                .iter()
                .any(|block| block.has(rows.time_ms));
            let block = &mut self.blocks[index];
            if block.has(rows.time_ms) {
                return false;
            }
            if is_last_for_time && !block.is_full() {
                return block.push(rows.time_ms, rows.values);
            }
        }
        let mut block = RowBlock::new(rows.series.into());
        block.push(rows.time_ms, rows.values);
        self.blocks.push(block);
        true
    }

    /// The block of just these series, if it is among the latest.
    fn block(&self, series: &[SeriesRef]) -> Option<usize> {
        let searched = self.blocks.len().saturating_sub(BLOCKS_SEARCHED);
        (searched..self.blocks.len())
            .rev()
            .find(|index| self.blocks[*index].series() == series)
    }

    /// Appends what it holds of `wanted` (ascending; `None`: of all series) as runs, in the order of acceptance:
    /// everything from `start_ms` on and perhaps some before.
    pub(crate) fn read(&self, wanted: Option<&[u32]>, start_ms: i64, runs: &mut Vec<Run>) {
        for block in &self.blocks {
            block.read(wanted, start_ms, runs);
        }
    }

    /// How many samples it holds, duplicates included.
    pub(crate) fn sample_count(&self) -> usize {
        self.blocks.iter().map(RowBlock::sample_count).sum()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn byte_count(&self) -> usize {
        self.blocks.iter().map(RowBlock::byte_count).sum()
    }
}

/// The head of one group.
#[derive(Debug)]
pub(crate) struct Head {
    phase_ms: i64,
    /// Windows that take rows, by start.
    open: BTreeMap<i64, WindowHead>,
    /// Windows on their way to disk, in the order in which they were frozen.
    frozen: Vec<Arc<WindowHead>>,
}

impl Head {
    /// An empty head.
    pub(crate) const fn new(group: u32) -> Self {
        Self {
            phase_ms: phase_of(group),
            open: BTreeMap::new(),
            frozen: Vec::new(),
        }
    }

    /// Takes a row into its window; `false` if the same series already have one for this time.
    pub(crate) fn push(&mut self, rows: Rows<'_>) -> bool {
        // Nearly always the latest window, so that one is looked at first.
        if let Some(mut latest) = self.open.last_entry()
            && latest.get().window.holds(rows.time_ms)
        {
            return latest.get_mut().push(rows);
        }
        let window = Window::of(rows.time_ms, self.phase_ms);
        self.open
            .entry(window.start_ms)
            .or_insert_with(|| WindowHead::new(window, rows.position))
            .push(rows)
    }

    /// Freezes the open windows that `is_due` chooses, or all if they hold more than `samples_max`. Returns all
    /// that are frozen (some perhaps since an earlier sealing that failed).
    pub(crate) fn freeze(
        &mut self,
        samples_max: usize,
        mut is_due: impl FnMut(&mut WindowHead) -> bool,
    ) -> &[Arc<WindowHead>] {
        let is_full = samples_max < self.open.values().map(WindowHead::sample_count).sum();
        let due = self.open.extract_if(.., |_, head| is_full || is_due(head));
        self.frozen.extend(due.map(|(_, head)| Arc::new(head)));
        &self.frozen
    }

    /// Forgets a frozen window that is on disk now.
    pub(crate) fn forget(&mut self, sealed: &Arc<WindowHead>) {
        self.frozen.retain(|frozen| !Arc::ptr_eq(frozen, sealed));
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.frozen.is_empty()
    }

    /// Whether one of its latest blocks is of just these series; they are then all of this group.
    pub(crate) fn knows(&self, series: &[SeriesRef]) -> bool {
        self.open
            .last_key_value()
            .is_some_and(|(_, window)| window.block(series).is_some())
    }

    /// The series it has rows of, some more than once.
    pub(crate) fn series(&self) -> impl Iterator<Item = u32> + '_ {
        let blocks = self.windows().flat_map(|window| &window.blocks);
        blocks.flat_map(|block| block.series().iter().map(|series| series.0))
    }

    /// The lowest intake position of what it holds.
    pub(crate) fn first_position(&self) -> Option<i64> {
        self.windows().map(|window| window.first_position).min()
    }

    /// Every window, those accepted earlier before those accepted later.
    pub(crate) fn windows(&self) -> impl Iterator<Item = &WindowHead> {
        self.frozen.iter().map(Arc::as_ref).chain(self.open.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<'a>(position: i64, time_ms: i64, series: &'a [SeriesRef], values: &'a [f64]) -> Rows<'a> {
        Rows {
            position,
            series,
            time_ms,
            values,
        }
    }

    fn read(head: &Head, wanted: &[u32]) -> Vec<(u32, Vec<i64>, Vec<f64>)> {
        let mut runs = Vec::new();
        head.windows()
            .for_each(|window| window.read(Some(wanted), i64::MIN, &mut runs));
        runs.into_iter()
            .map(|run| (run.series, run.times_ms.to_vec(), run.values))
            .collect()
    }

    #[test]
    fn rows_of_the_same_series_share_their_times() {
        let mut head = Head::new(0);
        for n in 0..100 {
            assert!(head.push(rows(
                n,
                n * 1_000,
                &[SeriesRef(4), SeriesRef(2)],
                &[n as f64, -n as f64]
            )));
        }
        let mut runs = Vec::new();
        head.windows()
            .for_each(|window| window.read(None, i64::MIN, &mut runs));
        assert!(runs.len() == 2 && Arc::ptr_eq(&runs[0].times_ms, &runs[1].times_ms));
        let read = read(&head, &[2]);
        assert_eq!((read[0].1.len(), read[0].2[99]), (100, -99.0));
    }

    #[test]
    fn the_same_row_again_is_not_taken() {
        let mut head = Head::new(0);
        assert!(head.push(rows(1, 10, &[SeriesRef(1), SeriesRef(2)], &[1.0, 2.0])));
        assert!(head.push(rows(2, 20, &[SeriesRef(1), SeriesRef(2)], &[1.0, 2.0])));
        assert!(!head.push(rows(3, 10, &[SeriesRef(1), SeriesRef(2)], &[5.0, 5.0])));
        assert_eq!(read(&head, &[1]), [(1, vec![10, 20], vec![1.0, 1.0])]);
    }

    #[test]
    fn of_rows_of_different_series_the_first_accepted_comes_first() {
        let mut head = Head::new(0);
        let (both, one) = ([SeriesRef(1), SeriesRef(2)], [SeriesRef(1)]);
        head.push(rows(1, 10, &both, &[1.0, 1.0]));
        head.push(rows(2, 20, &one, &[2.0]));
        head.push(rows(3, 20, &both, &[9.0, 3.0]));
        head.push(rows(4, 20, &both, &[9.0, 9.0]));
        let mut runs = Vec::new();
        head.windows()
            .for_each(|window| window.read(None, i64::MIN, &mut runs));
        let (merged, duplicates) = crate::run::merge(runs);
        assert_eq!(
            (&merged[0].values[..], &merged[1].values[..], duplicates),
            (&[1.0, 2.0][..], &[1.0, 3.0][..], 1)
        );
    }

    #[test]
    fn a_group_with_too_many_samples_is_frozen_before_its_time() {
        let mut head = Head::new(0);
        for n in 0..5 {
            head.push(rows(n, n, &[SeriesRef(1), SeriesRef(2)], &[0.0, 0.0]));
        }
        assert!(head.freeze(10, |_| false).is_empty());
        assert_eq!(head.freeze(9, |_| false).len(), 1);
    }

    #[test]
    fn a_frozen_window_is_read_until_it_is_forgotten_and_late_rows_open_it_anew() {
        let mut head = Head::new(0);
        head.push(rows(5, 10, &[SeriesRef(1)], &[1.0]));
        let frozen = head.freeze(1_000, |_| true)[0].clone();
        head.push(rows(6, 20, &[SeriesRef(1)], &[2.0]));
        assert_eq!(
            head.windows()
                .map(|window| window.first_position)
                .collect::<Vec<_>>(),
            [5, 6]
        );
        assert_eq!(read(&head, &[1]).len(), 2);
        head.forget(&frozen);
        assert_eq!(read(&head, &[1]), [(1, vec![20], vec![2.0])]);
    }
}
