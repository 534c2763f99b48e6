//! Where the controller's figures come from: intake, consumers, sample store, agent port, tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Figure, Source};
use crate::app::enrolment::Refusals;
use crate::consume::ConsumerMetrics;
use crate::grpc::GrpcMetrics;
use crate::intake::Intake;
use crate::task::{TaskStatus, TaskStatuses};

/// The parts that count.
pub struct Sources {
    /// The log of reports.
    pub intake: Intake,
    /// The state consumer's counts.
    pub state_consumer: Arc<ConsumerMetrics>,
    /// The sample consumer's counts.
    pub samples_consumer: Arc<ConsumerMetrics>,
    /// The sample store.
    pub samples: Arc<muster_samples::Store>,
    /// The agent port's counts.
    pub grpc: GrpcMetrics,
    /// What was refused on the agent port.
    pub refusals: Arc<Refusals>,
    /// The tasks' counts.
    pub tasks: TaskStatuses,
}

/// All figures of the controller.
#[must_use]
pub fn of_the_controller(sources: Sources) -> Vec<Source> {
    let Sources {
        intake,
        state_consumer,
        samples_consumer,
        samples,
        grpc,
        refusals,
        tasks,
    } = sources;
    vec![
        Box::new(move || of_intake(&intake)),
        Box::new(move || of_consumers(&[("state", &state_consumer), ("samples", &samples_consumer)])),
        Box::new(move || of_samples(&samples.stats(), &samples.cut())),
        Box::new(move || of_agent_port(&grpc)),
        Box::new(move || of_refusals(&refusals)),
        Box::new(move || of_tasks(&tasks)),
    ]
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, which no figure here reaches"
)]
fn now(figure: u64) -> f64 {
    figure as f64
}

/// A counter: its name, its help, and where it is counted.
type Count<M> = (&'static str, &'static str, fn(&M) -> &AtomicU64);

fn counters<M>(counts: &[Count<M>], metrics: &M) -> Vec<Figure> {
    let counter = |&(name, help, pick): &Count<M>| Figure::counter(name, help, get(pick(metrics)));
    counts.iter().map(counter).collect()
}

type OfIntake = crate::intake::IntakeMetrics;

const INTAKE: &[Count<OfIntake>] = &[
    ("muster_intake_reports_stored", "Reports stored, each once", |m| {
        &m.reports_stored
    }),
    (
        "muster_intake_reports_duplicate",
        "Reports that had been stored before",
        |m| &m.reports_duplicate,
    ),
    (
        "muster_intake_reports_refused",
        "Reports of which a part or all was refused",
        |m| &m.reports_refused,
    ),
    ("muster_intake_samples_stored", "Samples in stored reports", |m| {
        &m.samples_stored
    }),
    (
        "muster_intake_samples_refused_series",
        "Samples beyond the agent's limit of series",
        |m| &m.samples_refused_series,
    ),
    (
        "muster_intake_samples_refused_ahead",
        "Samples too far ahead of their receipt",
        |m| &m.samples_refused_ahead,
    ),
    (
        "muster_intake_samples_refused_old",
        "Samples that are too old",
        |m| &m.samples_refused_old,
    ),
    (
        "muster_intake_samples_not_finite",
        "Values that are no numbers and were left out",
        |m| &m.samples_not_finite,
    ),
    (
        "muster_intake_reports_time_rebuilt",
        "Reports with a wrong clock, whose times were rebuilt",
        |m| &m.reports_time_rebuilt,
    ),
    (
        "muster_intake_reports_time_unknown",
        "Reports whose time is not known",
        |m| &m.reports_time_unknown,
    ),
    (
        "muster_intake_definitions_stored",
        "Definitions of series stored",
        |m| &m.definitions_stored,
    ),
    (
        "muster_intake_definitions_refused",
        "Definitions beyond the agent's limit of series",
        |m| &m.definitions_refused,
    ),
    (
        "muster_intake_definitions_missing",
        "Times that definitions had to be asked for",
        |m| &m.definitions_missing,
    ),
    (
        "muster_intake_too_many_holes",
        "Reports not taken for their epoch's holes",
        |m| &m.too_many_holes,
    ),
    (
        "muster_intake_plain_bytes",
        "Bytes stored, before compression",
        |m| &m.plain_bytes,
    ),
    ("muster_intake_packed_bytes", "Bytes stored, as written", |m| {
        &m.packed_bytes
    }),
    ("muster_intake_commits", "Transactions committed", |m| &m.commits),
    ("muster_intake_commits_failed", "Transactions that failed", |m| {
        &m.commits_failed
    }),
    (
        "muster_intake_commit_microseconds",
        "Time spent in transactions",
        |m| &m.commit_us,
    ),
    (
        "muster_intake_damaged_files",
        "Times the intake was found damaged and replaced by what was good of it",
        |m| &m.damaged_files,
    ),
    (
        "muster_intake_records_lost",
        "Records lost with damaged files, each of them a gap",
        |m| &m.records_lost,
    ),
    (
        "muster_intake_records_trimmed",
        "Records deleted after every consumer has passed them",
        |m| &m.records_trimmed,
    ),
];

fn of_intake(intake: &Intake) -> Vec<Figure> {
    let metrics = intake.metrics();
    let mut figures = counters(INTAKE, &**metrics);
    let gauge = |name, help, value| Figure::gauge(name, help, now(value));
    figures.extend([
        gauge(
            "muster_intake_set_aside",
            "Records kept aside that a consumer cannot take",
            get(&metrics.set_aside),
        ),
        gauge(
            "muster_intake_used_bytes",
            "Bytes that records take in the file",
            get(&metrics.used_bytes),
        ),
        gauge(
            "muster_intake_full",
            "1 while no report is taken: there is no room, or the file is broken",
            get(&metrics.full),
        ),
        gauge(
            "muster_intake_queue_bytes",
            "Bytes waiting to be stored",
            intake.queue_bytes() as u64,
        ),
    ]);
    figures
}

const CONSUMERS: &[Count<ConsumerMetrics>] = &[
    ("muster_consumer_records", "Records applied", |m| &m.records),
    (
        "muster_consumer_records_from_disk",
        "Records read back from disk",
        |m| &m.records_from_disk,
    ),
    ("muster_consumer_failures", "Attempts that failed", |m| {
        &m.failures
    }),
    ("muster_consumer_set_aside", "Records set aside", |m| &m.set_aside),
    ("muster_consumer_samples", "Samples appended", |m| &m.samples),
    (
        "muster_consumer_samples_duplicate",
        "Samples that were there already",
        |m| &m.samples_duplicate,
    ),
    ("muster_consumer_samples_refused", "Samples refused", |m| {
        &m.samples_refused
    }),
    (
        "muster_consumer_series_without_resource",
        "Series kept with their server because it has too many resources",
        |m| &m.series_without_resource,
    ),
];

fn of_consumers(consumers: &[(&'static str, &Arc<ConsumerMetrics>)]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (consumer, metrics) in consumers {
        let position = u64::try_from(metrics.position.load(Ordering::Relaxed)).unwrap_or(0);
        let help = "Up to where records were applied since the start";
        figures
            .push(Figure::gauge("muster_consumer_position", help, now(position)).with("consumer", consumer));
    }
    for &(name, help, pick) in CONSUMERS {
        for (consumer, metrics) in consumers {
            figures.push(Figure::counter(name, help, get(pick(metrics))).with("consumer", consumer));
        }
    }
    figures
}

fn of_samples(stats: &muster_samples::Stats, cut: &[muster_samples::Cut]) -> Vec<Figure> {
    let mut figures = vec![
        Figure::gauge("muster_samples_series", "Series in use", now(stats.series)),
        Figure::gauge(
            "muster_samples_head_samples",
            "Samples that are not sealed yet",
            now(stats.head_samples),
        ),
        Figure::gauge(
            "muster_samples_head_bytes",
            "About how much memory they take",
            now(stats.head_bytes),
        ),
        Figure::gauge("muster_samples_day_files", "Day files", now(stats.day_files)),
        Figure::gauge(
            "muster_samples_day_file_bytes",
            "Size of the day files",
            now(stats.day_file_bytes),
        ),
        Figure::gauge(
            "muster_samples_damaged",
            "Parts found damaged",
            now(stats.damaged),
        ),
        Figure::counter("muster_samples_appended", "Samples appended", stats.appended),
        Figure::counter(
            "muster_samples_duplicates",
            "Samples that were there already",
            stats.duplicates,
        ),
        Figure::counter(
            "muster_samples_too_old",
            "Samples older than retention",
            stats.too_old,
        ),
        Figure::counter(
            "muster_samples_too_new",
            "Samples ahead of their receipt",
            stats.too_new,
        ),
        Figure::counter(
            "muster_samples_unknown",
            "Samples that belong to no series",
            stats.unknown,
        ),
        Figure::counter("muster_samples_sealed", "Samples sealed", stats.sealed),
        Figure::counter(
            "muster_samples_series_refused",
            "Series refused",
            stats.series_refused,
        ),
    ];
    figures.extend(of_kept(stats));
    figures.extend(of_cut(cut));
    figures
}

/// What the store keeps for long, and what it does with it.
fn of_kept(stats: &muster_samples::Stats) -> Vec<Figure> {
    vec![
        Figure::gauge(
            "muster_samples_series_rested",
            "Series without samples that still have roll-ups",
            now(stats.series_rested),
        ),
        Figure::gauge(
            "muster_samples_rollup_files",
            "Files of roll-ups",
            now(stats.rollup_files),
        ),
        Figure::gauge(
            "muster_samples_rollup_file_bytes",
            "Size of the files of roll-ups",
            now(stats.rollup_file_bytes),
        ),
        Figure::counter(
            "muster_samples_compacted",
            "Days of a collector that were compacted and rolled up",
            stats.compacted,
        ),
        Figure::counter(
            "muster_samples_verified",
            "Files of samples looked through for damage",
            stats.verified,
        ),
    ]
}

/// What was cut, by family and reason; which servers it was is told by the log and by each server's own errors.
fn of_cut(cut: &[muster_samples::Cut]) -> Vec<Figure> {
    let mut sums = std::collections::BTreeMap::new();
    for cut in cut {
        *sums.entry((cut.family, cut.reason)).or_insert(0) += cut.times;
    }
    let figure = |((family, reason), times): ((muster_samples::Family, &'static str), u64)| {
        Figure::counter(
            "muster_samples_series_cut",
            "Series refused, by what they are about and why",
            times,
        )
        .with("family", family.word())
        .with("reason", reason)
    };
    sums.into_iter().map(figure).collect()
}

const ACCEPTED: &[Count<crate::grpc::AcceptMetrics>] = &[
    (
        "muster_connections_accepted",
        "Connections that came to the agent port",
        |m| &m.accepted,
    ),
    (
        "muster_connections_dropped",
        "Connections dropped for being too many",
        |m| &m.dropped_full,
    ),
    (
        "muster_connections_evicted",
        "Connections that had not shown who they are and made room for newer ones",
        |m| &m.evicted,
    ),
    ("muster_handshakes_failed", "TLS handshakes that failed", |m| {
        &m.handshakes_failed
    }),
    (
        "muster_handshakes_timed_out",
        "TLS handshakes that took too long",
        |m| &m.handshakes_timed_out,
    ),
];

const SESSIONS: &[Count<crate::grpc::SessionMetrics>] = &[
    ("muster_sessions_opened", "Streams opened", |m| &m.opened),
    ("muster_sessions_refused", "Streams refused", |m| &m.refused),
    ("muster_session_frames", "Frames received", |m| &m.frames),
    ("muster_session_reports", "Reports received", |m| &m.reports),
    (
        "muster_session_reports_backlog",
        "Reports received on the backlog lane",
        |m| &m.reports_backlog,
    ),
    (
        "muster_session_reports_refused",
        "Reports that no report may say, kept as a gap",
        |m| &m.reports_refused,
    ),
];

fn of_agent_port(grpc: &GrpcMetrics) -> Vec<Figure> {
    let (accept, session) = (&grpc.accept, &grpc.session);
    let closed = |counter: &AtomicU64, reason: &'static str| {
        let help = "Streams closed from our side";
        Figure::counter("muster_sessions_closed", help, get(counter)).with("reason", reason)
    };
    let mut figures = vec![
        Figure::gauge(
            "muster_connections_open",
            "Connections open on the agent port",
            now(get(&accept.open)),
        ),
        Figure::gauge(
            "muster_sessions_open",
            "Streams open now",
            now(get(&session.open)),
        ),
    ];
    figures.extend(counters(ACCEPTED, &**accept));
    figures.extend(counters(SESSIONS, &**session));
    figures.push(Figure::gauge(
        "muster_servers_clock_skewed",
        "Connected servers whose clock is off by more than 5 s",
        now(get(&session.skewed)),
    ));
    figures.extend(session.breaches().map(|(reason, counter)| {
        let help = "Streams closed for what came in on them";
        Figure::counter("muster_sessions_breached", help, get(counter)).with("reason", reason)
    }));
    figures.extend([
        closed(&session.closed_bad_frame, "bad_frame"),
        closed(&session.closed_replaced, "replaced"),
        closed(&session.closed_overloaded, "overloaded"),
        closed(&session.closed_revoked, "revoked"),
        closed(&session.closed_quarantined, "quarantined"),
    ]);
    figures
}

fn of_refusals(refusals: &Refusals) -> Vec<Figure> {
    let help = "Handshakes, enrolments, renewals and streams refused";
    let figure = |(code, count)| Figure::counter("muster_refusals", help, count).with("reason", code);
    refusals.all().into_iter().map(figure).collect()
}

type OfTask = (&'static str, &'static str, fn(&TaskStatus) -> u64);

const TASKS: [OfTask; 3] = [
    ("muster_task_runs_succeeded", "Runs that succeeded", |status| {
        status.succeeded
    }),
    ("muster_task_runs_failed", "Runs that failed", |status| {
        status.failed
    }),
    (
        "muster_task_runs_panicked",
        "Runs that ended in a panic",
        |status| status.panicked,
    ),
];

fn of_tasks(tasks: &TaskStatuses) -> Vec<Figure> {
    let all = tasks.all();
    let each = |(name, help, pick): OfTask| {
        all.iter()
            .map(move |(task, status)| Figure::counter(name, help, pick(status)).with("task", task))
    };
    TASKS.into_iter().flat_map(each).collect()
}
