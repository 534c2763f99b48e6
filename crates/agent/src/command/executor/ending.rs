//! The ends of commands: written down, if need be again and again, and then told.
//!
//! What cannot be written down (a full disk) waits here and is tried again, ever more seldom, until it can be; only then
//! is it told. A transaction that its engine has left unfinished is not over either: it is told how it ended once it is
//! known, or as unknown after `UNFINISHED_MS`.
//!
//! Bounds: what waits is of commands that the journal has open, so never more than those.

use std::sync::Arc;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_model::{CommandRefusal, CommandState, CommandStatus};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{Inner, State, event_of, is_transaction};
use crate::command::audit::Event;
use crate::command::journal::Ended;
use crate::command::transactions::{Reconciled, Standing};
use crate::command::verbs::Outcome;

/// The pause before the first other try.
const AGAIN_MIN: Duration = Duration::from_millis(250);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How long an unfinished transaction is waited for, ms.
const UNFINISHED_MS: i64 = 24 * 3_600_000;

/// What of a command's end is still to be written down.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// The entry of the audit log, and when it happened.
    event: Option<(Event, i64)>,
    /// The journal's own.
    ended: Option<Ended>,
}

impl Unwritten {
    /// How a command that is over without the journal's knowledge is told of.
    pub(super) const WORDS: &str = "it is over, and its end cannot be written down yet; that is tried again";

    const fn is_empty(&self) -> bool {
        self.event.is_none() && self.ended.is_none()
    }
}

/// What became of a transaction, as an outcome.
pub(super) fn outcome_of((id, state, message, result): Reconciled) -> (Uuid, Outcome) {
    let outcome = match state {
        CommandState::Succeeded => Outcome::done(message),
        state => Outcome::ended(state, CommandRefusal::Interrupted, message),
    };
    (id, Outcome { result, ..outcome })
}

impl Inner {
    /// Writes down how a command ended, and tells it. What can't be written down now is later.
    pub(super) fn finish(self: &Arc<Self>, id: Uuid, mut outcome: Outcome) {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        state.running.remove(&id);
        let Some(open) = state.journal.open_commands().get(&id) else {
            return;
        };
        if outcome.state == CommandState::Unknown {
            match self.standing(id, &state) {
                Standing::Ended(ended) => outcome = outcome_of(ended).1,
                Standing::Unfinished => {
                    let open = open.clone();
                    self.put_words(&state, (id, &open), &outcome.message);
                    state.unfinished.insert(id, outcome.message);
                    drop(state);
                    self.go_on();
                    return;
                }
                Standing::Over => {}
            }
        }
        let event = Event {
            reason: outcome.word.clone(),
            detail: outcome.message.clone(),
            ..event_of(id, open, outcome.state.as_str())
        };
        info!(
            command.id = %id,
            state = outcome.state.as_str(),
            reason = outcome.word,
            "command is over"
        );
        let unwritten = Unwritten {
            event: Some((event, now_ms)),
            ended: Some(outcome.at(now_ms)),
        };
        state.unwritten.insert(id, unwritten);
        if let Err(why) = self.write_end(&mut state, id) {
            error!(
                error = why,
                "the end of a command is not written down; it is tried again"
            );
            if let Some(open) = state.journal.open_commands().get(&id) {
                self.put(&state, id, open);
            }
            drop(state);
            self.go_on();
        }
    }

    /// Whether something more is to be heard of an unfinished transaction.
    fn standing(&self, id: Uuid, state: &State) -> Standing {
        let Some(open) = state.journal.open_commands().get(&id) else {
            return Standing::Over;
        };
        let Some(transactions) = self
            .tools
            .transactions
            .as_ref()
            .filter(|_| is_transaction(&open.verb))
        else {
            return Standing::Over;
        };
        let since_ms = open.started_ms.unwrap_or(open.received_ms);
        match transactions.standing(id, &open.verb) {
            Standing::Unfinished if UNFINISHED_MS < self.now_ms().saturating_sub(since_ms) => Standing::Over,
            standing => standing,
        }
    }

    /// Writes what is still to be written of a command's end, and tells it once the journal has it.
    fn write_end(&self, state: &mut State, id: Uuid) -> Result<(), String> {
        let Some(mut left) = state.unwritten.remove(&id) else {
            return Ok(());
        };
        let mut failed = None;
        if let Some((event, at_ms)) = left.event.take()
            && let Err(error) = state.audit.record(event.clone(), at_ms)
        {
            failed = Some(ErrorChain(&error).to_string());
            left.event = Some((event, at_ms));
        }
        if let Some(ended) = left.ended.take() {
            match state.journal.finished(id, ended.clone()) {
                Ok(()) => {
                    if let Some(open) = state.journal.open_commands().get(&id) {
                        self.put(state, id, open);
                    }
                }
                Err(error) => {
                    failed = Some(ErrorChain(&error).to_string());
                    left.ended = Some(ended);
                }
            }
        }
        if !left.is_empty() {
            state.unwritten.insert(id, left);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes the controller's word that it has written a state down.
    pub(super) fn confirmed(self: &Arc<Self>, id: Uuid, seen: CommandState) {
        let mut state = self.lock();
        let is_over = state.journal.open_commands().get(&id).is_some_and(|open| {
            let ended = open.ended.as_ref();
            ended.is_some_and(|ended| ended.state == seen)
        });
        let now_ms = self.now_ms();
        if is_over && let Err(error) = state.journal.reported(id, now_ms) {
            warn!(error = %ErrorChain(&error), "not written down that the controller knows a command's end");
            state.confirmed.insert(id);
            drop(state);
            self.go_on();
        }
    }

    /// Sees to it that what is not written or not finished is looked at again.
    fn go_on(self: &Arc<Self>) {
        {
            let mut state = self.lock();
            if state.is_going_on {
                return;
            }
            state.is_going_on = true;
        }
        // Never what keeps an executor alive.
        let inner = Arc::downgrade(self);
        self.tasks().spawn(async move {
            let mut pause = AGAIN_MIN;
            loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_MAX);
                match inner.upgrade() {
                    Some(inner) if !inner.look_again() => {}
                    _ => return,
                }
            }
        });
    }

    /// Tries again what was not written, and looks at what was not finished. Whether nothing is left.
    fn look_again(self: &Arc<Self>) -> bool {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let unwritten: Vec<Uuid> = state.unwritten.keys().copied().collect();
        for id in unwritten {
            // Whoever could not write one can write none of the others.
            if self.write_end(&mut state, id).is_err() {
                return false;
            }
            info!(command.id = %id, "the end of a command is written down at last");
        }
        let confirmed: Vec<Uuid> = state.confirmed.iter().copied().collect();
        for id in confirmed {
            if state.journal.reported(id, now_ms).is_err() {
                return false;
            }
            state.confirmed.remove(&id);
        }
        let unfinished: Vec<Uuid> = state.unfinished.keys().copied().collect();
        let mut over = Vec::new();
        for id in unfinished {
            let outcome = match self.standing(id, &state) {
                Standing::Unfinished => continue,
                Standing::Ended(ended) => outcome_of(ended).1,
                Standing::Over => {
                    let message = state.unfinished.get(&id).cloned().unwrap_or_default();
                    Outcome::ended(CommandState::Unknown, CommandRefusal::Interrupted, message)
                }
            };
            state.unfinished.remove(&id);
            over.push((id, outcome));
        }
        // Whoever finishes something from here on begins anew if need be.
        let is_done = state.unfinished.is_empty();
        state.is_going_on = !is_done;
        drop(state);
        for (id, outcome) in over {
            self.finish(id, outcome);
        }
        is_done
    }

    /// Tells of a command that goes on, in these words.
    fn put_words(&self, state: &State, (id, open): (Uuid, &crate::command::journal::Open), words: &str) {
        let status = CommandStatus {
            id,
            state: CommandState::Started,
            at_ms: open.started_ms.unwrap_or(open.received_ms),
            progress: None,
            step: "unfinished".to_owned(),
            message: format!("{words}; it is gone on with as soon as the engine answers"),
            result: None,
        };
        self.reports.put(self.report(state, &status, ""));
    }
}
