//! Earlier epochs, and what memory and disk hold of the running one.

use muster_model::{Clock, GapReason, Report, SampleBlock, SequenceRange};

use super::*;
use crate::outbox::{Refusal, StoreMark};
use crate::spool::PastReport;

const RUNNING: u64 = 9;
const PAST: u64 = 4;
const ALL: u64 = u64::MAX;

fn clock() -> Clock {
    Clock {
        wall_ms: 1_000,
        boottime_ms: 5,
        boot_id: "boot".to_owned(),
    }
}

fn gap(epoch: u64, first: u64, last: u64) -> Gap {
    Gap {
        epoch,
        range: SequenceRange { first, last },
        sample_count: Some(30),
        reason: GapReason::Damaged,
    }
}

fn past(epoch: u64, sequences: &[u64], lost: Vec<Gap>) -> Past {
    let report = |&sequence: &u64| PastReport {
        sequence,
        definitions: 0,
        sample_count: 7,
        plain_bytes: 100,
    };
    Past {
        epoch,
        reports: sequences.iter().map(report).collect(),
        lost,
        ..Past::default()
    }
}

fn outbox(past: Vec<Past>) -> Outbox {
    Outbox::new(RUNNING, None, usize::MAX).with_past(past)
}

fn set(ranges: &[(u64, u64)]) -> RangeSet {
    ranges
        .iter()
        .map(|&(first, last)| SequenceRange { first, last })
        .collect()
}

fn released(epoch: u64, acked: &[u64], given_up: &[u64]) -> Released {
    Released {
        epoch,
        acked: acked.to_vec(),
        given_up: given_up.to_vec(),
    }
}

fn push(outbox: &Outbox) -> u64 {
    let mut report = Report::empty(0, 0, clock());
    report
        .blocks
        .push(SampleBlock::new(vec![1], vec![1], vec![0.5]).unwrap());
    outbox.push(report)
}

fn connect(outbox: &Outbox) {
    let store = StoreMark {
        id: uuid::Uuid::from_u128(1),
        epoch: 1,
    };
    outbox.welcome(&RangeSet::default(), store);
}

/// What is sent, with everything read as soon as it is wanted.
fn sent(outbox: &Outbox) -> Vec<(u64, u64)> {
    let mut sent = Vec::new();
    loop {
        while let Some(outgoing) = outbox.next_unsent(ALL) {
            sent.push((outgoing.epoch, outgoing.sequence));
        }
        let wanted = outbox.to_read();
        if wanted.is_empty() {
            return sent;
        }
        for (epoch, sequence) in wanted {
            outbox.loaded(epoch, sequence, vec![1; 100]);
        }
    }
}

#[tokio::test]
async fn the_running_epoch_goes_first_and_earlier_ones_by_age() {
    let outbox = outbox(vec![past(PAST, &[2, 5], vec![]), past(PAST + 1, &[1], vec![])]);
    push(&outbox);
    assert_eq!(sent(&outbox), [(RUNNING, 1), (PAST, 2), (PAST, 5), (PAST + 1, 1)]);
    assert!(sent(&outbox).is_empty());
    outbox.rewind();
    assert_eq!(sent(&outbox).len(), 4, "a new stream sends everything again");
}

#[tokio::test]
async fn what_is_only_on_disk_is_asked_for_before_it_is_sent() {
    let outbox = outbox(vec![past(PAST, &[2], vec![])]);
    assert!(outbox.next_unsent(ALL).is_none());
    tokio::time::timeout(Duration::from_secs(1), outbox.spool_needed())
        .await
        .expect("the spool is woken");
    assert_eq!(outbox.to_read(), [(PAST, 2)]);
    outbox.loaded(PAST, 2, vec![1; 100]);
    outbox.loaded(PAST, 3, vec![1; 100]);
    assert_eq!(outbox.next_unsent(ALL).map(|outgoing| outgoing.sequence), Some(2));
}

#[tokio::test]
async fn only_a_bounded_part_of_a_long_backlog_is_read_ahead() {
    let mut long = past(PAST, &(1..=100).collect::<Vec<_>>(), vec![]);
    for report in &mut long.reports {
        report.plain_bytes = 200 * 1024;
    }
    let outbox = outbox(vec![long]);
    let wanted = outbox.to_read().len();
    // What is ahead, and the newest.
    assert!((wanted - 1) * 200 * 1024 <= READ_AHEAD_BYTES, "{wanted}");
}

#[tokio::test]
async fn the_credit_counts_what_is_on_its_way_of_all_epochs() {
    let outbox = outbox(vec![past(PAST, &[1, 2, 3], vec![]), past(PAST + 1, &[1], vec![])]);
    for (epoch, sequence) in outbox.to_read() {
        outbox.loaded(epoch, sequence, vec![1; 100]);
    }
    let mut count = 0;
    while outbox.next_unsent(250).is_some() {
        count += 1;
    }
    assert_eq!(count, 2);
    outbox.ack(PAST, &set(&[(1, 1)]));
    assert_eq!(outbox.next_unsent(250).map(|outgoing| outgoing.sequence), Some(3));
}

#[tokio::test]
async fn a_loss_is_told_only_of_what_the_controller_does_not_have() {
    let outbox = outbox(vec![past(PAST, &[], vec![gap(PAST, 3, 6), gap(PAST, 8, 8)])]);
    connect(&outbox);
    outbox.welcome_past(PAST, &set(&[(1, 4), (8, 8)]));
    let sequence = outbox.push_gaps(clock()).expect("a gap waits");
    let held = outbox.next_unsent(ALL).unwrap();
    assert_eq!(held.sequence, sequence);
    assert!(outbox.take_finished().is_empty(), "it is not told yet");
    outbox.ack(RUNNING, &set(&[(sequence, sequence)]));
    assert_eq!(outbox.take_finished(), [PAST]);
    assert!(outbox.push_gaps(clock()).is_none());
}

#[tokio::test]
async fn an_epoch_without_losses_is_finished_once_all_of_it_is_stored() {
    let outbox = outbox(vec![past(PAST, &[1, 2], vec![])]);
    assert_eq!(outbox.welcome_past(PAST, &set(&[(1, 1)])).len(), 1);
    assert!(outbox.take_finished().is_empty());
    assert_eq!(outbox.ack(PAST, &set(&[(2, 2)])).len(), 1);
    assert_eq!(outbox.take_released(), [released(PAST, &[1, 2], &[])]);
    assert_eq!(outbox.take_finished(), [PAST]);
    assert_eq!(outbox.epochs().len(), 1);
}

#[tokio::test]
async fn a_report_of_an_earlier_epoch_that_is_refused_twice_is_a_gap_of_that_epoch() {
    let outbox = outbox(vec![past(PAST, &[3], vec![])]);
    assert_eq!(sent(&outbox), [(PAST, 3)]);
    assert_eq!(outbox.refused(3), Refusal::SentAgain);
    outbox.rewind();
    assert_eq!(sent(&outbox), [(PAST, 3)]);
    assert_eq!(outbox.refused(3), Refusal::ReplacedByGap);
    assert_eq!(outbox.refused(3), Refusal::NotHeld);
    assert!(
        outbox.take_finished().is_empty(),
        "the gap keeps its epoch in mind"
    );
    assert_eq!(outbox.take_released(), [released(PAST, &[], &[3])]);
}

#[tokio::test]
async fn memory_goes_once_the_disk_has_it_and_what_is_acked_before_is_released() {
    let outbox = outbox(vec![]);
    let sequences: Vec<u64> = (0..3).map(|_| push(&outbox)).collect();
    let records = outbox.to_keep(true);
    assert_eq!(records.len(), 3);
    outbox.ack(RUNNING, &set(&[(1, 1)]));
    outbox.kept(&sequences);
    assert!(outbox.to_keep(true).is_empty());
    assert_eq!(outbox.take_released(), [released(RUNNING, &[], &[1])]);
    assert!(outbox.is_kept());
}

#[tokio::test]
async fn what_the_disk_dropped_is_a_counted_gap() {
    let outbox = outbox(vec![]);
    let sequences: Vec<u64> = (0..3).map(|_| push(&outbox)).collect();
    outbox.kept(&sequences);
    outbox.lost(RUNNING, &[1, 2], GapReason::BufferFull);
    outbox.lost(RUNNING, &[2], GapReason::BufferFull);
    outbox.lost(77, &[1], GapReason::BufferFull);
    let stats = outbox.stats();
    assert_eq!((stats.dropped_reports, stats.dropped_samples), (2, 2));
    assert_eq!(outbox.held(), set(&[(3, 3)]));
    assert!(!outbox.is_kept(), "a gap that waits is only in memory");
}

#[tokio::test(start_paused = true)]
async fn the_spool_has_nothing_to_do_only_beside_a_stream_that_keeps_up() {
    let outbox = outbox(Vec::new());
    assert_eq!(outbox.calm_for(), None, "there is no stream");
    let store = StoreMark {
        id: uuid::Uuid::from_u128(1),
        epoch: 1,
    };
    outbox.welcome(&RangeSet::default(), store);
    assert_eq!(outbox.calm_for(), Some(KEEP_AFTER));
    let sequence = outbox.push(Report::empty(0, 0, clock()));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(outbox.calm_for(), Some(Duration::from_secs(6)));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(outbox.calm_for(), None, "it belongs on disk");
    outbox.kept(&[sequence]);
    outbox.ack(RUNNING, &set(&[(sequence, sequence)]));
    assert_eq!(outbox.calm_for(), None, "it is to be let go of");
    assert_eq!(outbox.take_released().len(), 1);
    assert_eq!(outbox.calm_for(), Some(KEEP_AFTER));
    outbox.disconnected();
    assert_eq!(outbox.calm_for(), None);
}
