//! What is told of commands: how they stand, and how far one is.

use std::sync::{Arc, Mutex, PoisonError};

use muster_model::{Clock, CommandState, CommandStatus};
use muster_proto::convert::CommandReport;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Inner, State, Unwritten};
use crate::command::journal::{Ended, Open};
use crate::command::transactions::Tell;

/// Progress within a step is told this often at most, ms.
const TOLD_EVERY_MS: u128 = 1_000;

impl Inner {
    pub(super) fn put(&self, state: &State, id: Uuid, open: &Open) {
        let is_over = state.unwritten.contains_key(&id);
        let words = is_over.then_some(Unwritten::WORDS);
        let (status, reason) = match &open.ended {
            Some(ended) => (outcome_status(id, ended), ended.reason.as_str()),
            None => {
                let begun = open.started_ms.map(|at_ms| (CommandState::Started, at_ms));
                let (state, at_ms) = begun.unwrap_or((CommandState::Received, open.received_ms));
                let status = CommandStatus {
                    id,
                    state,
                    at_ms,
                    progress: None,
                    step: String::new(),
                    message: words.unwrap_or_default().to_owned(),
                    result: None,
                };
                (status, "")
            }
        };
        self.reports.put(self.report(state, &status, reason));
    }

    pub(super) fn report(&self, state: &State, status: &CommandStatus, reason: &str) -> CommandReport {
        CommandReport {
            status: status.clone(),
            reason: reason.to_owned(),
            counter: state.journal.counter(self.pinned.controller),
            audit: state.audit.head(),
        }
    }
}

pub(super) fn outcome_status(id: Uuid, ended: &Ended) -> CommandStatus {
    CommandStatus {
        id,
        state: ended.state,
        at_ms: ended.at_ms,
        progress: (ended.state == CommandState::Succeeded).then_some(1.0),
        step: String::new(),
        message: ended.message.clone(),
        result: ended.result.clone(),
    }
}

/// Tells how far a command is, not too often.
pub(super) struct Teller {
    inner: Arc<Inner>,
    id: Uuid,
    told: Mutex<Option<(&'static str, Instant)>>,
}

impl Teller {
    pub(super) fn new(inner: Arc<Inner>, id: Uuid) -> Self {
        Self {
            inner,
            id,
            told: Mutex::default(),
        }
    }
}

impl Tell for Teller {
    fn step(&self, step: &'static str, progress: Option<f64>, message: &str) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let is_same =
                |(last, at): (&str, Instant)| last == step && at.elapsed().as_millis() < TOLD_EVERY_MS;
            if told.is_some_and(is_same) {
                return;
            }
            *told = Some((step, Instant::now()));
        }
        let clock: Clock = self.inner.tools.host.clock();
        let status = CommandStatus {
            id: self.id,
            state: CommandState::Started,
            at_ms: clock.wall_ms,
            progress: progress.map(|progress| progress.clamp(0.0, 1.0)),
            step: step.to_owned(),
            message: message.to_owned(),
            result: None,
        };
        let state = self.inner.lock();
        let report = self.inner.report(&state, &status, "");
        self.inner.reports.put(report);
    }
}
