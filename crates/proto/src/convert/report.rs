//! Reports and series definitions.

use muster_model::{
    Clock, CollectorRun, Gap, GapReason, Labels, MetricType, PreviousEpoch, Problem, Report, ResourceKey,
    RunOutcome, SampleBlock, SequenceRange, SeriesDef, TimeBasis, limits,
};

use super::resource::{inventory_from_wire, inventory_to_wire, resource_from_wire, resource_to_wire};
use super::{ConvertError, bounded, short};
use crate::v1;

/// A report as it travels.
#[must_use]
pub fn report_to_wire(report: Report) -> v1::Report {
    v1::Report {
        epoch: report.epoch,
        sequence: report.sequence,
        clock: Some(clock_to_wire(report.clock)),
        previous_epoch: report.previous_epoch.map(|previous| v1::PreviousEpoch {
            epoch: previous.epoch,
            ended_cleanly: previous.ended_cleanly,
        }),
        runs: report.runs.into_iter().map(run_to_wire).collect(),
        resources: report.resources.into_iter().map(resource_to_wire).collect(),
        observed_ms: report.observed_ms,
        inventories: report.inventories.into_iter().map(inventory_to_wire).collect(),
        blocks: report.blocks.iter().map(block_to_wire).collect(),
        problems: report
            .problems
            .into_iter()
            .map(|problem| v1::Problem {
                collector: problem.collector,
                message: problem.message,
                line: problem.line,
            })
            .collect(),
        gaps: report.gaps.iter().map(gap_to_wire).collect(),
        time_basis: basis_to_wire(report.time_basis).into(),
    }
}

/// A report from the wire. What a newer peer added is left out and named in the report's problems.
///
/// # Errors
/// [`ConvertError`] if the report has no number, breaks a limit or contradicts itself.
pub fn report_from_wire(wire: v1::Report) -> Result<Report, ConvertError> {
    if wire.sequence == 0 {
        return Err(ConvertError::Missing("sequence"));
    }
    bounded(
        "problems of a report",
        wire.problems.len(),
        limits::PROBLEMS_PER_REPORT_MAX,
    )?;
    bounded(
        "resources of a report",
        wire.resources.len(),
        limits::RESOURCES_PER_COLLECTOR_MAX,
    )?;
    let time_basis = basis_from_wire(wire.time_basis());
    let mut problems = wire
        .problems
        .into_iter()
        .map(problem_from_wire)
        .collect::<Result<Vec<Problem>, ConvertError>>()?;
    let mut resources = Vec::with_capacity(wire.resources.len());
    for resource in wire.resources {
        resources.extend(resource_from_wire(resource, &mut problems)?);
    }
    let mut inventories = Vec::with_capacity(wire.inventories.len());
    for inventory in wire.inventories {
        inventories.push(inventory_from_wire(inventory, &mut problems)?);
    }
    problems.truncate(limits::PROBLEMS_PER_REPORT_MAX);
    Ok(Report {
        time_basis,
        epoch: wire.epoch,
        sequence: wire.sequence,
        clock: clock_from_wire(wire.clock.ok_or(ConvertError::Missing("clock"))?)?,
        previous_epoch: wire.previous_epoch.map(|previous| PreviousEpoch {
            epoch: previous.epoch,
            ended_cleanly: previous.ended_cleanly,
        }),
        runs: wire
            .runs
            .into_iter()
            .map(run_from_wire)
            .collect::<Result<_, _>>()?,
        resources,
        observed_ms: wire.observed_ms,
        inventories,
        blocks: wire
            .blocks
            .into_iter()
            .map(block_from_wire)
            .collect::<Result<_, _>>()?,
        problems,
        gaps: wire
            .gaps
            .into_iter()
            .map(gap_from_wire)
            .collect::<Result<_, _>>()?,
    })
}

/// Definitions with ids from `first_id` on.
#[must_use]
pub fn definitions_to_wire(epoch: u64, first_id: u32, series: Vec<SeriesDef>) -> v1::Definitions {
    v1::Definitions {
        epoch,
        first_id,
        series: series.into_iter().map(series_to_wire).collect(),
    }
}

/// Definitions with the id of the first.
///
/// # Errors
/// [`ConvertError`] if ids begin at 0 or run over, or a name, label or key breaks a rule.
pub fn definitions_from_wire(wire: v1::Definitions) -> Result<(u32, Vec<SeriesDef>), ConvertError> {
    let count = wire.series.len();
    let last = wire.first_id as usize + count;
    if wire.first_id == 0 || u32::MAX as usize <= last {
        return Err(ConvertError::OutOfRange {
            field: "first_id",
            value: wire.first_id.into(),
        });
    }
    let series = wire
        .series
        .into_iter()
        .zip(u64::from(wire.first_id)..)
        .map(|(series, id)| series_from_wire(series, id))
        .collect::<Result<_, _>>()?;
    Ok((wire.first_id, series))
}

/// A clock reading as it travels.
#[must_use]
pub(crate) fn clock_to_wire(clock: Clock) -> v1::Clock {
    v1::Clock {
        wall_ms: clock.wall_ms,
        boottime_ms: clock.boottime_ms,
        boot_id: clock.boot_id,
    }
}

fn clock_from_wire(wire: v1::Clock) -> Result<Clock, ConvertError> {
    Ok(Clock {
        wall_ms: wire.wall_ms,
        boottime_ms: wire.boottime_ms,
        boot_id: short("boot id", wire.boot_id, limits::NAME_BYTES_MAX)?,
    })
}

impl From<Clock> for v1::Clock {
    fn from(clock: Clock) -> Self {
        clock_to_wire(clock)
    }
}

impl TryFrom<v1::Clock> for Clock {
    type Error = ConvertError;

    fn try_from(wire: v1::Clock) -> Result<Self, ConvertError> {
        clock_from_wire(wire)
    }
}

const fn basis_to_wire(basis: TimeBasis) -> v1::TimeBasis {
    match basis {
        TimeBasis::Wall => v1::TimeBasis::Unspecified,
        TimeBasis::Boot => v1::TimeBasis::Boot,
        TimeBasis::Unknown => v1::TimeBasis::Unknown,
    }
}

const fn basis_from_wire(wire: v1::TimeBasis) -> TimeBasis {
    match wire {
        v1::TimeBasis::Unspecified => TimeBasis::Wall,
        v1::TimeBasis::Boot => TimeBasis::Boot,
        v1::TimeBasis::Unknown => TimeBasis::Unknown,
    }
}

fn problem_from_wire(wire: v1::Problem) -> Result<Problem, ConvertError> {
    Ok(Problem {
        collector: short("collector name", wire.collector, limits::NAME_BYTES_MAX)?,
        message: short("problem message", wire.message, limits::PROBLEM_BYTES_MAX)?,
        line: wire.line,
    })
}

fn run_to_wire(run: CollectorRun) -> v1::CollectorRun {
    let outcome = match run.outcome {
        RunOutcome::Facts => v1::RunOutcome::Facts,
        RunOutcome::Absent => v1::RunOutcome::Absent,
        RunOutcome::Failed => v1::RunOutcome::Failed,
        RunOutcome::TimedOut => v1::RunOutcome::TimedOut,
        RunOutcome::Panicked => v1::RunOutcome::Panicked,
    };
    v1::CollectorRun {
        collector: run.collector,
        started_ms: run.started_ms,
        duration_ms: run.duration_ms,
        outcome: outcome.into(),
        message: run.message,
    }
}

fn run_from_wire(wire: v1::CollectorRun) -> Result<CollectorRun, ConvertError> {
    let outcome = match wire.outcome() {
        v1::RunOutcome::Facts => RunOutcome::Facts,
        v1::RunOutcome::Absent => RunOutcome::Absent,
        v1::RunOutcome::TimedOut => RunOutcome::TimedOut,
        v1::RunOutcome::Panicked => RunOutcome::Panicked,
        // An end that we do not understand must not look like success.
        v1::RunOutcome::Failed | v1::RunOutcome::Unspecified => RunOutcome::Failed,
    };
    Ok(CollectorRun {
        collector: short("collector name", wire.collector, limits::NAME_BYTES_MAX)?,
        started_ms: wire.started_ms,
        duration_ms: wire.duration_ms,
        outcome,
        message: short("run message", wire.message, limits::PROBLEM_BYTES_MAX)?,
    })
}

pub(crate) fn block_to_wire(block: &SampleBlock) -> v1::SampleBlock {
    let differences = |values: &mut dyn Iterator<Item = i64>| {
        let mut before = 0_i64;
        values
            .map(|value| value.wrapping_sub(std::mem::replace(&mut before, value)))
            .collect()
    };
    v1::SampleBlock {
        time_deltas_ms: differences(&mut block.times_ms().iter().copied()),
        series_deltas: differences(&mut block.series().iter().copied().map(i64::from)),
        values: block.values().to_vec(),
    }
}

pub(crate) fn block_from_wire(wire: v1::SampleBlock) -> Result<SampleBlock, ConvertError> {
    let sums = |differences: Vec<i64>| {
        differences.into_iter().scan(0_i64, |sum, difference| {
            *sum = sum.wrapping_add(difference);
            Some(*sum)
        })
    };
    let series = sums(wire.series_deltas)
        .map(|id| match u32::try_from(id) {
            Ok(0) | Err(_) => Err(ConvertError::OutOfRange {
                field: "series id",
                value: id.into(),
            }),
            Ok(id) => Ok(id),
        })
        .collect::<Result<_, _>>()?;
    SampleBlock::new(sums(wire.time_deltas_ms).collect(), series, wire.values).map_err(ConvertError::Block)
}

fn gap_to_wire(gap: &Gap) -> v1::Gap {
    let reason = match gap.reason {
        GapReason::BufferFull => v1::GapReason::BufferFull,
        GapReason::UncleanEnd => v1::GapReason::UncleanEnd,
        GapReason::Refused => v1::GapReason::Refused,
        GapReason::Damaged => v1::GapReason::Damaged,
        GapReason::Thinned => v1::GapReason::Thinned,
        GapReason::Other => v1::GapReason::Unspecified,
    };
    v1::Gap {
        epoch: gap.epoch,
        range: Some(v1::SequenceRange {
            first: gap.range.first,
            last: gap.range.last,
        }),
        sample_count: gap.sample_count,
        reason: reason.into(),
    }
}

fn gap_from_wire(wire: v1::Gap) -> Result<Gap, ConvertError> {
    let reason = match wire.reason() {
        v1::GapReason::Unspecified => GapReason::Other,
        v1::GapReason::BufferFull => GapReason::BufferFull,
        v1::GapReason::UncleanEnd => GapReason::UncleanEnd,
        v1::GapReason::Refused => GapReason::Refused,
        v1::GapReason::Damaged => GapReason::Damaged,
        v1::GapReason::Thinned => GapReason::Thinned,
    };
    let range = wire.range.ok_or(ConvertError::Missing("gap range"))?;
    if range.last < range.first {
        return Err(ConvertError::OutOfRange {
            field: "gap range",
            value: range.last.into(),
        });
    }
    Ok(Gap {
        epoch: wire.epoch,
        range: SequenceRange {
            first: range.first,
            last: range.last,
        },
        sample_count: wire.sample_count,
        reason,
    })
}

fn series_to_wire(series: SeriesDef) -> v1::SeriesDef {
    let metric_type = match series.metric_type {
        MetricType::Counter => v1::MetricType::Counter,
        MetricType::Gauge => v1::MetricType::Gauge,
        MetricType::Untyped => v1::MetricType::Untyped,
    };
    v1::SeriesDef {
        name: series.name.into_owned(),
        labels: series
            .labels
            .iter()
            .map(|(name, value)| v1::Label {
                name: name.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
        r#type: metric_type.into(),
        unit: series.unit.into_owned(),
        collector: series.collector.into_owned(),
        resource_key: series.resource_key.as_str().to_owned(),
        interval_ms: series.interval_ms,
    }
}

fn series_from_wire(wire: v1::SeriesDef, id: u64) -> Result<SeriesDef, ConvertError> {
    let metric_type = match wire.r#type() {
        v1::MetricType::Counter => MetricType::Counter,
        v1::MetricType::Gauge => MetricType::Gauge,
        v1::MetricType::Untyped | v1::MetricType::Unspecified => MetricType::Untyped,
    };
    let pairs = wire.labels.iter();
    let pairs: Vec<(&str, &str)> = pairs
        .map(|label| (label.name.as_str(), label.value.as_str()))
        .collect();
    let labels = Labels::new(&pairs).map_err(|source| ConvertError::Series { id, source })?;
    let resource_key = match wire.resource_key {
        key if key.is_empty() => ResourceKey::server(),
        key => super::resource::key_from_wire(key)?,
    };
    let series = SeriesDef {
        name: wire.name.into(),
        labels,
        metric_type,
        unit: short("unit", wire.unit, limits::NAME_BYTES_MAX)?.into(),
        collector: short("collector name", wire.collector, limits::NAME_BYTES_MAX)?.into(),
        resource_key,
        interval_ms: wire.interval_ms,
    };
    series
        .check()
        .map_err(|source| ConvertError::Series { id, source })?;
    Ok(series)
}
