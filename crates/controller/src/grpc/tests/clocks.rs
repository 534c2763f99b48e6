//! D12 over a real stream: what an agent's clocks show, and what becomes of its reports. And what the controller tells
//! agents of time: cadences, certificates, restarts.

use muster_proto::v1::SetIntervals;

use super::*;
use crate::app::servers::ServerPatch;
use crate::intake::{IntakeMetrics, Record};

const HOUR: i64 = 3_600_000;

fn clock(wall_ms: i64, boottime_ms: i64, boot_id: &str) -> Clock {
    Clock {
        wall_ms,
        boottime_ms,
        boot_id: boot_id.to_owned(),
    }
}

/// A report made at `clock`, with a sample of that moment.
fn made_at(sequence: u64, clock: Clock) -> Report {
    let mut report = Report::empty(EPOCH, sequence, clock);
    let block = SampleBlock::new(vec![report.clock.wall_ms], vec![1], vec![1.0]);
    report.blocks.push(block.unwrap());
    report
}

async fn times(world: &World) -> Vec<i64> {
    let page = world.intake.page_after(0, 1_000, usize::MAX).await.unwrap();
    let times = page.records.into_iter().filter_map(|record| match record {
        Record::Good(accepted) => Some(accepted.report.blocks[0].times_ms()[0]),
        Record::Damaged { .. } => None,
    });
    times.collect()
}

/// D12
#[tokio::test]
async fn reports_of_a_wrong_clock_are_stored_under_the_right_time() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let mut stream = world.open(&identity).await;
    // Booted 100 s ago by a clock that stands in 2100.
    let year_2100 = 4_102_444_800_000;
    stream.hello_at(clock(year_2100, 100_000, "boot")).await;
    let Some(Body::Welcome(_)) = stream.next().await else {
        panic!("no welcome")
    };
    stream.define(1, &["test_a"]).await;
    let wrong = [0, 1_000, -HOUR, 24 * HOUR, year_2100, -NOW];
    for (sequence, error_ms) in (1..).zip(wrong) {
        let boottime_ms = 90_000 + 1_000 * sequence;
        let right_ms = NOW - 100_000 + boottime_ms;
        let made = clock(right_ms + error_ms, boottime_ms, "boot");
        stream
            .report(made_at(u64::try_from(sequence).unwrap(), made))
            .await;
    }
    stream.acked(&[1, 2, 3, 4, 5, 6]).await;
    // The first two are within what is believed.
    let wanted = [-9_000, -8_000 + 1_000, -7_000, -6_000, -5_000, -4_000].map(|ago| NOW + ago);
    assert_eq!(times(&world).await, wanted);
    let metrics = world.intake.metrics();
    assert_eq!(IntakeMetrics::get(&metrics.reports_time_rebuilt), 4);
    assert_eq!(IntakeMetrics::get(&metrics.reports_refused), 0);
    let view = world.app.server(identity.server).await.unwrap();
    assert_eq!(view.clock_skew_ms, Some(year_2100 - NOW));
    assert_eq!(count(&world.metrics.session.skewed), 1);
    drop(stream);
    world.end().await;
}

/// D12: the offset of a boot survives the stream and the controller.
#[tokio::test]
async fn a_boot_that_was_heard_once_is_known_when_its_backlog_comes() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let mut stream = world.open(&identity).await;
    stream.hello_at(clock(NOW, 7 * HOUR, "first")).await;
    stream.next().await.unwrap();
    let known = async {
        while world
            .app
            .store()
            .boot_offset(identity.agent, "first")
            .await
            .unwrap()
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    known.await;
    drop(stream);
    let world = World::start(&world.end().await).await;
    let mut stream = world.open(&identity).await;
    stream.hello_at(clock(NOW, 1_000, "second")).await;
    stream.next().await.unwrap();
    stream.define(1, &["test_a"]).await;
    // Made five hours before the first boot was heard, by a clock of 1970.
    stream.report(made_at(1, clock(5_000, 2 * HOUR, "first"))).await;
    // Of a boot that nobody knows: laid out so that it does not lie ahead.
    stream.report(made_at(2, clock(5_000, 2 * HOUR, "unheard"))).await;
    stream.acked(&[1, 2]).await;
    assert_eq!(times(&world).await, [NOW - 5 * HOUR, NOW]);
    let metrics = world.intake.metrics();
    assert_eq!(IntakeMetrics::get(&metrics.reports_time_unknown), 1);
    world.end().await;
}

/// D12
#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_costs_nothing() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    for error_ms in [-600_000, 600_000] {
        let mut stream = world.open(&identity).await;
        stream.hello_at(clock(NOW + error_ms, 5_000, "boot")).await;
        stream.next().await.unwrap();
        stream.define(1, &["test_a"]).await;
        let sequence = u64::try_from(error_ms + 600_001).unwrap();
        stream
            .report(made_at(sequence, clock(NOW + error_ms, 5_000, "boot")))
            .await;
        stream.acked(&[sequence]).await;
    }
    assert_eq!(times(&world).await, [NOW - 600_000, NOW + 600_000]);
    assert_eq!(IntakeMetrics::get(&world.intake.metrics().reports_refused), 0);
    world.end().await;
}

#[tokio::test]
async fn a_server_that_is_switched_off_is_told_at_once_and_when_it_comes_again() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, welcome) = world.greet(&identity).await;
    assert!(!welcome.heartbeat_only && welcome.intervals[0].interval_ms == 0);
    assert_eq!((welcome.backlog_bytes, welcome.fleet_size), (Some(0), 1));
    let patch = ServerPatch {
        monitoring_enabled: Some(false),
        collection_interval: Some(Some(60)),
        ..ServerPatch::default()
    };
    world
        .app
        .patch_server(identity.server, patch, "a test")
        .await
        .unwrap();
    let Some(Body::SetIntervals(SetIntervals {
        intervals,
        heartbeat_only,
    })) = stream.next().await
    else {
        panic!("not told")
    };
    assert!(heartbeat_only);
    assert_eq!(
        (intervals[0].collector.as_str(), intervals[0].interval_ms),
        ("", 60_000)
    );
    let (_stream, welcome) = world.greet(&identity).await;
    assert!(welcome.heartbeat_only && welcome.intervals[0].interval_ms == 60_000);
    world.end().await;
}

#[tokio::test]
async fn a_certificate_well_past_half_its_life_is_to_be_renewed() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut young, _) = world.greet(&identity).await;
    young.report(report(1, vec![])).await;
    young.acked(&[1]).await;
    world.app.clock().set(NOW + 5 * 24 * HOUR);
    let (mut old, _) = world.greet(&identity).await;
    let Some(Body::RenewHint(hint)) = old.next().await else {
        panic!("no hint")
    };
    assert!(NOW < hint.before_ms);
    world.end().await;
}

#[tokio::test]
async fn a_restart_says_so_and_when_to_come_again() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    let ended = tokio::spawn(world.end());
    let close = stream.closed().await;
    assert_eq!(close.reason(), CloseReason::Shutdown);
    assert!(0 < close.retry_after_ms);
    ended.await.unwrap();
}
