//! Whose fault it is that a unit does not run its new image: only what failed by itself is called bad for the fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_agent::update::{LastStart, Tell, Transactions as _, UnitState};
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::Behaviour;
use muster_model::CommandState;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{digest, plan, target, update};
use super::systemd::{Bench, Break, Silence, Systemd, failed};

/// Does something once an update is at this step.
struct Meddler<F> {
    step: &'static str,
    act: F,
    has_acted: AtomicBool,
}

impl<F: Fn() + Send + Sync> Tell for Meddler<F> {
    fn step(&self, step: &'static str, _: Option<f64>, _: &str) {
        if step == self.step && !self.has_acted.swap(true, Ordering::SeqCst) {
            (self.act)();
        }
    }
}

/// Updates, and has somebody meddle once the new container is to be watched; what is told.
async fn watched(bench: &Bench, act: impl Fn(&Systemd) + Send + Sync) -> Value {
    let systemd = Arc::clone(&bench.systemd);
    let meddler = Meddler {
        step: "health",
        act: move || act(&systemd),
        has_acted: AtomicBool::new(false),
    };
    let never = CancellationToken::new();
    let updater = bench.updater();
    let result = updater
        .update(Uuid::new_v4(), &target(), &plan(), None, &meddler, &never)
        .await;
    let (reason, told) = failed(result);
    assert_eq!(reason, "unhealthy", "{told:#}");
    told
}

/// The image keeps its name, and it is said what happened.
#[track_caller]
fn is_spared(told: &Value, word: &str) {
    let cause = told["cause"].as_str().unwrap_or_default();
    assert_eq!(told["bad_digest"], Value::Null, "{cause}");
    assert!(cause.contains(word), "{word}: {cause}");
}

#[tokio::test]
async fn a_start_that_systemd_refuses_is_not_the_images_fault() {
    for (fault, word) in [
        (Break::Refused, "Access denied"),
        (Break::Masked, "masked"),
        (Break::Dependency, "dependency"),
        (Break::TooOften, "too often"),
        (Break::Unmet, "condition"),
        (Break::Prepared, "before its process"),
        (Break::Cancelled, "canceled"),
    ] {
        let bench = Bench::new(Behaviour::Runs);
        *bench.systemd.fault.lock() = Some((1, fault));
        let (_, told) = failed(update(&bench.updater(), Uuid::new_v4()).await);
        is_spared(&told, word);
        bench.check(CommandState::Failed, &format!("{fault:?}"));
    }
}

#[tokio::test]
async fn a_unit_that_somebody_stops_while_it_is_watched_is_not_the_images_fault() {
    let stopped = |result: &str, status| LastStart {
        result: result.to_owned(),
        has_run: true,
        status,
        began_us: 10,
        left_us: 30,
        ended_us: 40,
        ..LastStart::default()
    };
    let forgotten = LastStart {
        result: "success".to_owned(),
        ..LastStart::default()
    };
    for (down, word) in [
        (stopped("success", Some(0)), "somebody stopped it"),
        // A process that does not take a SIGTERM well.
        (stopped("exit-code", Some(143)), "stopped"),
        (stopped("signal", None), "stopped"),
        (stopped("timeout", None), "stopped"),
        (forgotten, "without a failure"),
    ] {
        let bench = Bench::new(Behaviour::Runs);
        let told = watched(&bench, |systemd| systemd.stop(down.clone())).await;
        is_spared(&told, word);
        bench.check(CommandState::Failed, word);
    }
}

#[tokio::test]
async fn a_unit_that_somebody_restarts_while_it_is_watched_is_not_the_images_fault() {
    let bench = Bench::new(Behaviour::Runs);
    let told = watched(&bench, |systemd| systemd.start().expect("it starts")).await;
    is_spared(&told, "somebody");
    bench.check(CommandState::Failed, "restarted by hand");
}

#[tokio::test]
async fn what_systemd_starts_again_by_itself_has_failed_by_itself() {
    let bench = Bench::new(Behaviour::Runs);
    let told = watched(&bench, |systemd| {
        systemd.start().expect("it starts");
        let now = systemd.state();
        let last = LastStart {
            restarts: 1,
            ..now.last.clone()
        };
        *systemd.shown.lock() = Some(UnitState { last, ..now });
    })
    .await;
    assert_eq!(told["bad_digest"], json!(digest()), "{told:#}");
    bench.check(CommandState::Failed, "restarted by systemd");
}

#[tokio::test]
async fn what_systemd_says_nothing_of_is_not_called_the_images_fault() {
    let bench = Bench::new(Behaviour::Crashes);
    let told = watched(&bench, |systemd| *systemd.silence.lock() = Silence::OfUnits).await;
    is_spared(&told, "not known");
    bench.check(CommandState::Failed, "nothing is said");
}
