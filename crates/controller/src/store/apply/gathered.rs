//! What a batch says of runs, problems and gaps, gathered in memory so that it is written once.

use std::collections::{BTreeMap, BTreeSet};

use muster_base::id::ServerId;
use muster_model::{CollectorRun, Gap, GapReason, RunOutcome, SequenceRange, TimeBasis};
use sea_orm::DatabaseTransaction;

use super::{AppliedReport, COLLECTORS_PER_SERVER_MAX, collections};
use crate::store::entity::collector_status;
use crate::store::{StoreError, servers};

/// Type of an error that is a problem of a collection that otherwise went well.
const PROBLEM: &str = "problem";
/// Type of an error that is something the controller did not take.
const REFUSED: &str = "refused";

/// What errors about an agent's clock are filed under.
const CLOCK: &str = "clock";

const fn clock_message(basis: TimeBasis) -> &'static str {
    match basis {
        TimeBasis::Wall => "",
        TimeBasis::Boot => "the agent's wall clock is wrong: times were rebuilt from the time since boot",
        TimeBasis::Unknown => {
            "the agent's wall clock shows what cannot be, and its boot was never heard of: times were laid out by the time since boot"
        }
    }
}

/// Names one collection error.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ErrorKey {
    pub(super) server: ServerId,
    pub(super) service: String,
    pub(super) error_type: &'static str,
    pub(super) message: String,
}

/// When it was seen and how often.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) count: i64,
}

/// A gap that is to be stored.
#[derive(Debug)]
pub(super) struct NewGap {
    pub(super) server: ServerId,
    pub(super) lost: Gap,
    pub(super) from_ms: Option<i64>,
    pub(super) to_ms: Option<i64>,
    pub(super) noted_ms: i64,
}

/// Everything of a batch that is written at its end.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    heard: BTreeMap<ServerId, i64>,
    runs: BTreeMap<(ServerId, String), Vec<CollectorRun>>,
    errors: BTreeMap<ErrorKey, Seen>,
    gaps: Vec<NewGap>,
}

impl Gathered {
    /// Takes in one report.
    pub(super) fn add(&mut self, entry: &AppliedReport) {
        if let Some(previous) = entry.report.previous_epoch
            && !previous.ended_cleanly
        {
            self.unclean_end(entry, previous.epoch);
        }
        let heard_ms = self.heard.entry(entry.server).or_insert(entry.received_ms);
        *heard_ms = entry.received_ms.max(*heard_ms);
        for run in &entry.report.runs {
            if !run.outcome.is_success() {
                self.error(
                    entry.server,
                    &run.collector,
                    run.outcome.as_str(),
                    &run.message,
                    run.started_ms,
                    1,
                );
            }
            self.runs
                .entry((entry.server, run.collector.clone()))
                .or_default()
                .push(run.clone());
        }
        for problem in &entry.report.problems {
            let message = match problem.line {
                Some(line) => format!("line {line}: {}", problem.message),
                None => problem.message.clone(),
            };
            self.error(
                entry.server,
                &problem.collector,
                PROBLEM,
                &message,
                entry.report.observed_ms,
                1,
            );
        }
        if let Some(flag) = entry.report.time_basis.as_flag() {
            let (at_ms, message) = (entry.report.observed_ms, clock_message(entry.report.time_basis));
            self.error(entry.server, CLOCK, flag, message, at_ms, 1);
        }
        for lost in &entry.report.gaps {
            self.gaps.push(NewGap {
                server: entry.server,
                lost: lost.clone(),
                from_ms: None,
                to_ms: None,
                noted_ms: entry.received_ms,
            });
        }
    }

    /// The agent ended without a word: what it had not sent by then is lost, and nobody knows how much that is. To be
    /// called before the runs of the report are taken in.
    fn unclean_end(&mut self, entry: &AppliedReport, epoch: u64) {
        let of_server = self
            .runs
            .iter()
            .filter(|((server, _), _)| *server == entry.server);
        let before = of_server
            .flat_map(|(_, runs)| runs)
            .map(|run| run.started_ms)
            .max();
        self.gaps.push(NewGap {
            server: entry.server,
            lost: Gap {
                epoch,
                // Numbers begin at 1: no number is known.
                range: SequenceRange { first: 0, last: 0 },
                sample_count: None,
                reason: GapReason::UncleanEnd,
            },
            from_ms: before,
            to_ms: Some(entry.report.observed_ms),
            noted_ms: entry.received_ms,
        });
    }

    /// Notes that something of a report was not taken.
    pub(super) fn refuse(&mut self, entry: &AppliedReport, service: &str, message: &str, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.error(entry.server, service, REFUSED, message, entry.received_ms, count);
    }

    fn error(
        &mut self,
        server: ServerId,
        service: &str,
        error_type: &'static str,
        message: &str,
        at_ms: i64,
        count: i64,
    ) {
        let key = ErrorKey {
            server,
            service: service.to_owned(),
            error_type,
            message: message.to_owned(),
        };
        let seen = self.errors.entry(key).or_insert(Seen {
            first_ms: at_ms,
            last_ms: at_ms,
            count: 0,
        });
        seen.first_ms = seen.first_ms.min(at_ms);
        seen.last_ms = seen.last_ms.max(at_ms);
        seen.count = seen.count.saturating_add(count);
    }

    /// Writes everything.
    pub(super) async fn write(mut self, transaction: &DatabaseTransaction) -> Result<(), StoreError> {
        for gap in &mut self.gaps {
            if gap.to_ms.is_some() && gap.from_ms.is_none() {
                gap.from_ms = collections::last_collected_ms(transaction, gap.server).await?;
            }
        }
        let heard: Vec<(ServerId, i64)> = std::mem::take(&mut self.heard).into_iter().collect();
        servers::seen_all(transaction, &heard).await?;
        self.write_runs(transaction).await?;
        collections::write_errors(transaction, &self.errors).await?;
        collections::write_gaps(transaction, &self.gaps).await
    }

    async fn write_runs(&mut self, transaction: &DatabaseTransaction) -> Result<(), StoreError> {
        let runs = std::mem::take(&mut self.runs);
        if runs.is_empty() {
            return Ok(());
        }
        let servers: BTreeSet<ServerId> = runs.keys().map(|(server, _)| *server).collect();
        let mut known = collections::statuses(transaction, &servers).await?;
        let mut rows = Vec::with_capacity(runs.len());
        for ((server, collector), mut new) in runs {
            let of_server = known.entry(server).or_default();
            if COLLECTORS_PER_SERVER_MAX <= of_server.len() && !of_server.contains_key(&collector) {
                let message =
                    format!("the server has {COLLECTORS_PER_SERVER_MAX} collectors, more are not taken");
                let at_ms = new.last().map_or(0, |run| run.started_ms);
                self.error(server, &collector, REFUSED, &message, at_ms, new.len() as i64);
                continue;
            }
            new.sort_by_key(|run| run.started_ms);
            let status = of_server
                .entry(collector.clone())
                .or_insert_with(|| unknown(server, &collector));
            for run in &new {
                advance(status, run);
            }
            rows.push(status.clone());
        }
        collections::write_statuses(transaction, rows).await
    }
}

fn unknown(server: ServerId, collector: &str) -> collector_status::Model {
    collector_status::Model {
        server_id: server.0,
        collector: collector.to_owned(),
        outcome: String::new(),
        message: String::new(),
        started_ms: i64::MIN,
        duration_ms: 0,
        last_success_ms: None,
        failures: 0,
    }
}

/// Takes one run into a status, unless the status is of a later one.
fn advance(status: &mut collector_status::Model, run: &CollectorRun) {
    if run.started_ms < status.started_ms {
        return;
    }
    status.outcome = run.outcome.as_str().to_owned();
    status.message.clone_from(&run.message);
    status.started_ms = run.started_ms;
    status.duration_ms = i64::from(run.duration_ms);
    match run.outcome {
        RunOutcome::Facts | RunOutcome::Absent => {
            status.last_success_ms = Some(run.started_ms);
            status.failures = 0;
        }
        RunOutcome::Failed | RunOutcome::TimedOut | RunOutcome::Panicked => status.failures += 1,
    }
}
