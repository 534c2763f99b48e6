//! What of a report is taken. Pure: the caller brings the limits and the time of receipt.
//!
//! Samples outside the limits are cut out of their blocks, with a gap and a problem that say so; everything else of
//! the report is kept. Facts that claim to be from the future would outlive every later observation, so their times
//! are held at the time of receipt. Values that are no numbers become the mark of "no value here": a rectangle has no
//! holes.

use muster_model::{
    Clock, Gap, GapReason, Problem, Report, STALE_NAN, SampleBlock, SequenceRange, is_stale, limits,
};

use super::timeline::{Basis, Placement};
use super::{Limits, Unacceptable};

/// The collector under whose name the controller's own problems with a report stand.
const CONTROLLER: &str = "controller";
/// Most gaps of one report: each may touch another epoch's cursor.
const GAPS_MAX: usize = 1_024;

/// How many samples were refused, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RefusedSamples {
    /// Their series is beyond the agent's limit.
    pub(super) series: u64,
    /// They are too far ahead of the time of receipt.
    pub(super) ahead: u64,
    /// They are too old.
    pub(super) old: u64,
}

/// A report as it is to be stored.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) report: Report,
    pub(super) refused: RefusedSamples,
    /// Values that are no numbers.
    pub(super) not_finite: u64,
    /// Whether it differs from what came.
    pub(super) is_changed: bool,
    /// Whether something of it was refused.
    pub(super) is_refused: bool,
}

/// Judges a report received at `received_ms`, whose times are to be read by `placement`.
pub(super) fn judge(mut report: Report, limits: &Limits, received_ms: i64, placement: Placement) -> Judged {
    if GAPS_MAX < report.gaps.len() {
        let reason = format!(
            "{} gaps in one report, and {GAPS_MAX} are allowed",
            report.gaps.len()
        );
        let unacceptable = Unacceptable {
            epoch: report.epoch,
            sequence: report.sequence,
            reason,
        };
        let report = refusal(unacceptable, report.clock);
        return Judged {
            report,
            refused: RefusedSamples::default(),
            not_finite: 0,
            is_changed: true,
            is_refused: true,
        };
    }
    let is_placed = report.time_basis != placement.basis || placement.basis != Basis::Wall;
    place(&mut report, placement);
    let not_finite = mark_not_finite(&mut report);
    let allowed = received_ms.saturating_sub(limits.behind_ms)..=received_ms.saturating_add(limits.ahead_ms);
    let held_back = hold_back(&mut report, *allowed.end(), received_ms);
    let mut refused = RefusedSamples::default();
    for block in &mut report.blocks {
        let is_late = |time: &i64| !allowed.contains(time);
        if block.series().iter().any(|id| limits.series_per_agent < *id)
            || block.times_ms().iter().any(is_late)
        {
            *block = cut(block, limits.series_per_agent, &allowed, &mut refused);
        }
    }
    let count = refused.series + refused.ahead + refused.old;
    if 0 < count {
        report.blocks.retain(|block| !block.values().is_empty());
        let own = SequenceRange {
            first: report.sequence,
            last: report.sequence,
        };
        report.gaps.push(Gap {
            epoch: report.epoch,
            range: own,
            sample_count: Some(count),
            reason: GapReason::Refused,
        });
        add_problem(&mut report, describe(refused, limits));
    }
    if 0 < held_back {
        let message =
            format!("{held_back} times ahead of the controller's clock were held at the time of receipt");
        add_problem(&mut report, message);
    }
    if 0 < not_finite {
        add_problem(
            &mut report,
            format!("{not_finite} values are not finite numbers and were left out"),
        );
    }
    Judged {
        report,
        refused,
        not_finite,
        is_changed: 0 < count || 0 < held_back || 0 < not_finite || is_placed,
        is_refused: 0 < count,
    }
}

/// What is stored instead of a report that is refused as a whole.
pub(super) fn refusal(unacceptable: Unacceptable, clock: Clock) -> Report {
    let Unacceptable {
        epoch,
        sequence,
        reason,
    } = unacceptable;
    let mut report = Report::empty(epoch, sequence, clock);
    report.gaps.push(Gap {
        epoch,
        range: SequenceRange {
            first: sequence,
            last: sequence,
        },
        sample_count: None,
        reason: GapReason::Refused,
    });
    add_problem(&mut report, format!("report refused: {reason}"));
    report
}

/// Moves the times of a report whose clock was wrong, and says so. The clock itself stays as the agent read it.
fn place(report: &mut Report, placement: Placement) {
    let shift_ms = placement.shift_ms;
    report.time_basis = placement.basis;
    if placement.basis == Basis::Wall {
        return;
    }
    for block in &mut report.blocks {
        block.shift(shift_ms);
    }
    let inventories = report
        .inventories
        .iter_mut()
        .map(|inventory| &mut inventory.observed_ms);
    let runs = report.runs.iter_mut().map(|run| &mut run.started_ms);
    for time in std::iter::once(&mut report.observed_ms)
        .chain(inventories)
        .chain(runs)
    {
        *time = time.saturating_add(shift_ms);
    }
}

/// Turns what is no number into the mark of "no value here". Returns how many there were.
fn mark_not_finite(report: &mut Report) -> u64 {
    let mut count = 0;
    for block in &mut report.blocks {
        if block.values().iter().all(|value| value.is_finite()) {
            continue;
        }
        for value in block.values_mut() {
            if !value.is_finite() && !is_stale(*value) {
                *value = STALE_NAN;
                count += 1;
            }
        }
    }
    count
}

/// Holds times of facts at the time of receipt if they are beyond `end`. Returns how many were.
fn hold_back(report: &mut Report, end: i64, received_ms: i64) -> usize {
    let facts = std::iter::once(&mut report.observed_ms);
    let inventories = report
        .inventories
        .iter_mut()
        .map(|inventory| &mut inventory.observed_ms);
    let runs = report.runs.iter_mut().map(|run| &mut run.started_ms);
    let mut count = 0;
    for time in facts.chain(inventories).chain(runs).filter(|time| end < **time) {
        *time = received_ms;
        count += 1;
    }
    count
}

/// The part of the block that is within the limits.
fn cut(
    block: &SampleBlock,
    series_max: u32,
    allowed: &std::ops::RangeInclusive<i64>,
    refused: &mut RefusedSamples,
) -> SampleBlock {
    let kept: Vec<usize> = (0..block.series().len())
        .filter(|index| block.series()[*index] <= series_max)
        .collect();
    let beyond = (block.series().len() - kept.len()) as u64;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for (time, row) in block.rows() {
        if *allowed.end() < time {
            refused.ahead += row.len() as u64;
        } else if time < *allowed.start() {
            refused.old += row.len() as u64;
        } else {
            refused.series += beyond;
            times.push(time);
            values.extend(kept.iter().map(|index| row[*index]));
        }
    }
    let series = kept.into_iter().map(|index| block.series()[index]).collect();
    SampleBlock::new(times, series, values).expect("a part of a rectangle is a smaller rectangle")
}

fn describe(refused: RefusedSamples, limits: &Limits) -> String {
    let parts = [
        (
            refused.series,
            format!(
                "of series beyond the limit of {} an agent",
                limits.series_per_agent
            ),
        ),
        (
            refused.ahead,
            format!(
                "more than {} s ahead of the controller's clock",
                limits.ahead_ms / 1_000
            ),
        ),
        (
            refused.old,
            format!("older than {} h", limits.behind_ms / 3_600_000),
        ),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| 0 < *count)
        .map(|(count, why)| format!("{count} samples refused: {why}"))
        .collect();
    parts.join("; ")
}

/// Adds a problem of the controller's, in the place of the last one if there are as many as there may be.
fn add_problem(report: &mut Report, mut message: String) {
    message.truncate(message.floor_char_boundary(limits::PROBLEM_BYTES_MAX));
    report.problems.truncate(limits::PROBLEMS_PER_REPORT_MAX - 1);
    report.problems.push(Problem {
        collector: CONTROLLER.to_owned(),
        message,
        line: None,
    });
}

#[cfg(test)]
mod tests {
    use muster_model::CollectorRun;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const LIMITS: Limits = Limits {
        series_per_agent: 3,
        ahead_ms: 600_000,
        behind_ms: 7 * 86_400_000,
    };

    fn report(times: Vec<i64>, series: Vec<u32>) -> Report {
        let clock = Clock {
            wall_ms: NOW,
            boottime_ms: 5,
            boot_id: "b".to_owned(),
        };
        let values = (0..times.len() * series.len())
            .map(|value| value as f64)
            .collect();
        let mut report = Report::empty(7, 9, clock);
        report
            .blocks
            .push(SampleBlock::new(times, series, values).unwrap());
        report
    }

    #[test]
    fn what_is_at_the_limits_is_taken_as_it_is() {
        let times = vec![NOW - LIMITS.behind_ms, NOW, NOW + LIMITS.ahead_ms];
        let judged = judge(report(times, vec![1, 3]), &LIMITS, NOW, Placement::AS_SENT);
        assert!(!judged.is_changed && !judged.is_refused);
        assert_eq!(judged.report.sample_count(), 6);
    }

    #[test]
    fn samples_out_of_time_are_cut_out_and_counted_as_a_gap() {
        let times = vec![NOW - LIMITS.behind_ms - 1, NOW, NOW + LIMITS.ahead_ms + 1];
        let judged = judge(report(times, vec![1, 2]), &LIMITS, NOW, Placement::AS_SENT);
        assert_eq!(
            judged.refused,
            RefusedSamples {
                series: 0,
                ahead: 2,
                old: 2
            }
        );
        assert_eq!(judged.report.blocks[0].values(), [2.0, 3.0]);
        let gap = &judged.report.gaps[0];
        assert_eq!((gap.epoch, gap.range.first, gap.sample_count), (7, 9, Some(4)));
        assert!(
            judged.report.problems[0].message.contains("older than 168 h"),
            "{:?}",
            judged.report.problems
        );
    }

    #[test]
    fn series_beyond_the_limit_lose_their_columns_only() {
        let judged = judge(
            report(vec![NOW, NOW + 1], vec![1, 4, 2]),
            &LIMITS,
            NOW,
            Placement::AS_SENT,
        );
        assert_eq!(
            judged.refused,
            RefusedSamples {
                series: 2,
                ahead: 0,
                old: 0
            }
        );
        assert_eq!(judged.report.blocks[0].series(), [1, 2]);
        assert_eq!(judged.report.blocks[0].values(), [0.0, 2.0, 3.0, 5.0]);
    }

    #[test]
    fn a_block_of_which_nothing_is_left_disappears() {
        let judged = judge(report(vec![0], vec![1, 4]), &LIMITS, NOW, Placement::AS_SENT);
        assert!(judged.report.blocks.is_empty());
        assert_eq!(judged.refused.old, 2);
    }

    #[test]
    fn facts_from_the_future_are_held_at_the_time_of_receipt() {
        let mut future = report(vec![NOW], vec![1]);
        future.observed_ms = NOW + 86_400_000;
        future.runs.push(CollectorRun {
            collector: "cpu".to_owned(),
            started_ms: i64::MAX,
            duration_ms: 1,
            outcome: muster_model::RunOutcome::Facts,
            message: String::new(),
        });
        let judged = judge(future, &LIMITS, NOW, Placement::AS_SENT);
        assert_eq!(
            (judged.report.observed_ms, judged.report.runs[0].started_ms),
            (NOW, NOW)
        );
        assert!(judged.is_changed && !judged.is_refused);
        assert_eq!(judged.report.sample_count(), 1);
    }

    #[test]
    fn the_extremes_of_time_overflow_nothing() {
        for now in [i64::MIN, 0, i64::MAX] {
            judge(
                report(vec![i64::MIN, i64::MAX], vec![1]),
                &LIMITS,
                now,
                Placement::AS_SENT,
            );
        }
    }

    #[test]
    fn too_many_gaps_refuse_the_whole_report() {
        let mut flood = report(vec![NOW], vec![1]);
        let gap = Gap {
            epoch: 1,
            range: SequenceRange { first: 1, last: 1 },
            sample_count: None,
            reason: GapReason::Other,
        };
        flood.gaps = vec![gap; GAPS_MAX + 1];
        let judged = judge(flood, &LIMITS, NOW, Placement::AS_SENT);
        assert!(judged.is_refused && judged.report.blocks.is_empty());
        assert_eq!(judged.report.gaps.len(), 1);
    }

    #[test]
    fn problems_stay_within_their_bound() {
        let mut full = report(vec![0], vec![1]);
        let problem = Problem {
            collector: "x".to_owned(),
            message: "y".to_owned(),
            line: None,
        };
        full.problems = vec![problem; limits::PROBLEMS_PER_REPORT_MAX];
        let judged = judge(full, &LIMITS, NOW, Placement::AS_SENT);
        assert_eq!(judged.report.problems.len(), limits::PROBLEMS_PER_REPORT_MAX);
        assert_eq!(judged.report.problems.last().unwrap().collector, CONTROLLER);
    }

    #[test]
    fn a_wrong_clock_moves_every_time_and_keeps_the_clock() {
        let mut wrong = report(vec![1_000, 2_000], vec![1]);
        wrong.clock.wall_ms = 2_000;
        wrong.observed_ms = 1_500;
        let placement = Placement {
            basis: Basis::Boot,
            shift_ms: NOW - 2_000,
        };
        let judged = judge(wrong, &LIMITS, NOW, placement);
        assert_eq!(judged.report.blocks[0].times_ms(), [NOW - 1_000, NOW]);
        assert_eq!(
            (judged.report.observed_ms, judged.report.clock.wall_ms),
            (NOW - 500, 2_000)
        );
        assert!(judged.is_changed && !judged.is_refused);
        assert_eq!(judged.report.time_basis, Basis::Boot);
        assert!(judged.report.problems.is_empty());
    }

    #[test]
    fn what_an_agent_says_of_where_its_times_come_from_counts_for_nothing() {
        let mut odd = report(vec![NOW], vec![1]);
        odd.time_basis = Basis::Unknown;
        let judged = judge(odd, &LIMITS, NOW, Placement::AS_SENT);
        assert_eq!((judged.report.time_basis, judged.is_changed), (Basis::Wall, true));
    }

    #[test]
    fn what_is_no_number_is_marked_and_counted_and_its_neighbours_stay() {
        let mut odd = report(vec![NOW], vec![1, 2, 3]);
        odd.blocks[0]
            .values_mut()
            .copy_from_slice(&[f64::NAN, 7.0, f64::NEG_INFINITY]);
        let judged = judge(odd, &LIMITS, NOW, Placement::AS_SENT);
        let values = judged.report.blocks[0].values();
        assert!(is_stale(values[0]) && is_stale(values[2]));
        assert_eq!((values[1], judged.not_finite), (7.0, 2));
        let mut gone = report(vec![NOW], vec![1]);
        gone.blocks[0].values_mut()[0] = STALE_NAN;
        let judged = judge(gone, &LIMITS, NOW, Placement::AS_SENT);
        assert_eq!((judged.not_finite, judged.is_changed), (0, false));
    }
}
