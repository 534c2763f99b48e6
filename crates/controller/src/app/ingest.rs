//! Taking reports in: what is accepted, what is refused, and handing it to the intake.
//!
//! Owns the limits on what one agent may send and the rule that a refusal is never silent: what is refused in part
//! or whole is stored as a gap with its reason, so that it is acknowledged once and never sent again. Must not know
//! frames or streams. Who sends is a [`Source`], made from a certificate, never from a body.

mod judge;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use muster_base::clock::WallClock;
use muster_base::id::{AgentId, ServerId};
use muster_model::{Clock, Report, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::intake::{
    self, Answer, EpochCursor, IncomingDefinitions, IncomingReport, Intake, IntakeError, RecordKind, ReplyTo,
};

pub use self::timeline::{Basis, DISAGREEMENT_MS, Placement, Reading, Timeline};

/// Share of the intake's queue, in percent, that backlog may take.
const BACKLOG_PERCENT: usize = 30;
/// Backlog waits while consumers have not passed this many bytes: what is live stands behind it in the log.
const LAG_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often it is looked whether consumers have caught up.
const LAG_LOOK_EVERY: Duration = Duration::from_millis(20);
/// Consumers that stand still slow the backlog down and do not stop it: the intake has its own bound.
const LAG_WAIT_MAX: Duration = Duration::from_secs(2);

/// Who sends, as its certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The agent.
    pub agent: AgentId,
    /// The server it speaks for.
    pub server: ServerId,
}

/// What one agent may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most series of an epoch.
    pub series_per_agent: u32,
    /// How far a sample may be ahead of the time of its receipt, ms.
    pub ahead_ms: i64,
    /// How far it may be behind, ms.
    pub behind_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series_per_agent: limits::SERIES_PER_AGENT_MAX as u32,
            // A clock that is ten minutes ahead is believed, and a report takes a moment.
            ahead_ms: DISAGREEMENT_MS + 30_000,
            behind_ms: 7 * 24 * 3_600 * 1_000,
        }
    }
}

/// A report that could be decoded, but says what no report may say.
#[derive(Debug, Clone)]
pub struct Unacceptable {
    /// Its epoch.
    pub epoch: u64,
    /// Its number, not 0.
    pub sequence: u64,
    /// Why it is refused, in words.
    pub reason: String,
}

/// The way into the intake.
#[derive(Clone)]
pub struct Ingest {
    intake: Intake,
    clock: WallClock,
    limits: Limits,
    backlog: Arc<Semaphore>,
    backlog_max: usize,
}

impl Ingest {
    /// Reports go to `intake` under `limits`.
    #[must_use]
    pub fn new(intake: Intake, clock: WallClock, limits: Limits) -> Self {
        let backlog_max = intake.queue_bytes_max() / 100 * BACKLOG_PERCENT;
        Self {
            backlog: Arc::new(Semaphore::new(backlog_max)),
            backlog_max,
            intake,
            clock,
            limits,
        }
    }

    /// Room for `size_bytes` of backlog; waits while backlog has its share of the queue, or consumers are behind.
    /// To be given back with the answer.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] when shutting down.
    pub async fn room_for_backlog(&self, size_bytes: usize) -> Result<OwnedSemaphorePermit, IntakeError> {
        let waited_until = Instant::now() + LAG_WAIT_MAX;
        while LAG_BYTES_MAX < self.intake.lag_bytes() && Instant::now() < waited_until {
            tokio::time::sleep(LAG_LOOK_EVERY).await;
        }
        let wanted = u32::try_from(size_bytes.clamp(1, self.backlog_max.max(1))).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.backlog).acquire_many_owned(wanted).await;
        room.map_err(|_| IntakeError::Closed)
    }

    /// Hands in a report; `plain` is the serialised message it came in, and `placement` says how its times are to be
    /// read. Waits while the intake's queue is full.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] when shutting down.
    pub async fn report(
        &self,
        source: Source,
        report: Report,
        plain: Vec<u8>,
        placement: Placement,
        reply_to: ReplyTo,
    ) -> Result<(), IntakeError> {
        let received_ms = self.clock.now_ms();
        let judged = judge::judge(report, &self.limits, received_ms, placement);
        let metrics = self.intake.metrics();
        match placement.basis {
            Basis::Wall => {}
            Basis::Boot => metrics.add(&metrics.reports_time_rebuilt, 1),
            Basis::Unknown => metrics.add(&metrics.reports_time_unknown, 1),
        }
        metrics.add(&metrics.samples_not_finite, judged.not_finite);
        metrics.add(&metrics.samples_refused_series, judged.refused.series);
        metrics.add(&metrics.samples_refused_ahead, judged.refused.ahead);
        metrics.add(&metrics.samples_refused_old, judged.refused.old);
        let plain = if judged.is_changed {
            intake::encode_report(&judged.report)
        } else {
            plain
        };
        let kind = if judged.is_refused {
            RecordKind::Refused
        } else {
            RecordKind::Report
        };
        self.hand_in(source, judged.report, plain, kind, received_ms, reply_to)
            .await
    }

    /// Stores the refusal of a report that could not be taken at all.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] when shutting down.
    pub async fn refuse(
        &self,
        source: Source,
        unacceptable: Unacceptable,
        reply_to: ReplyTo,
    ) -> Result<(), IntakeError> {
        let received_ms = self.clock.now_ms();
        // The report's own clock can't be trusted to have been read.
        let clock = Clock {
            wall_ms: received_ms,
            boottime_ms: 0,
            boot_id: String::new(),
        };
        let report = judge::refusal(unacceptable, clock);
        let plain = intake::encode_report(&report);
        self.hand_in(source, report, plain, RecordKind::Refused, received_ms, reply_to)
            .await
    }

    /// Hands in definitions with ids from `first_id` on. Those beyond the agent's limit are counted and left out:
    /// their samples are refused when they come.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] when shutting down.
    pub async fn definitions(
        &self,
        source: Source,
        epoch: u64,
        first_id: u32,
        count: usize,
        plain: Vec<u8>,
        reply_to: ReplyTo,
    ) -> Result<(), IntakeError> {
        let end = u64::from(first_id) + count as u64;
        let end_taken = end.min(u64::from(self.limits.series_per_agent) + 1);
        let refused = end.saturating_sub(end_taken.max(u64::from(first_id)));
        if 0 < refused {
            let metrics = self.intake.metrics();
            metrics.add(&metrics.definitions_refused, refused);
            tracing::warn!(
                server.id = %source.server,
                refused,
                limit = self.limits.series_per_agent,
                "agent defines more series than it may, the rest is left out"
            );
        }
        let last_taken = u32::try_from(end_taken - 1).unwrap_or(u32::MAX);
        if first_id == 0 || last_taken < first_id {
            // None of these will ever be stored, and nobody has to send them again.
            reply_to.answer(Answer::Defined {
                epoch,
                definitions: 0,
            });
            return Ok(());
        }
        let incoming = IncomingDefinitions {
            agent: source.agent,
            epoch,
            first_id,
            last_id: last_taken,
            plain,
        };
        self.intake.define(incoming, reply_to).await
    }

    /// What is durable of the agent's epochs, in the order asked.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] when shutting down or if the cursors can't be read.
    pub async fn cursors(&self, agent: AgentId, epochs: Vec<u64>) -> Result<Vec<EpochCursor>, IntakeError> {
        self.intake.cursors(agent, epochs).await
    }

    async fn hand_in(
        &self,
        source: Source,
        report: Report,
        plain: Vec<u8>,
        kind: RecordKind,
        received_ms: i64,
        reply_to: ReplyTo,
    ) -> Result<(), IntakeError> {
        let incoming = IncomingReport {
            agent: source.agent,
            server: source.server,
            received_ms,
            kind,
            report: Arc::new(report),
            plain,
        };
        self.intake.report(incoming, reply_to).await
    }
}
