//! D4 at a small scale: agents with a day behind them, all at once.

use std::collections::HashMap;

use muster_model::RangeSet;
use tokio::time::Instant;

use super::*;

const AGENTS: usize = 20;
/// A day at a tick in 15 s and 16 ticks a report.
const REPORTS: u64 = 360;
const TICKS: u64 = 16;
/// What the agents hold, in seconds of their time.
const DAY_S: f64 = (REPORTS * TICKS * 15) as f64;

fn tick_report(sequence: u64, ticks: u64) -> Report {
    let mut made = report(sequence, vec![]);
    let last = NOW - 15_000 * (REPORTS * TICKS) as i64 + 15_000 * (sequence * TICKS) as i64;
    let times = (0..ticks).map(|tick| last + 15_000 * tick as i64).collect();
    let values = (0..ticks * 5).map(|n| n as f64).collect();
    made.blocks
        .push(SampleBlock::new(times, vec![1, 2, 3, 4, 5], values).unwrap());
    made
}

/// What one agent has seen.
struct Seen {
    live: Vec<Duration>,
    alert: Vec<Duration>,
    drained: Duration,
    /// Most bytes of backlog on their way.
    most_bytes: usize,
}

/// Removes what is stored; returns how long it took.
fn landed(sent: &mut HashMap<u64, Instant>, stored: &RangeSet) -> Vec<Duration> {
    let landed = sent.extract_if(|sequence, _| stored.contains(*sequence));
    landed.map(|(_, at)| at.elapsed()).collect()
}

/// An agent that keeps to its credit: drains its backlog, and says something new every 100 ms, and something that
/// alerts depend on.
async fn agent(mut stream: Stream) -> Seen {
    let began = Instant::now();
    let (mut backlog, mut live, mut alert) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (mut next_old, mut next_live, mut credit) = (1, REPORTS + 1, 0);
    let mut seen = Seen {
        live: Vec::new(),
        alert: Vec::new(),
        drained: Duration::ZERO,
        most_bytes: 0,
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    stream.define(1, &["a", "b", "c", "d", "e"]).await;
    loop {
        let on_their_way: usize = backlog.values().sum();
        seen.most_bytes = seen.most_bytes.max(on_their_way);
        if next_old <= REPORTS && (backlog.is_empty() || on_their_way < credit) {
            let old = report_to_wire(tick_report(next_old, TICKS));
            let body = MessageBody::Report(old);
            let message = AgentMessage { body: Some(body) };
            backlog.insert(next_old, prost::Message::encoded_len(&message));
            stream
                .message_on(Lane::Backlog, message.body.unwrap(), next_old)
                .await;
            next_old += 1;
            continue;
        }
        if REPORTS < next_old && backlog.is_empty() && seen.drained.is_zero() {
            seen.drained = began.elapsed();
        }
        if !seen.drained.is_zero() && live.is_empty() && alert.is_empty() && 10 <= seen.live.len() {
            return seen;
        }
        tokio::select! {
            _ = ticks.tick() => {
                live.insert(next_live, Instant::now());
                stream.report(report(next_live, vec![])).await;
                alert.insert(next_live + 1, Instant::now());
                let urgent = MessageBody::Report(report_to_wire(report(next_live + 1, vec![])));
                stream.message_on(Lane::Alert, urgent, next_live + 1).await;
                next_live += 2;
            }
            frame = stream.next() => match frame.unwrap() {
                Body::Credits(credits) => credit = credits.backlog_bytes.unwrap() as usize,
                Body::Ack(ack) => {
                    let stored = ranges_from_wire(&ack.stored).unwrap();
                    backlog.retain(|sequence, _| !stored.contains(*sequence));
                    seen.live.extend(landed(&mut live, &stored));
                    seen.alert.extend(landed(&mut alert, &stored));
                }
                other => panic!("{other:?}"),
            },
        }
    }
}

fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// D4: the goal for what alerts depend on is 2 s; a machine with other work gets as long as live reports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_days_of_backlog_do_not_delay_what_is_live() {
    let (_folder, world) = world().await;
    let mut agents = tokio::task::JoinSet::new();
    for _ in 0..AGENTS {
        let identity = world.enrol().await;
        let (stream, _) = world.greet(&identity).await;
        agents.spawn(agent(stream));
    }
    let seen = agents.join_all().await;
    let live_count: usize = seen.iter().map(|seen| seen.live.len()).sum();
    let live_p99 = p99(seen.iter().flat_map(|seen| seen.live.iter().copied()));
    let alert_p99 = p99(seen.iter().flat_map(|seen| seen.alert.iter().copied()));
    let slowest = seen.iter().map(|seen| seen.drained).max().unwrap();
    let most_bytes = seen.iter().map(|seen| seen.most_bytes).max().unwrap();
    let pace = DAY_S / slowest.as_secs_f64();
    println!(
        "{AGENTS} agents with a day each: drained in {slowest:?} ({pace:.0} x real time), {live_count} live reports \
         acknowledged p99 {live_p99:?} and as many on the alert lane p99 {alert_p99:?}, at most {most_bytes} bytes of \
         backlog of one agent on their way"
    );
    assert!(live_p99.max(alert_p99) <= Duration::from_secs(5) && 20.0 <= pace);
    assert!(most_bytes <= 512 * 1024 + 16 * 1024);
    assert_eq!(
        count(&world.metrics.session.reports_backlog),
        AGENTS as u64 * REPORTS
    );
    world.end().await;
}

#[tokio::test]
async fn who_has_backlog_is_given_credit_for_it() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, welcome) = world.greet(&identity).await;
    assert_eq!(
        (welcome.backlog_bytes, welcome.alert_bytes),
        (Some(0), Some(256 * 1024))
    );
    let old = MessageBody::Report(report_to_wire(report(1, vec![])));
    stream.message_on(Lane::Backlog, old, 1).await;
    let mut granted = None;
    let mut is_acked = false;
    while granted.is_none() || !is_acked {
        match stream.next().await.unwrap() {
            Body::Credits(credits) => granted = credits.backlog_bytes,
            Body::Ack(_) => is_acked = true,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, Some(512 * 1024));
    world.end().await;
}
