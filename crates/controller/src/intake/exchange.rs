//! What goes into the intake and what comes out of it.

use std::sync::Arc;

use muster_base::id::{AgentId, ServerId};
use muster_model::{RangeSet, Report};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// How a record came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// It is the report as the agent sent it.
    Report,
    /// Part of the report, or all, was refused; what is stored says so as a gap with its reason.
    Refused,
}

/// A report on its way into the intake.
#[derive(Debug)]
pub struct IncomingReport {
    /// Who sent it, by its certificate.
    pub agent: AgentId,
    /// The server it speaks for.
    pub server: ServerId,
    /// When it came, Unix milliseconds.
    pub received_ms: i64,
    /// Whether it is stored as it came.
    pub kind: RecordKind,
    /// The report.
    pub report: Arc<Report>,
    /// The same as a serialised `AgentMessage`: what is written.
    pub plain: Vec<u8>,
}

/// Definitions on their way into the intake.
#[derive(Debug)]
pub struct IncomingDefinitions {
    /// Who sent them, by its certificate.
    pub agent: AgentId,
    /// The epoch they belong to.
    pub epoch: u64,
    /// Id of the first.
    pub first_id: u32,
    /// Id of the last that counts; the message may have more, which are ignored.
    pub last_id: u32,
    /// A serialised `AgentMessage` with them.
    pub plain: Vec<u8>,
}

/// A stored report, as consumers get it.
#[derive(Debug)]
pub struct Accepted {
    /// Its place in the log.
    pub position: i64,
    /// Who sent it.
    pub agent: AgentId,
    /// The server it speaks for.
    pub server: ServerId,
    /// When it came, Unix milliseconds.
    pub received_ms: i64,
    /// The report.
    pub report: Arc<Report>,
    /// Its length on the wire, decompressed: what bounds on memory count.
    pub size_bytes: usize,
}

/// What became of what was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The report is durable, by this call or by an earlier one.
    Stored {
        /// Its epoch.
        epoch: u64,
        /// Its number.
        sequence: u64,
        /// Whether it had been stored before.
        duplicate: bool,
    },
    /// Definitions 1..n are durable.
    Defined {
        /// Their epoch.
        epoch: u64,
        /// n.
        definitions: u32,
    },
    /// Nothing was stored: definitions are missing.
    NeedDefinitions {
        /// The epoch.
        epoch: u64,
        /// The lowest missing id.
        from_id: u32,
    },
    /// Nothing was stored: the epoch has too many holes, and the report fills none.
    TooManyHoles {
        /// The epoch.
        epoch: u64,
        /// The number to be sent first.
        lowest_hole: u64,
    },
    /// Nothing was stored: writing failed. It may be tried again.
    Failed,
}

/// Where an answer goes. Unbounded as a channel; what can stand in it is bounded by the asker's own credit.
#[derive(Debug)]
pub struct ReplyTo {
    /// Taken by the answer.
    answer_tx: Option<UnboundedSender<Answer>>,
    /// Room of the asker's that is given back with the answer.
    _credit: Option<OwnedSemaphorePermit>,
    /// Room shared with others that is given back as well.
    _share: Option<OwnedSemaphorePermit>,
}

impl ReplyTo {
    /// The answer goes to `answer_tx`; `credit` is given back with it.
    #[must_use]
    pub fn new(answer_tx: UnboundedSender<Answer>, credit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            answer_tx: Some(answer_tx),
            _credit: credit,
            _share: None,
        }
    }

    /// As [`ReplyTo::new`]; `share` is given back as well.
    #[must_use]
    pub const fn sharing(
        answer_tx: UnboundedSender<Answer>,
        credit: OwnedSemaphorePermit,
        share: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            answer_tx: Some(answer_tx),
            _credit: Some(credit),
            _share: Some(share),
        }
    }

    /// Gives the answer. Whoever asked may be gone; what is stored is stored, and its cursor says so.
    pub(crate) fn answer(mut self, answer: Answer) {
        self.send(answer);
    }

    fn send(&mut self, answer: Answer) {
        if let Some(answer_tx) = self.answer_tx.take() {
            let _ = answer_tx.send(answer);
        }
    }
}

impl Drop for ReplyTo {
    /// Whatever was let go without an answer was not stored.
    fn drop(&mut self) {
        self.send(Answer::Failed);
    }
}

/// What is durable of one epoch of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochCursor {
    /// The epoch.
    pub epoch: u64,
    /// Numbers that are stored or closed by a gap.
    pub ranges: RangeSet,
    /// Definitions 1..n are durable.
    pub definitions: u32,
}
