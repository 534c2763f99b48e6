//! What waits to be written to the stream, in frames.
//!
//! Answers to pings go first, then the control lane (definitions in order of their ids, other short messages), then
//! reports that alerts depend on, then others of now, then those of before; between any two frames something more urgent may go. A report waits for
//! its definitions, and definitions of backlog are queued one message at a time, so that they do not hold up what is
//! live either. Bounded: urgent frames by [`URGENT_MAX`], answers by [`ANSWERS_MAX`], each lane by one message.

use std::collections::{HashMap, VecDeque};

use muster_proto::convert::definitions_to_wire;
use muster_proto::framing::{FramingError, cut, cut_encoded};
use muster_proto::v1::agent_frame::Body as FrameBody;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::{AgentFrame, AgentMessage, Lane, Pong};

use super::ended::SessionError;
use crate::outbox::{Credit, Outbox, Wanted};

/// Most answers to pings that may wait while the controller does not read.
const URGENT_MAX: usize = 64;
/// Most frames on the control lane that may wait.
const ANSWERS_MAX: usize = 512;
/// Most definitions of one message: at their longest some 20 KiB each with 64 full labels, typically 150 bytes.
const DEFINITIONS_PER_MESSAGE: u32 = 256;

/// Frames to be written, and which definitions were written before.
#[derive(Debug)]
pub(super) struct Outgoing {
    urgent: VecDeque<AgentFrame>,
    control: VecDeque<AgentFrame>,
    /// In order of urgency.
    lanes: Vec<ReportLane>,
    /// Of each epoch: definitions 1..n are written, or stored by the controller.
    defined: HashMap<u64, u32>,
}

/// Reports of one kind, one message at a time.
#[derive(Debug)]
struct ReportLane {
    lane: Lane,
    wanted: Wanted,
    frames: VecDeque<AgentFrame>,
    /// A report that may go once its definitions are written.
    next: Option<crate::outbox::Outgoing>,
}

impl ReportLane {
    const fn new(lane: Lane, wanted: Wanted) -> Self {
        Self {
            lane,
            wanted,
            frames: VecDeque::new(),
            next: None,
        }
    }
}

impl Outgoing {
    /// Nothing yet. With `in_order`, reports go by ascending number and not the newest first.
    pub(super) fn new(in_order: bool) -> Self {
        let lanes = if in_order {
            vec![ReportLane::new(Lane::Live, Wanted::InOrder)]
        } else {
            vec![
                ReportLane::new(Lane::Alert, Wanted::Alert),
                ReportLane::new(Lane::Live, Wanted::Live),
                ReportLane::new(Lane::Backlog, Wanted::Backlog),
            ]
        };
        Self {
            urgent: VecDeque::new(),
            control: VecDeque::new(),
            lanes,
            defined: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty()
            && self.control.is_empty()
            && self.lanes.iter().all(|lane| lane.frames.is_empty())
    }

    /// The next frame to write.
    pub(super) fn pop(&mut self) -> Option<AgentFrame> {
        let urgent = self.urgent.pop_front().or_else(|| self.control.pop_front());
        urgent.or_else(|| self.lanes.iter_mut().find_map(|lane| lane.frames.pop_front()))
    }

    /// Puts an answer to a ping before everything else.
    pub(super) fn pong(&mut self, pong: Pong) -> Result<(), SessionError> {
        if URGENT_MAX <= self.urgent.len() {
            return Err(SessionError::Flooded);
        }
        self.urgent.push_back(AgentFrame {
            body: Some(FrameBody::Pong(pong)),
        });
        Ok(())
    }

    /// Puts a short message on the control lane.
    pub(super) fn control(&mut self, body: MessageBody) -> Result<(), SessionError> {
        let message = AgentMessage { body: Some(body) };
        let fragments = cut(&message, Lane::Control, 0).map_err(SessionError::Framing)?;
        if ANSWERS_MAX < self.control.len() + fragments.len() {
            return Err(SessionError::Flooded);
        }
        self.control.extend(fragments.into_iter().map(to_frame));
        Ok(())
    }

    /// Whether the control lane has room for a message that is not urgent.
    pub(super) fn has_room(&self) -> bool {
        self.control.len() < ANSWERS_MAX / 8
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

    /// Forgets reports that were taken and not cut yet; they are still unsent for the outbox after a rewind.
    pub(super) fn forget_next(&mut self) {
        for lane in &mut self.lanes {
            lane.next = None;
        }
    }

    /// Takes the next report of each lane on which nothing waits, after the definitions it uses.
    pub(super) fn refill(&mut self, outbox: &Outbox, credit: Credit) -> Result<(), SessionError> {
        for index in 0..self.lanes.len() {
            self.refill_lane(index, outbox, credit)?;
        }
        Ok(())
    }

    fn refill_lane(&mut self, index: usize, outbox: &Outbox, credit: Credit) -> Result<(), SessionError> {
        while self.lanes[index].frames.is_empty() {
            let lane = &mut self.lanes[index];
            let next = lane.next.take();
            let Some(next) = next.or_else(|| outbox.next_of(lane.wanted, credit)) else {
                return Ok(());
            };
            let defined = self.defined.get(&next.epoch).copied().unwrap_or(0);
            if defined < next.definitions {
                let may_define = self.control.is_empty();
                if may_define {
                    self.define(outbox, next.epoch, defined, next.definitions)?;
                }
                self.lanes[index].next = Some(next);
                if may_define {
                    continue;
                }
                return Ok(());
            }
            match cut_encoded(&next.bytes, self.lanes[index].lane, next.sequence) {
                Ok(fragments) => {
                    let frames = fragments.into_iter().map(to_frame);
                    self.lanes[index].frames.extend(frames);
                }
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
                    self.control.extend(fragments.into_iter().map(to_frame));
                    return Ok(());
                }
                // A single definition is far below the limit, so this ends.
                Err(FramingError::MessageTooLong { .. }) if 1 < count => count /= 2,
                Err(error) => return Err(SessionError::Framing(error)),
            }
        }
    }
}

fn to_frame(fragment: muster_proto::v1::Fragment) -> AgentFrame {
    AgentFrame {
        body: Some(FrameBody::Fragment(fragment)),
    }
}
