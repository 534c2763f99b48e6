//! Outbox, keeper and spool together, from a start to the next, on a disk that does what a test wants.

mod full;
mod outage;
mod refill;

use std::collections::BTreeSet;

use camino::Utf8Path;
use muster_base::id::AgentId;
use muster_model::{Clock, RangeSet, Report, SampleBlock, SequenceRange};
use muster_proto::convert::report_from_wire;
use muster_proto::v1::AgentMessage;
use muster_proto::v1::agent_message::Body;
use nix::errno::Errno;
use prost::Message as _;

use super::*;
use crate::outbox::StoreMark;
use crate::spool::Options;
use crate::spool::memory::Memory;

const ALL: u64 = u64::MAX;

fn clock() -> Clock {
    Clock {
        wall_ms: 1_700_000_000_000,
        boottime_ms: 5_000,
        boot_id: "boot-a".to_owned(),
    }
}

/// Starts an agent's half of delivery as `epoch` on what `files` hold.
fn start(files: &Memory, epoch: u64, options: Options) -> (Keeper, Arc<Outbox>) {
    let agent = AgentId(uuid::Uuid::from_u128(7));
    let dir = Utf8Path::new("/data/spool");
    let (spool, past) = Spool::open(Arc::new(files.clone()), dir, options, agent, epoch, &clock()).unwrap();
    let outbox = Arc::new(Outbox::new(epoch, None, 64 * 1024 * 1024).with_past(past));
    let keeper = Keeper::new(spool, Arc::clone(&outbox), ClockReader::new(clock));
    (keeper, outbox)
}

/// A report of `count` samples that do not compress to nothing.
fn report(number: i64, count: u32) -> Report {
    let mut random = fastrand::Rng::with_seed(number.unsigned_abs());
    let values = (0..count).map(|_| random.f64()).collect();
    // Far enough from each other that thinning would leave them all.
    let time_ms = number * 600_000;
    let block = SampleBlock::new(vec![time_ms], (1..=count).collect(), values).unwrap();
    let mut report = Report::empty(0, 0, clock());
    report.blocks.push(block);
    report
}

fn set(ranges: &[(u64, u64)]) -> RangeSet {
    ranges
        .iter()
        .map(|&(first, last)| SequenceRange { first, last })
        .collect()
}

fn welcome(outbox: &Outbox) {
    let store = StoreMark {
        id: uuid::Uuid::from_u128(1),
        epoch: 1,
    };
    for held in outbox.epochs() {
        if held.epoch == outbox.epoch() {
            outbox.welcome(&RangeSet::default(), store);
        } else {
            outbox.welcome_past(held.epoch, &RangeSet::default());
        }
    }
}

/// Sends until nothing is left, reading what has to be read; returns what arrives.
fn deliver(keeper: &mut Keeper, outbox: &Outbox) -> Vec<Report> {
    let mut arrived = Vec::new();
    loop {
        while let Some(outgoing) = outbox.next_unsent(ALL) {
            let message = AgentMessage::decode(&*outgoing.bytes).unwrap();
            let Some(Body::Report(report)) = message.body else {
                panic!("no report: {message:?}");
            };
            arrived.push(report_from_wire(report).unwrap());
        }
        if outbox.to_read().is_empty() {
            return arrived;
        }
        keeper.round(false);
    }
}

fn numbers(reports: &[Report]) -> BTreeSet<(u64, u64)> {
    reports
        .iter()
        .map(|report| (report.epoch, report.sequence))
        .collect()
}

/// How long a report takes to be on disk that a stream takes and nobody acknowledges, where `then` happens meanwhile.
async fn kept_after(then: impl FnOnce(&Outbox)) -> Duration {
    let files = Memory::default();
    let (keeper, outbox) = start(&files, 1, Options::default());
    welcome(&outbox);
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(keeper.run(stop.clone()));
    // Long enough that it rests.
    tokio::time::sleep(Duration::from_secs(3)).await;
    outbox.push(report(1, 20));
    assert!(outbox.next_unsent(ALL).is_some());
    let pushed = Instant::now();
    then(&outbox);
    while !outbox.is_kept() {
        assert!(pushed.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = pushed.elapsed();
    stop.cancel();
    assert!(keeper.await.unwrap());
    after
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_is_on_disk_after_ten_seconds_though_the_keeper_rests() {
    let after = kept_after(|_| ()).await;
    let wanted = Duration::from_secs(10)..Duration::from_secs(12);
    assert!(wanted.contains(&after), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_is_on_disk_at_once_when_the_stream_ends() {
    let after = kept_after(Outbox::disconnected).await;
    assert!(after < Duration::from_secs(2), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_without_a_controller_arrives_after_a_death_exactly_as_it_was() {
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, Options::default());
    for number in 1..=50 {
        outbox.push(report(number, 20));
        if number % 10 == 0 {
            keeper.round(false);
        }
    }
    assert!(outbox.is_kept());
    drop((keeper, outbox));

    let (mut keeper, outbox) = start(&files, 2, Options::default());
    outbox.push(report(51, 20));
    welcome(&outbox);
    let arrived = deliver(&mut keeper, &outbox);
    assert_eq!(
        (arrived[0].epoch, arrived[0].sequence),
        (2, 1),
        "what is new goes first"
    );
    let past = &arrived[1..];
    assert_eq!(past.len(), 50);
    for (number, arrived) in (1..).zip(past) {
        assert_eq!(arrived.blocks, report(number, 20).blocks);
    }
    outbox.ack(1, &set(&[(1, 50)]));
    outbox.ack(2, &set(&[(1, 1)]));
    assert!(outbox.is_settled());
    assert!(arrived.iter().all(|report| report.gaps.is_empty()));
    keeper.round(false);
    drop((keeper, outbox));
    let (_, outbox) = start(&files, 3, Options::default());
    assert_eq!(outbox.epochs()[0].held, RangeSet::default());
    assert!(outbox.epochs()[1..].iter().all(|epoch| epoch.held.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn while_connected_the_disk_is_left_alone_for_ten_seconds_or_four_mebibytes() {
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, Options::default());
    welcome(&outbox);
    outbox.push(report(1, 20));
    tokio::time::advance(Duration::from_secs(9)).await;
    keeper.round(false);
    assert!(!outbox.is_kept());
    tokio::time::advance(Duration::from_secs(1)).await;
    keeper.round(false);
    assert!(outbox.is_kept());

    outbox.ack(1, &set(&[(1, 1)]));
    for number in 2..=40 {
        outbox.push(report(number, 20_000));
        let held_bytes = outbox.stats().held_bytes;
        keeper.round(false);
        if outbox.is_kept() {
            assert!(
                (4 * 1024 * 1024..5 * 1024 * 1024).contains(&held_bytes),
                "{held_bytes}"
            );
            return;
        }
    }
    panic!("four mebibytes in memory were never written");
}

/// D8
#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_costs_a_pause_and_no_report() {
    for errno in [Errno::EIO, Errno::ENOSPC] {
        let files = Memory::default();
        let (mut keeper, outbox) = start(&files, 1, Options::default());
        let figures = keeper.figures();
        outbox.push(report(1, 20));
        keeper.round(false);
        assert!(outbox.is_kept());

        files.set(|faults| faults.sync = Some(errno));
        outbox.push(report(2, 20));
        keeper.round(false);
        assert!(!outbox.is_kept(), "a failed sync keeps nothing");
        assert_eq!(figures.failures.load(Ordering::Relaxed), 1);
        keeper.round(false);
        assert_eq!(
            figures.failures.load(Ordering::Relaxed),
            1,
            "it is left alone for a while"
        );

        files.set(|faults| {
            faults.sync = None;
            faults.write = Some(errno);
        });
        tokio::time::advance(PAUSE_MAX).await;
        keeper.round(false);
        assert_eq!(figures.failures.load(Ordering::Relaxed), 2);
        files.set(|faults| faults.write = None);
        tokio::time::advance(PAUSE_MAX).await;
        keeper.round(false);
        assert!(outbox.is_kept());
        drop((keeper, outbox));

        let (mut keeper, outbox) = start(&files, 2, Options::default());
        welcome(&outbox);
        let arrived = deliver(&mut keeper, &outbox);
        assert_eq!(numbers(&arrived), BTreeSet::from([(1, 1), (1, 2)]));
        assert!(outbox.push_gaps(clock()).is_none(), "nothing was lost");
    }
}

#[tokio::test(start_paused = true)]
async fn without_room_the_oldest_go_and_every_number_is_there_or_in_a_gap() {
    let options = Options {
        segment_bytes: 32 * 1024,
        size_bytes_max: 128 * 1024,
        ..Options::default()
    };
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, options);
    for number in 1..=200 {
        outbox.push(report(number, 200));
        keeper.round(false);
    }
    assert!(outbox.to_keep(true).is_empty(), "what is new is kept");
    welcome(&outbox);
    let mut arrived = Vec::new();
    while !outbox.is_settled() {
        outbox.push_gaps(clock());
        let delivered = deliver(&mut keeper, &outbox);
        let numbers: Vec<_> = delivered
            .iter()
            .map(|report| (report.sequence, report.sequence))
            .collect();
        outbox.ack(1, &set(&numbers));
        arrived.extend(delivered);
    }
    let mut known: BTreeSet<u64> = arrived.iter().map(|report| report.sequence).collect();
    let gaps: Vec<_> = arrived.iter().flat_map(|report| &report.gaps).collect();
    assert!(!gaps.is_empty());
    for gap in &gaps {
        let count = gap.range.last - gap.range.first + 1;
        assert_eq!(gap.reason, GapReason::BufferFull);
        assert_eq!(gap.sample_count, Some(200 * count));
        for sequence in gap.range.first..=gap.range.last {
            assert!(known.insert(sequence), "{sequence} is there and in a gap");
        }
    }
    assert_eq!(known, (1..=outbox.stats().last_sequence).collect());
}

#[tokio::test(start_paused = true)]
async fn the_end_writes_everything_down_and_says_whether_it_could() {
    for errno in [None, Some(Errno::EIO)] {
        let files = Memory::default();
        let (keeper, outbox) = start(&files, 1, Options::default());
        welcome(&outbox);
        outbox.push(report(1, 20));
        files.set(|faults| faults.write = errno);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(keeper.run(shutdown.clone()));
        shutdown.cancel();
        assert_eq!(running.await.unwrap(), errno.is_none());
        files.set(|faults| faults.write = None);
        let (_, next) = start(&files, 2, Options::default());
        let held = next
            .epochs()
            .into_iter()
            .find(|held| held.epoch == 1)
            .map(|held| held.held);
        assert_eq!(held.unwrap_or_default().contains(1), errno.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_the_disk_lost_meanwhile_is_told_as_a_gap() {
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, Options::default());
    for number in 1..=3 {
        outbox.push(report(number, 20));
    }
    keeper.round(false);
    drop((keeper, outbox));
    let (mut keeper, outbox) = start(&files, 2, Options::default());
    welcome(&outbox);
    files.set(|faults| faults.read = Some(Errno::EIO));
    assert!(outbox.next_unsent(ALL).is_none());
    keeper.round(false);
    files.set(|faults| faults.read = None);
    assert!(deliver(&mut keeper, &outbox).is_empty());
    outbox.push_gaps(clock());
    let told = deliver(&mut keeper, &outbox);
    let gap = &told[0].gaps[0];
    assert_eq!((gap.epoch, gap.range.first, gap.range.last), (1, 1, 3));
    assert_eq!(gap.reason, GapReason::Damaged);
    assert_eq!(gap.sample_count, Some(60));
    outbox.ack(2, &set(&[(1, 1)]));
    keeper.round(false);
    assert_eq!(outbox.epochs().len(), 1, "what is told is forgotten");
}

/// D7
#[tokio::test(start_paused = true)]
async fn on_a_full_disk_urgent_reports_are_kept_at_once_and_the_others_when_there_is_room() {
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, Options::default());
    keeper.round(false);
    files.set(|faults| {
        faults.free_bytes = Some(0);
        faults.create = Some(Errno::ENOSPC);
    });
    let unkept = || -> Vec<u64> {
        outbox
            .to_keep(true)
            .iter()
            .map(|record| record.sequence)
            .collect()
    };
    for number in 1..=20 {
        if number % 4 == 0 {
            outbox.push_urgent(Report::empty(0, 0, clock()));
        } else {
            outbox.push(report(number, 20));
        }
        keeper.round(false);
        assert!(
            unkept().iter().all(|sequence| sequence % 4 != 0),
            "{:?}",
            unkept()
        );
    }
    assert_eq!(unkept().len(), 15);
    files.set(|faults| {
        faults.free_bytes = None;
        faults.create = None;
    });
    tokio::time::advance(PAUSE_MAX).await;
    keeper.round(false);
    assert!(outbox.is_kept());
    println!("normal {PAUSE_MAX:?} after space returned, at the latest");
}
