//! What agents that misbehave say.

use muster_catalogue::MUSTER_SIM_VALUE;
use muster_proto::convert::definitions_to_wire;
use muster_proto::v1::agent_frame::Body as FrameBody;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::{
    AgentFrame, AgentMessage, Clock, CollectorRun, Compression, Definitions, Fragment, Gap, GapReason, Hello,
    Label, Lane, Report, Resource, RunOutcome, SampleBlock, SequenceRange, SeriesDef,
};
use prost::Message as _;

use super::Rogue;
use crate::agent::COLLECTOR;
use crate::fault::Fault;

/// Series that an agent adds at each tick when their number explodes.
const EXPLOSION: u32 = 500;
/// As many it defines in all; the limit of an agent is half of that.
const EXPLODED_MAX: u32 = 20_000;
/// Definitions of one message.
const DEFINITIONS_PER_MESSAGE: u32 = 200;
/// Values of one block.
const SAMPLES_PER_BLOCK: usize = 8_192;
/// A field that no version has, as its key on the wire: number 9,999, a varint; and its value.
const UNKNOWN_FIELD: [u8; 4] = [0xf8, 0xf0, 0x04, 0x07];
/// A value that no enumeration has.
const UNKNOWN_VALUE: i32 = 9_999;

impl Rogue {
    /// Changes what this agent says of itself.
    pub(super) fn color(&self, hello: &mut Hello) {
        match self.fault {
            Fault::Ancient => {
                hello.agent_version = "0.0.1".to_owned();
                hello.clock = None;
                hello.hostname.clear();
            }
            Fault::FutureVersion => {
                hello.protocol = 99;
                hello.agent_version = "99.0.0-next".to_owned();
            }
            Fault::Liar => hello.hostname = "sim-0".to_owned(),
            _ => {}
        }
    }

    /// The next report, encoded, with the time of its samples.
    pub(super) fn report(&self) -> (Vec<u8>, i64) {
        let clock = self.clock();
        let at_ms = clock.wall_ms;
        let mut report = self.empty_report(self.epoch, self.sequence);
        report.clock = Some(clock);
        report.runs.push(CollectorRun {
            collector: COLLECTOR.to_owned(),
            started_ms: at_ms,
            outcome: RunOutcome::Facts.into(),
            ..CollectorRun::default()
        });
        let honest: Vec<u32> = (1..=u32::try_from(self.shared.series.len()).unwrap_or(0)).collect();
        for ids in honest.chunks(SAMPLES_PER_BLOCK) {
            report.blocks.push(block(at_ms, ids, |_| self.tick as f64));
        }
        match self.fault {
            Fault::Cardinality => {
                let new: Vec<u32> = (self.defined.saturating_sub(EXPLOSION) + 1..=self.defined)
                    .filter(|id| honest.len() < *id as usize)
                    .collect();
                // Not a number, and more than any number, for every other one.
                let values = [1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                report
                    .blocks
                    .push(block(at_ms, &new, |id| values[id as usize % 4]));
            }
            Fault::FutureVersion => {
                report.runs.push(CollectorRun {
                    collector: "collector_to_come".to_owned(),
                    started_ms: at_ms,
                    outcome: UNKNOWN_VALUE,
                    ..CollectorRun::default()
                });
                return (with_unknown_fields(&report), at_ms);
            }
            _ => {}
        }
        (encoded(MessageBody::Report(report)), at_ms)
    }

    /// Queues definitions from one id to another.
    pub(super) fn define(&mut self, from_id: u32, to_id: u32) {
        let mut first = from_id.max(1);
        while first <= to_id {
            let last = to_id.min(first + DEFINITIONS_PER_MESSAGE - 1);
            let definitions = Definitions {
                epoch: self.epoch,
                first_id: first,
                series: (first..=last).map(|id| self.definition(id)).collect(),
            };
            let mut message = encoded(MessageBody::Definitions(definitions));
            if self.fault == Fault::FutureVersion {
                message.extend(UNKNOWN_FIELD);
            }
            self.queue_control(&message);
            first = last + 1;
        }
    }

    fn definition(&self, id: u32) -> SeriesDef {
        if let Some(series) = self.shared.series.get(id as usize - 1) {
            let wire = definitions_to_wire(self.epoch, id, vec![series.as_ref().clone()]);
            return wire.series.into_iter().next().unwrap_or_default();
        }
        let mut labels = vec![label("exploded", id.to_string())];
        match id % 1_000 {
            // Out of bounds one way or the other: too long a value, too many labels, names of nothing.
            0 => labels[0].value = "x".repeat(100_000),
            1 => labels.extend((0..1_000).map(|number| label(&format!("l{number:04}"), String::new()))),
            2 => labels[0].name = "no name at all".to_owned(),
            _ => {}
        }
        SeriesDef {
            name: MUSTER_SIM_VALUE.name.to_owned(),
            labels,
            r#type: UNKNOWN_VALUE,
            collector: COLLECTOR.to_owned(),
            ..SeriesDef::default()
        }
    }

    /// Queues what this agent says beside its report.
    pub(super) fn misbehave(&mut self) {
        match self.fault {
            Fault::Cardinality if self.defined < EXPLODED_MAX => {
                let from_id = self.defined + 1;
                self.defined = EXPLODED_MAX.min(self.defined + EXPLOSION);
                self.define(from_id, self.defined);
            }
            Fault::FutureVersion => {
                // A message, and a frame, of kinds to come.
                self.queue_control(&UNKNOWN_FIELD);
                self.queue.push_back(AgentFrame { body: None });
            }
            Fault::Liar => self.lie(),
            _ => {}
        }
    }

    fn lie(&mut self) {
        let foreign = fastrand::u64(1..);
        match self.tick % 8 {
            // Of an epoch it never had, with series that nobody defined.
            0 => {
                let mut report = self.empty_report(foreign, 1);
                report.blocks.push(block(self.clock().wall_ms, &[1], |_| -1.0));
                self.queue_lie(MessageBody::Report(report), 1);
            }
            // Something else under a number that it has given before.
            1 => {
                let mut report = self.empty_report(self.epoch, self.sequence.max(1));
                report.blocks.push(block(1, &[1], |_| -1.0));
                self.queue_lie(MessageBody::Report(report), self.sequence.max(1));
            }
            // Everything is lost, of everyone.
            2 => self.queue_own(|report| {
                report.gaps.push(Gap {
                    epoch: foreign,
                    range: Some(SequenceRange {
                        first: 1,
                        last: u64::MAX,
                    }),
                    sample_count: Some(u64::MAX),
                    reason: GapReason::BufferFull.into(),
                });
            }),
            // It is another server, and a disk of it that failed.
            3 => self.queue_own(|report| {
                report.resources.push(Resource {
                    key: "serial:../../etc/passwd".to_owned(),
                    name: "sim-0".to_owned(),
                    ..Resource::default()
                });
            }),
            // Long ago, and not yet.
            4 => self.queue_own(|report| {
                report.blocks.push(block(0, &[1], |_| -1.0));
                report.blocks.push(block(4_102_444_800_000, &[1], |_| f64::NAN));
            }),
            // What was defined as one thing is another now.
            5 => {
                let other = SeriesDef {
                    name: "muster_sim_other".to_owned(),
                    ..SeriesDef::default()
                };
                let definitions = Definitions {
                    epoch: self.epoch,
                    first_id: 1,
                    series: vec![other],
                };
                self.queue_control(&encoded(MessageBody::Definitions(definitions)));
            }
            6 => self.queue_raw(Lane::Live.into(), vec![0xff; 300]),
            _ => self.queue_raw(77, vec![0; 70_000]),
        }
    }

    /// Queues a report under the next number, which has to be acknowledged although part of it is refused.
    fn queue_own(&mut self, lie: impl FnOnce(&mut Report)) {
        self.sequence += 1;
        let mut report = self.empty_report(self.epoch, self.sequence);
        lie(&mut report);
        self.queue_lie(MessageBody::Report(report), self.sequence);
    }

    fn queue_lie(&mut self, body: MessageBody, number: u64) {
        super::queue(&mut self.queue, &encoded(body), Lane::Live, number);
    }

    /// Queues bytes that are no message, or of no lane.
    fn queue_raw(&mut self, lane: i32, data: Vec<u8>) {
        self.queue.push_back(AgentFrame {
            body: Some(FrameBody::Fragment(Fragment {
                lane,
                data,
                last: true,
                compression: Compression::Zstd.into(),
                sequence: 0,
            })),
        });
    }

    fn empty_report(&self, epoch: u64, sequence: u64) -> Report {
        let clock = self.clock();
        Report {
            epoch,
            sequence,
            observed_ms: clock.wall_ms,
            clock: Some(clock),
            ..Report::default()
        }
    }

    fn clock(&self) -> Clock {
        let mut clock = Clock::from(self.clocks.now());
        if self.fault == Fault::Ancient {
            // It was switched on when the clock had not been set.
            clock.wall_ms = clock.boottime_ms;
        }
        clock
    }
}

fn block(at_ms: i64, ids: &[u32], value: impl Fn(u32) -> f64) -> SampleBlock {
    let mut before = 0;
    let deltas = ids
        .iter()
        .map(|&id| i64::from(id) - std::mem::replace(&mut before, i64::from(id)));
    SampleBlock {
        time_deltas_ms: vec![at_ms],
        series_deltas: deltas.collect(),
        values: ids.iter().map(|&id| value(id)).collect(),
    }
}

fn label(name: &str, value: String) -> Label {
    Label {
        name: name.to_owned(),
        value,
    }
}

fn encoded(body: MessageBody) -> Vec<u8> {
    AgentMessage { body: Some(body) }.encode_to_vec()
}

/// The message of a report with a field that nobody knows in both.
fn with_unknown_fields(report: &Report) -> Vec<u8> {
    let mut inner = report.encode_to_vec();
    inner.extend(UNKNOWN_FIELD);
    let mut message = Vec::with_capacity(inner.len() + 16);
    prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut message);
    prost::encoding::encode_varint(inner.len() as u64, &mut message);
    message.extend(inner);
    message.extend(UNKNOWN_FIELD);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_can_be_passed_over() {
        let report = Report {
            epoch: 3,
            sequence: 4,
            ..Report::default()
        };
        let decoded = AgentMessage::decode(with_unknown_fields(&report).as_slice()).unwrap();
        assert_eq!(decoded.body, Some(MessageBody::Report(report)));
        let unknown = AgentMessage::decode(UNKNOWN_FIELD.as_slice()).unwrap();
        assert_eq!(unknown.body, None);
    }

    #[test]
    fn ids_travel_as_differences() {
        let block = block(5, &[3, 4, 9], f64::from);
        assert_eq!(block.series_deltas, [3, 1, 5]);
        assert_eq!(block.values, [3.0, 4.0, 9.0]);
    }
}
