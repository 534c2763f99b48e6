//! Ticks that wait for others while there is no controller, so that sixteen of them share one report.
//!
//! What is lost by an unclean end is bounded by that: sixteen ticks of any one collector, and [`AGE_MAX`]. Nothing that
//! alerts depend on waits here.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use muster_model::{Clock, SampleBlock, limits};
use tokio::time::Instant;

use super::bounds::Problems;
use super::split::Content;

/// Ticks of one collector in a report.
const TICKS_MAX: usize = 16;
/// Sixteen of the usual ticks.
const AGE_MAX: Duration = Duration::from_secs(16 * 15);
/// Most samples that wait.
const SAMPLES_MAX: usize = 200_000;
/// A step of the wall clock against the boot clock by more than this ends a batch: the times of a report go with one
/// reading of both.
const STEP_MS: i64 = 1_000;
/// Columns of a block, so that sixteen rows of it fit a report.
const COLUMNS_MAX: usize = 1_700;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) content: Content,
    pub(super) problems: Problems,
    since: Instant,
    ticks: BTreeMap<&'static str, usize>,
}

impl Batch {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            content: Content::new(clock),
            problems: Problems::default(),
            since: Instant::now(),
            ticks: BTreeMap::new(),
        }
    }

    /// Counts a tick.
    pub(super) fn count(&mut self, collector: &'static str) {
        *self.ticks.entry(collector).or_default() += 1;
    }

    /// When it must wait no longer.
    pub(super) fn deadline(&self) -> Instant {
        self.since + AGE_MAX
    }

    pub(super) fn is_full(&self) -> bool {
        let samples: usize = self.content.blocks.iter().map(|block| block.values().len()).sum();
        self.ticks.values().any(|ticks| TICKS_MAX <= *ticks)
            || self.deadline() <= Instant::now()
            || SAMPLES_MAX <= samples
    }

    /// Its samples, rows of the same series together.
    pub(super) fn take_blocks(&mut self) -> Vec<SampleBlock> {
        let blocks = std::mem::take(&mut self.content.blocks);
        match self.ticks.values().any(|ticks| 1 < *ticks) {
            true => merge(&blocks),
            // Each row is of other series than the next.
            false => blocks,
        }
    }

    /// Whether the clocks went on evenly until `now`.
    pub(super) fn fits(&self, now: &Clock) -> bool {
        let then = &self.content.clock;
        let passed_ms = now.boottime_ms.saturating_sub(then.boottime_ms);
        let wall_ms = now.wall_ms.saturating_sub(then.wall_ms);
        now.boot_id == then.boot_id && wall_ms.saturating_sub(passed_ms).saturating_abs() <= STEP_MS
    }
}

/// Rows of the same series become one block, in the order in which the series came first.
fn merge(blocks: &[SampleBlock]) -> Vec<SampleBlock> {
    let mut merged: Vec<Rows> = Vec::new();
    let mut last: HashMap<Vec<u32>, usize> = HashMap::new();
    for block in blocks {
        for (part, series) in block.series().chunks(COLUMNS_MAX).enumerate() {
            let columns = part * COLUMNS_MAX..part * COLUMNS_MAX + series.len();
            for (time_ms, row) in block.rows() {
                let row = &row[columns.clone()];
                match last.get(series) {
                    Some(&index) if merged[index].takes(time_ms) => merged[index].push(time_ms, row),
                    _ => {
                        last.insert(series.to_vec(), merged.len());
                        merged.push(Rows::new(time_ms, series, row));
                    }
                }
            }
        }
    }
    merged.into_iter().map(Rows::into_block).collect()
}

struct Rows {
    times_ms: Vec<i64>,
    series: Vec<u32>,
    values: Vec<f64>,
}

impl Rows {
    fn new(time_ms: i64, series: &[u32], row: &[f64]) -> Self {
        Self {
            times_ms: vec![time_ms],
            series: series.to_vec(),
            values: row.to_vec(),
        }
    }

    fn takes(&self, time_ms: i64) -> bool {
        let is_later = self.times_ms.last().is_none_or(|last| *last < time_ms);
        let values = self.values.len() + self.series.len();
        is_later && self.times_ms.len() < TICKS_MAX && values <= limits::SAMPLES_PER_BLOCK_MAX
    }

    fn push(&mut self, time_ms: i64, row: &[f64]) {
        self.times_ms.push(time_ms);
        self.values.extend_from_slice(row);
    }

    fn into_block(self) -> SampleBlock {
        let block = SampleBlock::new(self.times_ms, self.series, self.values);
        block.expect("a value for each series at each time, below the bound")
    }
}
