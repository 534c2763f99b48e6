//! The runner with collectors that misbehave, on a paused clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use muster_model::Facts;

use super::*;
use crate::collect::Place;

struct Fine;
struct Slow;
struct Broken;
struct Panics;

#[async_trait]
impl Collector for Fine {
    async fn collect(&mut self, _: &Host) -> Result<Outcome, CollectError> {
        Ok(Outcome::Facts(Facts::default()))
    }
}

#[async_trait]
impl Collector for Slow {
    async fn collect(&mut self, _: &Host) -> Result<Outcome, CollectError> {
        std::future::pending().await
    }
}

#[async_trait]
impl Collector for Broken {
    async fn collect(&mut self, _: &Host) -> Result<Outcome, CollectError> {
        Err(CollectError::Unusable {
            what: "/proc/x".to_owned(),
            message: "empty".to_owned(),
        })
    }
}

#[async_trait]
impl Collector for Panics {
    async fn collect(&mut self, _: &Host) -> Result<Outcome, CollectError> {
        panic!("defect 7")
    }
}

static BUILT: AtomicUsize = AtomicUsize::new(0);

const fn descriptor(name: &'static str, build: fn(&Context) -> Box<dyn Collector>) -> Descriptor {
    Descriptor {
        name,
        summary: "a test",
        interval: Duration::from_secs(15),
        interval_min: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        place: Place::Net,
        build,
    }
}

const FINE: Descriptor = descriptor("fine", |_| Box::new(Fine));
const SLOW: Descriptor = descriptor("slow", |_| Box::new(Slow));
const BROKEN: Descriptor = descriptor("broken", |_| Box::new(Broken));
const PANICS: Descriptor = descriptor("panics", |_| {
    BUILT.fetch_add(1, Ordering::SeqCst);
    Box::new(Panics)
});

struct World {
    handle: Handle,
    tasks: Tasks,
    ticks_rx: mpsc::Receiver<Tick>,
    shutdown: CancellationToken,
}

fn start(descriptors: &[&'static Descriptor]) -> World {
    let (ticks_tx, ticks_rx) = mpsc::channel(64);
    let shutdown = CancellationToken::new();
    let plans: Vec<_> = descriptors
        .iter()
        .map(|found| Plan::new(found, found.interval))
        .collect();
    let (handle, tasks) = spawn(&plans, &Host::system(), &Context::default(), &ticks_tx, &shutdown);
    World {
        handle,
        tasks,
        ticks_rx,
        shutdown,
    }
}

#[tokio::test(start_paused = true)]
async fn all_run_at_the_start_and_then_on_cadence() {
    let mut world = start(&[&FINE, &BROKEN]);
    let began = tokio::time::Instant::now();
    let first = [
        world.ticks_rx.recv().await.unwrap(),
        world.ticks_rx.recv().await.unwrap(),
    ];
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_ne!(first[0].collector, first[1].collector);
    world.ticks_rx.recv().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_told_with_self_metrics() {
    let mut world = start(&[&FINE, &BROKEN, &PANICS, &SLOW]);
    let mut ticks = Vec::new();
    for _ in 0..4 {
        ticks.push(world.ticks_rx.recv().await.unwrap());
    }
    ticks.sort_by_key(|tick| tick.collector);
    let outcomes: Vec<_> = ticks.iter().map(|tick| tick.outcome).collect();
    let expected = [
        RunOutcome::Failed,
        RunOutcome::Facts,
        RunOutcome::Panicked,
        RunOutcome::TimedOut,
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(ticks[0].message, "/proc/x: empty");
    assert_eq!(ticks[2].message, "the collector has a defect: defect 7");
    for (tick, success) in ticks.iter().zip([0.0, 1.0, 0.0, 0.0]) {
        assert_eq!(tick.self_samples[1].name, "node_scrape_collector_success");
        assert_eq!(tick.self_samples[1].labels.get("collector"), Some(tick.collector));
        assert_eq!(tick.self_samples[1].value, success);
        assert_eq!(tick.facts.is_some(), tick.outcome == RunOutcome::Facts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_panics_is_built_anew_and_runs_again() {
    let mut world = start(&[&PANICS]);
    let before = BUILT.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(world.ticks_rx.recv().await.unwrap().outcome, RunOutcome::Panicked);
    }
    assert!(before + 3 <= BUILT.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_slow_collector_delays_no_other_and_its_late_runs_are_skipped() {
    const STUCK: Descriptor = Descriptor {
        timeout: Duration::from_secs(40),
        ..SLOW
    };
    let mut world = start(&[&FINE, &STUCK]);
    let mut counts = [0, 0];
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(89) {
        let tick = world.ticks_rx.recv().await.unwrap();
        counts[usize::from(tick.collector == "slow")] += 1;
    }
    // Runs begin at 0 s and 45 s, and end at 40 s and 85 s: those of 15 s, 30 s, … were skipped.
    assert_eq!(counts[1], 2);
    assert_eq!(counts[0], 7);
}

#[tokio::test(start_paused = true)]
async fn collect_now_runs_what_is_named_and_answers() {
    let mut world = start(&[&FINE, &BROKEN]);
    let answers = world
        .handle
        .collect_now(&["broken".to_owned(), "nobody".to_owned()])
        .await;
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].collector, answers[0].outcome),
        ("broken", RunOutcome::Failed)
    );
    assert_eq!(world.handle.collect_now(&[]).await.len(), 2);
    world.ticks_rx.close();
}

#[tokio::test(start_paused = true)]
async fn intervals_change_within_the_minimum() {
    let mut world = start(&[&FINE]);
    world.ticks_rx.recv().await.unwrap();
    let wanted = [
        ("fine".to_owned(), Some(Duration::from_secs(1))),
        ("nobody".to_owned(), None),
    ];
    let in_force = world.handle.set_intervals(&wanted).await;
    assert_eq!(in_force, [("fine", Duration::from_secs(5))]);
    let began = tokio::time::Instant::now();
    let tick = world.ticks_rx.recv().await.unwrap();
    assert_eq!((tick.interval_ms, began.elapsed().as_secs()), (5_000, 5));
}

#[tokio::test(start_paused = true)]
async fn one_interval_for_all_is_followed_by_the_quickest_and_slows_the_others() {
    let world = start(&[&FINE, &SLOW]);
    let own: Vec<Duration> = world
        .handle
        .collectors
        .iter()
        .map(|planned| planned.interval)
        .collect();
    let for_all = |interval| [(String::new(), interval)];
    let of =
        |in_force: Vec<(&str, Duration)>| in_force.into_iter().map(|(_, every)| every).collect::<Vec<_>>();
    let hour = Duration::from_secs(3_600);
    assert_eq!(
        of(world.handle.set_intervals(&for_all(Some(hour))).await),
        [hour, hour]
    );
    assert_eq!(of(world.handle.set_intervals(&for_all(None)).await), own);
}

#[tokio::test(start_paused = true)]
async fn a_paused_agent_collects_nothing_unless_asked() {
    let mut world = start(&[&FINE]);
    world.ticks_rx.recv().await.unwrap();
    world.handle.set_paused(true).await;
    let silent = tokio::time::timeout(Duration::from_secs(3_600), world.ticks_rx.recv()).await;
    assert!(silent.is_err(), "{silent:?}");
    assert_eq!(world.handle.collect_now(&[]).await.len(), 1);
    world.ticks_rx.recv().await.unwrap();
    world.handle.set_paused(false).await;
    assert!(world.ticks_rx.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_all_of_them_even_a_hung_one() {
    let world = start(&[&FINE, &SLOW]);
    world.shutdown.cancel();
    world.tasks.join().await;
    assert!(world.handle.collect_now(&[]).await.is_empty());
}
