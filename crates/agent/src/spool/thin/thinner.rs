//! Which samples of a segment stay when it is thinned.

use std::collections::HashMap;

use muster_model::SampleBlock;

/// Keeps the last sample of each series in each period, counted from the Unix epoch: so a counter has risen by the same
/// between two periods as before, and what a gauge ended with is there.
///
/// Reports are to be given from the newest to the oldest, so that the last one of a period is known however many reports
/// it has.
#[derive(Debug)]
pub(super) struct Thinner {
    period_ms: i64,
    /// The period of which a sample was kept last, by series.
    kept: HashMap<u32, i64>,
}

impl Thinner {
    pub(super) fn new(period_ms: i64) -> Self {
        Self {
            period_ms,
            kept: HashMap::new(),
        }
    }

    /// What stays of a report's blocks. A row goes only if each of its series has a later one in the same period.
    pub(super) fn thin(&mut self, blocks: &[SampleBlock]) -> Vec<SampleBlock> {
        let rows = blocks.iter().enumerate().flat_map(|(index, block)| {
            let times = block.times_ms().iter().enumerate();
            times.map(move |(row, time_ms)| (*time_ms, index, row))
        });
        let mut rows: Vec<(i64, usize, usize)> = rows.collect();
        rows.sort_unstable();
        let mut stays: Vec<Vec<bool>> = blocks
            .iter()
            .map(|block| vec![true; block.times_ms().len()])
            .collect();
        for (time_ms, block, row) in rows.into_iter().rev() {
            let period = time_ms.div_euclid(self.period_ms);
            let series = blocks[block].series();
            if series.iter().all(|id| self.kept.get(id) == Some(&period)) {
                stays[block][row] = false;
            } else {
                self.kept.extend(series.iter().map(|id| (*id, period)));
            }
        }
        let thinned = blocks
            .iter()
            .zip(&stays)
            .map(|(block, stays)| rows_of(block, stays));
        thinned.filter(|block| !block.values().is_empty()).collect()
    }
}

/// The rows of a block that stay.
fn rows_of(block: &SampleBlock, stays: &[bool]) -> SampleBlock {
    let rows = || block.rows().zip(stays).filter(|(_, stays)| **stays);
    let times_ms = rows().map(|((time_ms, _), _)| time_ms).collect();
    let values = rows().flat_map(|((_, row), _)| row).copied().collect();
    SampleBlock::new(times_ms, block.series().to_vec(), values).expect("some rows of a block are a block")
}

#[cfg(test)]
mod tests;
