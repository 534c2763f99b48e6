use muster_model::{Gap, Labels, MetricType, ResourceKey, SampleBlock, SequenceRange, limits};
use muster_proto::convert::report_from_wire;
use muster_proto::v1::AgentMessage;
use muster_proto::v1::agent_message::Body;
use prost::Message as _;

use super::*;

const EPOCH: u64 = 77;
const ALL: u64 = u64::MAX;

fn clock() -> Clock {
    Clock {
        wall_ms: 1_000,
        boottime_ms: 5,
        boot_id: "boot".to_owned(),
    }
}

fn outbox(bytes_max: usize) -> Outbox {
    Outbox::new(EPOCH, None, bytes_max)
}

/// A report with `count` samples at one time.
fn report(time_ms: i64, count: u32) -> Report {
    let mut report = Report::empty(0, 0, clock());
    let block = SampleBlock::new(vec![time_ms], (1..=count).collect(), vec![0.5; count as usize]);
    report.blocks.push(block.unwrap());
    report
}

fn set(ranges: &[(u64, u64)]) -> RangeSet {
    ranges
        .iter()
        .map(|&(first, last)| SequenceRange { first, last })
        .collect()
}

fn store(epoch: u64) -> StoreMark {
    StoreMark {
        id: uuid::Uuid::from_u128(1),
        epoch,
    }
}

fn decode(outgoing: &Outgoing) -> Report {
    let message = AgentMessage::decode(&*outgoing.bytes).unwrap();
    let Some(Body::Report(report)) = message.body else {
        panic!("no report: {message:?}");
    };
    report_from_wire(report).unwrap()
}

/// Everything that can be sent now.
fn send_all(outbox: &Outbox) -> Vec<Report> {
    std::iter::from_fn(|| outbox.next_unsent(ALL))
        .map(|outgoing| decode(&outgoing))
        .collect()
}

fn sequences(reports: &[Report]) -> Vec<u64> {
    reports.iter().map(|report| report.sequence).collect()
}

/// Bytes that one report of `report(_, 10)` takes, so that bounds can be given in reports.
fn size_of_one() -> usize {
    let outbox = outbox(usize::MAX);
    outbox.push(report(0, 10));
    outbox.stats().held_bytes
}

#[test]
fn numbers_are_given_once_and_in_order() {
    let outbox = outbox(usize::MAX);
    assert_eq!((outbox.push(report(1, 1)), outbox.push(report(2, 1))), (1, 2));
    outbox.ack(EPOCH, &set(&[(1, 2)]));
    assert_eq!(outbox.push(report(3, 1)), 3);
    let sent = send_all(&outbox);
    assert_eq!(sequences(&sent), [3]);
    assert_eq!(sent[0].epoch, EPOCH);
}

#[test]
fn the_first_report_names_the_previous_epoch_and_no_other_does() {
    let previous = PreviousEpoch {
        epoch: 5,
        ended_cleanly: false,
    };
    let outbox = Outbox::new(EPOCH, Some(previous), usize::MAX);
    outbox.push(report(1, 1));
    outbox.push(report(2, 1));
    let named: Vec<_> = send_all(&outbox)
        .into_iter()
        .map(|report| report.previous_epoch)
        .collect();
    assert_eq!(named, [Some(previous), None]);
}

#[test]
fn a_lost_first_report_leaves_the_previous_epoch_to_the_next() {
    let previous = PreviousEpoch {
        epoch: 5,
        ended_cleanly: false,
    };
    let outbox = Outbox::new(EPOCH, Some(previous), usize::MAX);
    outbox.push(report(1, 1));
    outbox.give_up(EPOCH, 1);
    outbox.push(report(2, 1));
    assert_eq!(send_all(&outbox)[0].previous_epoch, Some(previous));
}

#[test]
fn acknowledged_reports_are_removed_and_described() {
    let outbox = outbox(usize::MAX);
    for time_ms in [10, 20, 30, 40] {
        outbox.push(report(time_ms, 3));
    }
    let acked = outbox.ack(EPOCH, &set(&[(2, 3), (9, 12)]));
    let described: Vec<_> = acked
        .iter()
        .map(|acked| (acked.sequence, acked.sample_count, acked.first_ms, acked.last_ms))
        .collect();
    assert_eq!(described, [(2, 3, 20, 20), (3, 3, 30, 30)]);
    assert_eq!(outbox.held(), set(&[(1, 1), (4, 4)]));
    assert!(
        outbox.ack(EPOCH, &set(&[(2, 3)])).is_empty(),
        "a repeated ack is nothing new"
    );
    assert!(
        outbox.ack(EPOCH + 1, &set(&[(1, 4)])).is_empty(),
        "another epoch's ack is not ours"
    );
    assert_eq!(outbox.stats().held_reports, 2);
}

#[test]
fn what_was_sent_is_sent_again_only_after_a_reconnect() {
    let outbox = outbox(usize::MAX);
    for time_ms in 1..=4 {
        outbox.push(report(time_ms, 1));
    }
    assert_eq!(sequences(&send_all(&outbox)), [1, 2, 3, 4]);
    assert!(send_all(&outbox).is_empty());
    outbox.ack(EPOCH, &set(&[(2, 2)]));
    let acked = outbox.welcome(&set(&[(2, 3)]), store(1));
    assert_eq!(acked.len(), 1, "a number that is listed is acknowledged");
    assert_eq!(sequences(&send_all(&outbox)), [1, 4]);
}

#[test]
fn a_credit_bounds_what_is_on_its_way_and_never_stops_everything() {
    let outbox = outbox(usize::MAX);
    for time_ms in 1..=3 {
        outbox.push(report(time_ms, 10));
    }
    let size = outbox.next_unsent(0).unwrap().bytes.len() as u64;
    assert!(outbox.next_unsent(size).is_none());
    assert_eq!(outbox.next_unsent(2 * size).unwrap().sequence, 2);
    assert!(outbox.next_unsent(2 * size).is_none());
    outbox.ack(EPOCH, &set(&[(1, 1)]));
    assert_eq!(outbox.next_unsent(2 * size).unwrap().sequence, 3);
}

#[test]
fn at_the_bound_the_oldest_is_dropped_and_the_next_report_says_so() {
    let one = size_of_one();
    let outbox = outbox(3 * one + one / 2);
    for time_ms in 1..=4 {
        outbox.push(report(time_ms, 10));
    }
    assert_eq!(outbox.held(), set(&[(2, 4)]));
    assert!(outbox.stats().held_bytes <= 3 * one + one / 2);
    outbox.ack(EPOCH, &set(&[(2, 3)]));
    outbox.push(report(5, 10));
    let sent = send_all(&outbox);
    assert_eq!(sequences(&sent), [4, 5]);
    assert!(sent[0].gaps.is_empty());
    let gap = Gap {
        epoch: EPOCH,
        range: SequenceRange { first: 1, last: 1 },
        sample_count: Some(10),
        reason: GapReason::BufferFull,
    };
    assert_eq!(sent[1].gaps, [gap]);
    assert_eq!(
        (outbox.stats().dropped_reports, outbox.stats().dropped_samples),
        (1, 10)
    );
}

#[test]
fn what_is_on_its_way_is_dropped_last() {
    let one = size_of_one();
    let outbox = outbox(3 * one + one / 2);
    outbox.push(report(1, 10));
    outbox.push(report(2, 10));
    outbox.next_unsent(ALL);
    outbox.push(report(3, 10));
    outbox.push(report(4, 10));
    assert_eq!(outbox.held(), set(&[(1, 1), (3, 4)]));
}

#[test]
fn a_long_outage_is_told_in_one_gap() {
    let one = size_of_one();
    let outbox = outbox(10 * one);
    for time_ms in 1..=500 {
        outbox.push(report(time_ms, 10));
    }
    let held = outbox.held();
    let lost_to = held.iter().next().unwrap().first - 1;
    assert!(400 < lost_to);
    // Reports may carry gaps that were lost with them; in the end the controller learns of each number once.
    let mut told = RangeSet::default();
    let mut samples = 0;
    for _ in 0..5 {
        for report in send_all(&outbox) {
            for gap in &report.gaps {
                assert!(gap.range.first.max(1) <= gap.range.last && !told.contains(gap.range.first));
                told.insert_range(gap.range).unwrap();
                samples += gap.sample_count.unwrap();
            }
        }
        outbox.ack(EPOCH, &outbox.held());
        outbox.push_gaps(clock());
    }
    assert_eq!(told, set(&[(1, lost_to)]));
    assert_eq!(samples, 10 * lost_to);
    assert!(outbox.is_settled());
}

#[test]
fn lost_reports_make_whoever_sends_changes_say_everything_again() {
    let one = size_of_one();
    let outbox = outbox(2 * one + one / 2);
    for time_ms in 1..=3 {
        outbox.push(report(time_ms, 10));
    }
    assert_eq!(outbox.resyncs(), 0);
    outbox.ack(EPOCH, &outbox.held());
    let carrier = outbox.push_gaps(clock()).unwrap();
    assert_eq!(outbox.push_gaps(clock()), None, "the gap is told once");
    outbox.ack(EPOCH, &set(&[(carrier, carrier)]));
    assert_eq!(outbox.resyncs(), 1);
}

#[test]
fn another_store_makes_whoever_sends_changes_say_everything_again() {
    let outbox = outbox(usize::MAX);
    outbox.welcome(&RangeSet::default(), store(1));
    outbox.welcome(&RangeSet::default(), store(1));
    assert_eq!(outbox.resyncs(), 0);
    outbox.welcome(&RangeSet::default(), store(2));
    assert_eq!((outbox.resyncs(), outbox.store()), (1, Some(store(2))));
}

#[test]
fn what_a_store_lost_although_it_was_acknowledged_becomes_a_gap() {
    let outbox = outbox(usize::MAX);
    for time_ms in 1..=5 {
        outbox.push(report(time_ms, 1));
    }
    outbox.ack(EPOCH, &set(&[(1, 4)]));
    outbox.welcome(&set(&[(1, 2)]), store(2));
    outbox.push_gaps(clock()).unwrap();
    let sent = send_all(&outbox);
    assert_eq!(sequences(&sent), [5, 6]);
    let lost: Vec<_> = sent[1]
        .gaps
        .iter()
        .map(|gap| (gap.range.first, gap.range.last, gap.sample_count))
        .collect();
    assert_eq!(lost, [(3, 4, None)]);
    outbox.ack(EPOCH, &set(&[(5, 6)]));
    outbox.welcome(&set(&[(1, 6)]), store(2));
    assert_eq!(outbox.push_gaps(clock()), None, "it is told once");
}

#[test]
fn a_report_that_is_refused_twice_becomes_a_gap() {
    let outbox = outbox(usize::MAX);
    outbox.push(report(1, 4));
    assert_eq!(outbox.refused(1), Refusal::SentAgain);
    outbox.rewind();
    assert_eq!(sequences(&send_all(&outbox)), [1]);
    assert_eq!(outbox.refused(1), Refusal::ReplacedByGap);
    assert_eq!(outbox.refused(1), Refusal::NotHeld);
    outbox.push_gaps(clock());
    let sent = send_all(&outbox);
    assert_eq!((sent[0].sequence, sent[0].gaps[0].range.first), (2, 1));
    assert_eq!(
        (sent[0].gaps[0].reason, sent[0].gaps[0].sample_count),
        (GapReason::Refused, Some(4))
    );
}

#[test]
fn a_gap_that_the_controller_has_after_all_is_not_told() {
    let one = size_of_one();
    let outbox = outbox(one + one / 2);
    outbox.push(report(1, 10));
    outbox.next_unsent(ALL);
    outbox.push(report(2, 10)); // Everything is on its way, so the oldest goes.
    outbox.ack(EPOCH, &set(&[(1, 1)]));
    assert_eq!(outbox.push_gaps(clock()), None);
}

#[test]
fn series_are_limited() {
    let outbox = outbox(usize::MAX);
    let series = Series::from(SeriesDef {
        name: "m".into(),
        labels: Labels::default(),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "c".into(),
        resource_key: ResourceKey::server(),
        interval_ms: 0,
    });
    for id in 1..=limits::SERIES_PER_AGENT_MAX as u32 {
        assert_eq!(outbox.define(series.clone()), Some(id));
    }
    assert_eq!(outbox.define(series), None);
    assert_eq!(outbox.definitions(9_999, 20_000).len(), 2);
    assert_eq!(outbox.definitions(0, 3).len(), 3);
    assert!(outbox.definitions(20_000, 20_001).is_empty());
}

#[tokio::test]
async fn the_end_waits_until_everything_is_acknowledged() {
    let outbox = Arc::new(outbox(usize::MAX));
    outbox.push(report(1, 1));
    let waiting = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { outbox.settled().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    outbox.ack(EPOCH, &set(&[(1, 1)]));
    waiting.await.unwrap();
}

/// What a controller keeps of an epoch.
#[derive(Debug, Default)]
struct Peer {
    known: RangeSet,
    reports: std::collections::BTreeSet<u64>,
}

impl Peer {
    fn take(&mut self, report: &Report) {
        for gap in &report.gaps {
            self.known.insert_range(gap.range).unwrap();
        }
        if self.known.insert(report.sequence).unwrap() {
            self.reports.insert(report.sequence);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    /// Sends up to so many; the peer takes them and its answer arrives, or not.
    Send {
        count: usize,
        is_taken: bool,
        is_answered: bool,
    },
    Reconnect,
    /// The peer can't read the report that is sent next.
    Refuse,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::{Just, Strategy as _, any, prop_oneof};
    prop_oneof![
        4 => Just(Step::Push),
        4 => (0_usize..5, any::<bool>(), any::<bool>())
            .prop_map(|(count, is_taken, is_answered)| Step::Send { count, is_taken, is_answered }),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Refuse),
    ]
}

fn send(outbox: &Outbox, peer: &mut Peer, count: usize, is_taken: bool, is_answered: bool) {
    let mut answer = RangeSet::default();
    for outgoing in std::iter::from_fn(|| outbox.next_unsent(ALL)).take(count) {
        if is_taken {
            peer.take(&decode(&outgoing));
            answer.insert(outgoing.sequence).unwrap();
        }
    }
    if is_answered {
        outbox.ack(EPOCH, &answer);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_happens_every_number_is_delivered_or_told_to_be_lost(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let outbox = outbox(6 * size_of_one());
        let mut peer = Peer::default();
        for step in steps {
            match step {
                Step::Push => {
                    outbox.push(report(1, 10));
                }
                Step::Send { count, is_taken, is_answered } => {
                    send(&outbox, &mut peer, count, is_taken, is_answered);
                }
                Step::Reconnect => drop(outbox.welcome(&peer.known, store(1))),
                Step::Refuse => {
                    if let Some(refused) = outbox.next_unsent(ALL) {
                        outbox.refused(refused.sequence);
                        outbox.welcome(&peer.known, store(1));
                    }
                }
            }
            proptest::prop_assert!(outbox.stats().held_bytes <= 6 * size_of_one());
        }
        for _ in 0..10 {
            outbox.welcome(&peer.known, store(1));
            outbox.push_gaps(clock());
            send(&outbox, &mut peer, usize::MAX, true, true);
        }
        proptest::prop_assert!(outbox.is_settled());
        let last = outbox.stats().last_sequence;
        let all = if last == 0 { set(&[]) } else { set(&[(1, last)]) };
        proptest::prop_assert_eq!(&peer.known, &all);
    }
}
