//! What waits to be written to the stream, in frames.
//!
//! Bounded: urgent frames by [`URGENT_MAX`], the rest by being refilled only when it is empty, one message at a time.

use std::collections::{HashMap, VecDeque};

use muster_proto::convert::definitions_to_wire;
use muster_proto::framing::{FramingError, cut, cut_encoded};
use muster_proto::v1::agent_frame::Body as FrameBody;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::{AgentFrame, AgentMessage, Lane, Pong};

use super::ended::SessionError;
use crate::outbox::Outbox;

/// Most answers that may wait while the controller does not read.
const URGENT_MAX: usize = 64;
/// Most definitions of one message: at their longest some 20 KiB each with 64 full labels, typically 150 bytes.
const DEFINITIONS_PER_MESSAGE: u32 = 256;

/// Frames to be written, and which definitions were written before.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    urgent: VecDeque<AgentFrame>,
    bulk: VecDeque<AgentFrame>,
    /// Of each epoch: definitions 1..n are written, or stored by the controller.
    defined: HashMap<u64, u32>,
    /// A report that may go once its definitions are written.
    next: Option<crate::outbox::Outgoing>,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.bulk.is_empty()
    }

    /// The next frame to write. Urgent frames go between the pieces of a message.
    pub(super) fn pop(&mut self) -> Option<AgentFrame> {
        self.urgent.pop_front().or_else(|| self.bulk.pop_front())
    }

    /// Puts an answer to a ping before everything else.
    pub(super) fn pong(&mut self, pong: Pong) -> Result<(), SessionError> {
        self.push_urgent(AgentFrame {
            body: Some(FrameBody::Pong(pong)),
        })
    }

    /// Puts a short message on the control lane.
    pub(super) fn control(&mut self, body: MessageBody) -> Result<(), SessionError> {
        let message = AgentMessage { body: Some(body) };
        let fragments = cut(&message, Lane::Control, 0).map_err(SessionError::Framing)?;
        // Definitions travel on the same lane in pieces; an urgent message between them would break their message.
        self.bulk.extend(fragments.into_iter().map(to_frame));
        if URGENT_MAX * 8 < self.bulk.len() {
            return Err(SessionError::Flooded);
        }
        Ok(())
    }

    /// Says that definitions of `epoch` from `first` on are to be written again.
    pub(super) fn define_from(&mut self, epoch: u64, first: u32) {
        let defined = self.defined.entry(epoch).or_default();
        *defined = (*defined).min(first.saturating_sub(1));
    }

    /// Says that the controller has definitions 1..n of `epoch`.
    pub(super) fn start_after(&mut self, epoch: u64, defined: u32) {
        self.defined.insert(epoch, defined);
    }

    /// Forgets a report that was taken and not cut yet; it is still unsent for the outbox after a rewind.
    pub(super) fn forget_next(&mut self) {
        self.next = None;
    }

    /// If nothing waits, takes the next message: definitions first, then the report that uses them.
    pub(super) fn refill(&mut self, outbox: &Outbox, credit_bytes: u64) -> Result<(), SessionError> {
        while self.bulk.is_empty() {
            let Some(next) = self.next.take().or_else(|| outbox.next_unsent(credit_bytes)) else {
                return Ok(());
            };
            let defined = self.defined.get(&next.epoch).copied().unwrap_or(0);
            if defined < next.definitions {
                self.define(outbox, next.epoch, defined, next.definitions)?;
                self.next = Some(next);
                continue;
            }
            match cut_encoded(&next.bytes, Lane::Live, next.sequence) {
                Ok(fragments) => self.bulk.extend(fragments.into_iter().map(to_frame)),
                Err(FramingError::MessageTooLong { .. }) => outbox.give_up(next.epoch, next.sequence),
                Err(error) => return Err(SessionError::Framing(error)),
            }
        }
        Ok(())
    }

    /// Queues the next message of definitions, after id `defined` up to id `last`.
    fn define(&mut self, outbox: &Outbox, epoch: u64, defined: u32, last: u32) -> Result<(), SessionError> {
        let first = defined + 1;
        let mut count = DEFINITIONS_PER_MESSAGE.min(last - defined);
        loop {
            let series = outbox.definitions_of(epoch, first, first + count - 1);
            let series = series.iter().map(|series| series.as_ref().clone()).collect();
            let body = MessageBody::Definitions(definitions_to_wire(epoch, first, series));
            match cut(&AgentMessage { body: Some(body) }, Lane::Control, 0) {
                Ok(fragments) => {
                    self.defined.insert(epoch, defined + count);
                    self.bulk.extend(fragments.into_iter().map(to_frame));
                    return Ok(());
                }
                // A single definition is far below the limit, so this ends.
                Err(FramingError::MessageTooLong { .. }) if 1 < count => count /= 2,
                Err(error) => return Err(SessionError::Framing(error)),
            }
        }
    }

    fn push_urgent(&mut self, frame: AgentFrame) -> Result<(), SessionError> {
        if URGENT_MAX <= self.urgent.len() {
            return Err(SessionError::Flooded);
        }
        self.urgent.push_back(frame);
        Ok(())
    }
}

fn to_frame(fragment: muster_proto::v1::Fragment) -> AgentFrame {
    AgentFrame {
        body: Some(FrameBody::Fragment(fragment)),
    }
}
