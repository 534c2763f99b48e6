//! Runs: samples of one series with their times, and how runs become one.
//!
//! Everything the store reads, whether from a head or a chunk, is a list of runs in the order in which their
//! samples were accepted. [`merge`] sorts by time and keeps, of several samples of the same series and time,
//! **the one that was accepted first**. This is the only place that decides about duplicates.

use std::collections::HashMap;
use std::sync::Arc;

/// Samples of one series; times and values are equally many.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The series' id.
    pub(crate) series: u32,
    /// Times, Unix milliseconds, in the order of acceptance; shared by the series of a row.
    pub(crate) times_ms: Arc<[i64]>,
    /// A value for each time.
    pub(crate) values: Vec<f64>,
}

/// Whether each time is later than the one before.
pub(crate) fn is_ascending(times_ms: &[i64]) -> bool {
    times_ms.windows(2).all(|pair| pair[0] < pair[1])
}

/// Joins runs in the order of acceptance into at most one run a series, ascending in time.
///
/// Returns them by series, with the number of samples that were there twice.
pub(crate) fn merge(runs: Vec<Run>) -> (Vec<Run>, usize) {
    let mut by_series: HashMap<u32, Vec<Run>> = HashMap::with_capacity(runs.len());
    for run in runs {
        by_series.entry(run.series).or_default().push(run);
    }
    let mut duplicates = 0;
    let mut merged = Vec::with_capacity(by_series.len());
    // Series that need sorting often need the same: those of a collector come in the same rows.
    let mut shared = SharedTimes::default();
    for (series, mut runs) in by_series {
        if runs.len() == 1 && is_ascending(&runs[0].times_ms) {
            merged.extend(runs.pop());
            continue;
        }
        let total: usize = runs.iter().map(|run| run.values.len()).sum();
        let (times, values) = join(&runs, total);
        duplicates += total - times.len();
        merged.push(Run {
            series,
            times_ms: shared.share(times),
            values,
        });
    }
    merged.sort_unstable_by_key(|run| run.series);
    (merged, duplicates)
}

/// Takes from `run` what is in one of `sealed` (ascending times); returns how many samples that were.
pub(crate) fn subtract(run: &mut Run, sealed: &[Arc<[i64]>], shared: &mut SharedTimes) -> usize {
    let is_new = |time: &i64| sealed.iter().all(|times| times.binary_search(time).is_err());
    if run.times_ms.iter().all(is_new) {
        return 0;
    }
    let before = run.values.len();
    let kept = run
        .times_ms
        .iter()
        .zip(&run.values)
        .filter(|(time, _)| is_new(time));
    let (times, values): (Vec<i64>, Vec<f64>) = kept.unzip();
    run.times_ms = shared.share(times);
    run.values = values;
    before - run.values.len()
}

/// Gives equal columns of times the same memory.
#[derive(Default)]
pub(crate) struct SharedTimes {
    /// The latest columns; a few are enough, since equal ones come one after another.
    recent: Vec<Arc<[i64]>>,
}

impl SharedTimes {
    const RECENT_MAX: usize = 8;

    /// The column itself, or the equal one that is known.
    pub(crate) fn share(&mut self, times: Vec<i64>) -> Arc<[i64]> {
        if let Some(known) = self.recent.iter().find(|known| ***known == *times) {
            return Arc::clone(known);
        }
        let column: Arc<[i64]> = times.into();
        if self.recent.len() == Self::RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push(Arc::clone(&column));
        column
    }
}

fn join(runs: &[Run], total: usize) -> (Vec<i64>, Vec<f64>) {
    if follow_one_another(runs) {
        let (mut times, mut values) = (Vec::with_capacity(total), Vec::with_capacity(total));
        for run in runs {
            times.extend_from_slice(&run.times_ms);
            values.extend_from_slice(&run.values);
        }
        return (times, values);
    }
    let mut samples = Vec::with_capacity(total);
    for run in runs {
        samples.extend(run.times_ms.iter().copied().zip(run.values.iter().copied()));
    }
    // Stable, so that of equal times the first accepted comes first and is the one that stays.
    samples.sort_by_key(|(time, _)| *time);
    samples.dedup_by_key(|(time, _)| *time);
    samples.into_iter().unzip()
}

/// Whether every run begins after the one before, as those of days do.
fn follow_one_another(runs: &[Run]) -> bool {
    let follows = |pair: &[Run]| pair[0].times_ms.last() < pair[1].times_ms.first();
    runs.iter().all(|run| is_ascending(&run.times_ms)) && runs.windows(2).all(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(series: u32, samples: &[(i64, f64)]) -> Run {
        let (times, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
        Run {
            series,
            times_ms: times.into(),
            values,
        }
    }

    #[test]
    fn of_equal_times_the_first_accepted_stays() {
        let (merged, duplicates) = merge(vec![
            run(1, &[(20, 2.0), (10, 1.0), (20, 9.0)]),
            run(1, &[(10, 8.0), (30, 3.0)]),
        ]);
        assert_eq!(duplicates, 2);
        assert_eq!(*merged[0].times_ms, [10, 20, 30]);
        assert_eq!(merged[0].values, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn equal_times_share_memory_after_sorting() {
        let (merged, _) = merge(
            (1..4)
                .map(|series| run(series, &[(20, 2.0), (10, 1.0)]))
                .collect(),
        );
        assert!(Arc::ptr_eq(&merged[0].times_ms, &merged[2].times_ms));
    }

    #[test]
    fn what_is_sealed_is_taken_away() {
        let mut late = run(1, &[(10, 1.0), (15, 5.0), (20, 2.0)]);
        let removed = subtract(
            &mut late,
            &[[10, 20].into(), [30].into()],
            &mut SharedTimes::default(),
        );
        assert_eq!(
            (removed, &*late.times_ms, &*late.values),
            (2, &[15][..], &[5.0][..])
        );
    }
}
