//! Everything up to the policy's word: verified, new, written down, in time, allowed.

use std::sync::Arc;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::{CommandRefusal, Verb};
use muster_proto::convert::Order;
use muster_proto::v1;
use tracing::{error, warn};
use uuid::Uuid;

use super::telling::outcome_status;
use super::{Came, Inner, RUNNING_MAX, Running, State, event_of};
use crate::command::audit::Event;
use crate::command::journal::Open;
use crate::command::pinned::claimed_id;
use crate::command::policy::{self, Allowed, Loaded};
use crate::command::refused::Refused;
use crate::command::sha256_hex;
use crate::command::verbs::Outcome;

/// No controller has named its time.
const NO_TIME_MS: i64 = 0;

impl Inner {
    /// Everything up to the policy's word. `Ok(None)`: it was seen before, or refused after it was written down.
    ///
    /// # Errors
    /// [`Refused`] if it was not even written down.
    pub(super) fn admit(
        self: &Arc<Self>,
        envelope: &v1::CommandEnvelope,
        came: Came,
    ) -> Result<Option<(Order, Allowed)>, Refused> {
        let loaded = policy::load(&self.policy_file);
        // A policy that does not count names no keys either; it allows nothing, so the pinned ones do.
        let keys = loaded.as_ref().map_or(&[][..], |loaded| loaded.policy.keys());
        let order = self.pinned_now().verify(envelope, keys)?;
        let mut state = self.lock();
        state.signed_ms = state.signed_ms.max(issued_ms(order.id));
        if !self.is_new(&state, &order)? {
            return Ok(None);
        }
        let open = Open {
            verb: order.verb.clone(),
            issuer: order.issuer.clone(),
            bytes_sha256: sha256_hex(&envelope.command),
            received_ms: self.now_ms(),
            validated_ms: None,
            started_ms: None,
            ended: None,
        };
        let event = event_of(order.id, &open, "allowed");
        let received = state
            .journal
            .received(order.id, order.controller, order.counter, open);
        received.map_err(|error| not_written(&error))?;
        let judged = self.judge(&state, &order, came, loaded);
        let permitted = judged.and_then(|(allowed, policy)| {
            self.permit(&mut state, &order, Event { policy, ..event })?;
            Ok(allowed)
        });
        match permitted {
            Ok(allowed) => Ok(Some((order, allowed))),
            Err(refused) => {
                drop(state);
                self.finish(order.id, refused.into());
                Ok(None)
            }
        }
    }

    /// Whether a command was never seen. What is known of one that was is told again.
    fn is_new(&self, state: &State, order: &Order) -> Result<bool, Refused> {
        if state.journal.knows(order.id) {
            // Sent again, because our word was lost; or replayed, which comes to the same: it is not done again.
            if let Some(open) = state.journal.open_commands().get(&order.id) {
                self.put(state, order.id, open);
                return Ok(false);
            }
            return Err(Refused::new(
                CommandRefusal::Replayed,
                "it was done before, and the controller knows how it ended",
            ));
        }
        let highest = state.journal.counter(order.controller);
        if order.counter <= highest {
            let message = format!("its counter is {}, and {highest} was seen already", order.counter);
            return Err(Refused::new(CommandRefusal::Replayed, message));
        }
        if !state.journal.has_room() {
            let message = "the controller has not confirmed the ends of too many commands";
            return Err(Refused::new(CommandRefusal::Busy, message));
        }
        Ok(true)
    }

    /// Writes down that a command is allowed, and makes room for it.
    fn permit(&self, state: &mut State, order: &Order, event: Event) -> Result<(), Refused> {
        let now_ms = self.now_ms();
        state
            .audit
            .record(event, now_ms)
            .map_err(|error| not_written(&error))?;
        state
            .journal
            .validated(order.id, now_ms)
            .map_err(|error| not_written(&error))?;
        let target = order.verb.container();
        let running = Running {
            cancel: CancellationToken::new(),
            is_final: false,
            target: target.map(|target| format!("{} {}", target.runtime, target.name)),
        };
        state.running.insert(order.id, running);
        if let Some(open) = state.journal.open_commands().get(&order.id) {
            self.put(state, order.id, open);
        }
        Ok(())
    }

    fn judge(
        &self,
        state: &State,
        order: &Order,
        came: Came,
        loaded: Result<Loaded, Refused>,
    ) -> Result<(Allowed, String), Refused> {
        self.in_time(state, order, came)?;
        let loaded = loaded?;
        let allowed = loaded.policy.judge(&order.verb)?;
        if RUNNING_MAX <= state.running.len() && !matches!(order.verb, Verb::Cancel { .. }) {
            return Err(Refused::new(
                CommandRefusal::Busy,
                "too many commands are under way",
            ));
        }
        let target = order
            .verb
            .container()
            .map(|target| format!("{} {}", target.runtime, target.name));
        let is_taken = target.is_some() && state.running.values().any(|running| running.target == target);
        if is_taken {
            let message = "another command is under way on this container";
            return Err(Refused::new(CommandRefusal::Busy, message));
        }
        Ok((allowed, loaded.sha256))
    }

    /// Whether a command may still be begun: by the controller's time, and by how long it has been here.
    pub(super) fn in_time(&self, state: &State, order: &Order, came: Came) -> Result<(), Refused> {
        if came.controller_ms <= NO_TIME_MS {
            let message = "the controller's time is not known";
            return Err(Refused::new(CommandRefusal::NoTime, message));
        }
        let age_ms = self
            .tools
            .host
            .clock()
            .boottime_ms
            .saturating_sub(came.boottime_ms);
        let now_ms = came.controller_ms.max(state.signed_ms).saturating_add(age_ms);
        if order.not_after_ms < now_ms || i64::from(order.max_age_ms) < age_ms {
            let late_ms = now_ms.saturating_sub(order.not_after_ms);
            let message = format!("it was not to be begun any more since {late_ms} ms");
            return Err(Refused::new(CommandRefusal::Expired, message));
        }
        Ok(())
    }

    /// Refuses what was not written down: it is told once, and in the audit log.
    pub(super) fn refuse_unwritten(&self, envelope: &v1::CommandEnvelope, refused: Refused) {
        let id = claimed_id(envelope);
        warn!(
            command.id = ?id,
            reason = refused.reason.as_str(),
            why = refused.message,
            "a command was refused"
        );
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let event = Event {
            command: id.map(|id| id.to_string()).unwrap_or_default(),
            bytes: sha256_hex(&envelope.command),
            decision: "refused".to_owned(),
            reason: refused.reason.as_str().to_owned(),
            detail: refused.message.clone(),
            ..Event::default()
        };
        if let Err(error) = state.audit.record_unsigned(event, now_ms) {
            error!(error = %ErrorChain(&error), "a refusal is missing from the audit log");
        }
        // What is said of a command that was taken is never said by one that only bears its id.
        if let Some(id) = id.filter(|id| !state.journal.knows(*id)) {
            let outcome = Outcome::from(refused).at(now_ms);
            let report = self.report(&state, &outcome_status(id, &outcome), &outcome.reason);
            self.reports.put(report);
        }
    }
}

fn not_written(error: &(dyn std::error::Error + 'static)) -> Refused {
    error!(error = %ErrorChain(error), "a command is not taken: it cannot be written down");
    Refused::new(CommandRefusal::NotWritten, ErrorChain(error).to_string())
}

/// The time in a UUIDv7, Unix ms; 0 for another.
fn issued_ms(id: Uuid) -> i64 {
    let time = id.get_timestamp().filter(|_| id.get_version_num() == 7);
    time.map_or(0, |time| {
        let (seconds, nanos) = time.to_unix();
        let seconds = i64::try_from(seconds).unwrap_or(0);
        seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(nanos) / 1_000_000)
    })
}
