//! A controller that was restored from an older backup gets again what it had acknowledged after it.

use muster_model::{Gap, Labels, MetricType, ResourceKey, SeriesDef};

use super::*;

fn store(epoch: u64) -> StoreMark {
    StoreMark {
        id: uuid::Uuid::from_u128(1),
        epoch,
    }
}

/// Welcomes the agent with what a controller has of each epoch.
fn welcome_with(outbox: &Outbox, store_epoch: u64, stored: impl Fn(u64) -> RangeSet) {
    for held in outbox.listed() {
        if held.epoch == outbox.epoch() {
            outbox.welcome(&stored(held.epoch), store(store_epoch));
        } else {
            outbox.welcome_past(held.epoch, &stored(held.epoch));
        }
    }
}

/// Delivers everything and acknowledges it, in as many rounds as it takes.
fn deliver_all(keeper: &mut Keeper, outbox: &Outbox) -> Vec<Report> {
    let mut arrived = Vec::new();
    loop {
        keeper.round(false);
        let reports = deliver(keeper, outbox);
        if reports.is_empty() && outbox.refilling() == 0 && outbox.is_settled() {
            return arrived;
        }
        for report in &reports {
            outbox.ack(report.epoch, &set(&[(report.sequence, report.sequence)]));
        }
        arrived.extend(reports);
    }
}

fn define(outbox: &Outbox, count: u32) {
    for number in 0..count {
        let series = SeriesDef {
            name: format!("node_load{number}").into(),
            labels: Labels::of(&[]),
            metric_type: MetricType::Gauge,
            unit: "".into(),
            collector: "load".into(),
            resource_key: ResourceKey::server(),
            interval_ms: 1_000,
        };
        outbox.define(series.into()).unwrap();
    }
}

/// An agent that has had reports 1 to `count` of `epoch` acknowledged, and ended in order.
fn run_and_end(files: &Memory, epoch: u64, count: i64, options: Options) {
    let (mut keeper, outbox) = start(files, epoch, options);
    define(&outbox, 20);
    welcome_with(&outbox, 1, |past| match past == epoch {
        true => RangeSet::default(),
        false => set(&[(1, 1_000)]),
    });
    for number in 1..=count {
        outbox.push(report(number, 20));
    }
    assert_eq!(
        deliver_all(&mut keeper, &outbox).len(),
        usize::try_from(count).unwrap()
    );
    keeper.last_round();
}

fn gaps(reports: &[Report]) -> Vec<Gap> {
    reports
        .iter()
        .flat_map(|report| report.gaps.iter().cloned())
        .collect()
}

/// O1
#[tokio::test(start_paused = true)]
async fn what_a_restored_controller_has_lost_of_the_running_epoch_arrives_again_as_it_was() {
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, Options::default());
    define(&outbox, 20);
    welcome_with(&outbox, 1, |_| RangeSet::default());
    // More than are sent again at once.
    for number in 1..=1_500 {
        outbox.push(report(number, 20));
    }
    assert_eq!(deliver_all(&mut keeper, &outbox).len(), 1_500);

    outbox.disconnected();
    outbox.rewind();
    outbox.push(report(1_501, 20));
    welcome_with(&outbox, 2, |_| set(&[(1, 400)]));
    let arrived = deliver_all(&mut keeper, &outbox);
    assert_eq!(numbers(&arrived).len(), 1_101);
    assert_eq!(arrived.len(), 1_101, "each once");
    for report in &arrived {
        let made = super::report(i64::try_from(report.sequence).unwrap(), 20);
        assert_eq!(report.blocks, made.blocks);
    }
    assert_eq!(gaps(&arrived), []);
    // And again nothing, for nothing is missing any more.
    welcome_with(&outbox, 2, |_| set(&[(1, 1_501)]));
    assert_eq!(deliver_all(&mut keeper, &outbox), []);
}

/// O1
#[tokio::test(start_paused = true)]
async fn earlier_epochs_are_refilled_with_their_definitions_and_nothing_else() {
    let files = Memory::default();
    run_and_end(&files, 1, 40, Options::default());
    run_and_end(&files, 2, 40, Options::default());
    let (mut keeper, outbox) = start(&files, 3, Options::default());
    let listed: Vec<_> = outbox.listed();
    let of = |epoch| listed.iter().find(|held| held.epoch == epoch).unwrap();
    assert_eq!((&of(1).held, of(1).definitions), (&set(&[(1, 40)]), 20));
    assert_eq!(
        of(2).last_clock.as_ref().map(|clock| &*clock.boot_id),
        Some("boot-a")
    );
    welcome_with(&outbox, 2, |epoch| match epoch {
        1 => set(&[(1, 30)]),
        _ => RangeSet::default(),
    });
    let mut seen = Vec::new();
    let arrived = loop {
        keeper.round(false);
        let reports = deliver(&mut keeper, &outbox);
        if reports.is_empty() {
            break seen;
        }
        for report in &reports {
            assert_eq!(outbox.definitions_of(report.epoch, 1, 20).len(), 20);
        }
        for report in &reports {
            outbox.ack(report.epoch, &set(&[(report.sequence, report.sequence)]));
        }
        seen.extend(reports);
    };
    let wanted: BTreeSet<_> = (31..=40)
        .map(|number| (1, number))
        .chain((1..=40).map(|number| (2, number)))
        .collect();
    assert_eq!((arrived.len(), numbers(&arrived)), (50, wanted));
    assert_eq!(gaps(&arrived), []);
}

/// O1
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_and_is_not_kept_any_more_is_a_gap_with_its_numbers() {
    let files = Memory::default();
    run_and_end(&files, 1, 10, Options::default());
    let (mut keeper, outbox) = start(&files, 2, Options::default());
    define(&outbox, 20);
    welcome_with(&outbox, 1, |epoch| match epoch {
        1 => set(&[(1, 10)]),
        _ => RangeSet::default(),
    });
    for number in 1..=10 {
        outbox.push(report(number, 20));
    }
    deliver_all(&mut keeper, &outbox);
    keeper.archive(true);
    // Files of both epochs are damaged from their middle on.
    let damaged: Vec<_> = files
        .names()
        .into_iter()
        .filter(|(path, _)| path.as_str().contains("/acked/") && path.as_str().ends_with(".seg"))
        .collect();
    assert_eq!(damaged.len(), 2);
    for (path, length) in damaged {
        files.change(&path, |bytes| bytes[length / 2..].fill(0));
    }
    welcome_with(&outbox, 2, |_| RangeSet::default());
    let arrived = deliver_all(&mut keeper, &outbox);
    let told: BTreeSet<_> = gaps(&arrived)
        .iter()
        .flat_map(|gap| (gap.range.first..=gap.range.last).map(|number| (gap.epoch, number)))
        .collect();
    let again: BTreeSet<_> = numbers(&arrived)
        .into_iter()
        .filter(|(epoch, number)| *epoch == 1 || *number <= 10)
        .collect();
    assert!(!told.is_empty() && !again.is_empty());
    assert!(told.is_disjoint(&again));
    let all: BTreeSet<_> = (1..=2)
        .flat_map(|epoch| (1..=10).map(move |number| (epoch, number)))
        .collect();
    assert_eq!(told.union(&again).copied().collect::<BTreeSet<_>>(), all);
}

/// O1
#[tokio::test(start_paused = true)]
async fn acknowledged_reports_stay_within_their_bounds_and_give_way_to_all_others() {
    let options = Options {
        acked_bytes_max: 3 * 1024 * 1024,
        ..Options::default()
    };
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, options);
    welcome_with(&outbox, 1, |_| RangeSet::default());
    let taken = |files: &Memory| -> usize {
        let names = files.names().into_iter();
        let acked = names.filter(|(path, _)| path.as_str().contains("/acked/"));
        acked.map(|(_, length)| length).sum()
    };
    for number in 1..=30 {
        outbox.push(report(number, 20_000));
        deliver_all(&mut keeper, &outbox);
        assert!(taken(&files) <= 3 * 1024 * 1024);
        assert!(outbox.stats().held_bytes <= 1024 * 1024);
    }
    assert!(500 * 1024 < taken(&files), "{}", taken(&files));
    // Five per cent are to stay free: what was acknowledged goes first.
    files.set(|faults| faults.free_bytes = Some((1 << 40) / 20));
    tokio::time::advance(Duration::from_mins(2)).await;
    outbox.push(report(31, 20));
    deliver_all(&mut keeper, &outbox);
    keeper.archive(true);
    assert!(taken(&files) < 100, "{}", taken(&files));
}

/// O1
#[tokio::test(start_paused = true)]
async fn what_was_kept_for_a_day_goes() {
    let files = Memory::default();
    let options = Options {
        acked_age_ms_max: -1,
        ..Options::default()
    };
    run_and_end(&files, 1, 10, options);
    let (mut keeper, outbox) = start(&files, 2, options);
    welcome_with(&outbox, 1, |_| RangeSet::default());
    outbox.push(report(1, 20));
    deliver_all(&mut keeper, &outbox);
    keeper.archive(true);
    let epochs: Vec<u64> = outbox.listed().iter().map(|held| held.epoch).collect();
    assert_eq!(epochs, [2], "only the file that is being written is left");
}

/// D8
#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_no_acknowledged_reports_holds_up_nothing() {
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, Options::default());
    welcome_with(&outbox, 1, |_| RangeSet::default());
    keeper.round(false);
    files.set(|faults| {
        faults.write = Some(Errno::EIO);
        faults.create = Some(Errno::EIO);
    });
    for number in 1..=20 {
        outbox.push(report(number, 20_000));
        assert_eq!(deliver_all(&mut keeper, &outbox).len(), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
    }
    files.set(|faults| (faults.write, faults.create) = (None, None));
    tokio::time::advance(Duration::from_mins(2)).await;
    outbox.push(report(21, 20));
    deliver_all(&mut keeper, &outbox);
    welcome_with(&outbox, 2, |_| RangeSet::default());
    let arrived = deliver_all(&mut keeper, &outbox);
    assert!(numbers(&arrived).contains(&(1, 21)));
    let told: u64 = gaps(&arrived)
        .iter()
        .map(|gap| gap.range.last - gap.range.first + 1)
        .sum();
    assert_eq!(
        told + numbers(&arrived).iter().filter(|(_, n)| *n <= 21).count() as u64,
        21
    );
}
