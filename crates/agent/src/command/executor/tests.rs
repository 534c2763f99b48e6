//! S9, S10, S11: what is done of commands, what is not, and that it is done once whatever ends in between.

mod ending;
mod engine;
mod estate;
mod refused;
mod rotation;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use muster_base::clock::WallClock;
use muster_model::{ContainerTarget, LogRange, ResourceKey, UpdatePlan};
use muster_proto::convert::{command_to_wire, signed_bytes};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair, SanType};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use self::engine::{FakeEngine, OneEngine};
use self::estate::{Estate, last_word, refusal_of, start, target, verbs};
use super::*;
use crate::command::policy;
use crate::identity::{Identity, private_key};
use crate::runtime::{Engine, EngineError, EngineKind, ImageId, LogChunk, PullProgress};

const NOW_MS: i64 = 1_800_000_000_000;
const AGENT: Uuid = Uuid::from_u128(0xa);
const CONTROLLER: Uuid = Uuid::from_u128(0xc);

#[tokio::test]
async fn what_is_allowed_is_done_and_told_until_the_controller_knows() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let order = estate.order(start());
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(report.status.state, CommandState::Succeeded);
    assert_eq!((report.counter, estate.effects()), (1, 1));
    let audit = report.audit.unwrap();
    let entries = estate.audited();
    assert_eq!(entries.len() as u64, audit.entries);
    let decisions: Vec<&str> = entries
        .iter()
        .map(|entry| entry["decision"].as_str().unwrap())
        .collect();
    assert_eq!(decisions, ["allowed", "succeeded"]);
    assert_eq!(entries[0]["who"], "ada");
    assert_eq!(entries[0]["policy"].as_str().unwrap().len(), 64);
    executor.tell_again();
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Succeeded
    );
    drop(executor);
    let executor = estate.open().await;
    executor.tell_again();
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Succeeded
    );
    executor.seen(order.id, CommandState::Succeeded);
    executor.tell_again();
    let more = tokio::time::timeout(Duration::from_millis(50), executor.next_report()).await;
    assert!(more.is_err(), "the controller knows");
}

/// S11: the process ends at each record of the journal, and in the engine before and after the effect, with each verb.
#[tokio::test]
async fn whatever_ends_in_between_an_effect_happens_once_or_is_reported_as_unknown() {
    let mut cases = 0;
    let mut unknown = 0;
    for (verb, runs, paused) in verbs() {
        // Records: received, validated, started, finished; then deaths inside of the engine.
        for point in 0..6 {
            let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
                return;
            };
            estate.engine.set("Running", runs);
            estate.engine.set("Paused", paused);
            let order = estate.order(verb.clone());
            let sealed = estate.seal(&order);
            let executor = estate.open().await;
            match point {
                0..=3 => executor.inner.lock().journal.lives = Some(point),
                4 => estate.engine.dies_before.store(true, Ordering::SeqCst),
                _ => estate.engine.dies_after.store(true, Ordering::SeqCst),
            }
            executor.accept(sealed.clone(), NOW_MS).await;
            // As far as it gets; who waits in the engine waits for ever.
            tokio::time::timeout(Duration::from_millis(30), executor.idle())
                .await
                .ok();
            executor.kill().await;
            estate.engine.dies_before.store(false, Ordering::SeqCst);
            estate.engine.dies_after.store(false, Ordering::SeqCst);
            let before = estate.effects();
            let executor = estate.open().await;
            assert_eq!(
                estate.effects(),
                before,
                "{} at {point}: nothing is done again by itself",
                verb.name()
            );
            // The controller never had an answer, and sends it again.
            executor.accept(sealed.clone(), NOW_MS).await;
            executor.tell_again();
            let report = last_word(&executor, order.id).await;
            executor.accept(sealed, NOW_MS).await;
            executor.idle().await;
            let effects = estate.effects();
            assert!(effects <= 1, "{} at {point}: {effects} effects", verb.name());
            let state = report.status.state;
            let is_told_right = match state {
                CommandState::Succeeded => effects == 1,
                CommandState::Failed | CommandState::Refused => effects == 0,
                CommandState::Unknown => true,
                _ => false,
            };
            assert!(
                is_told_right,
                "{} at {point}: {state:?} with {effects} effects",
                verb.name()
            );
            unknown += usize::from(state == CommandState::Unknown);
            cases += 1;
        }
    }
    println!("{cases} ends in between, never more than one effect, {unknown} reported as unknown");
}

/// S12, as far as it applies: what is ended leaves nothing under way.
#[tokio::test]
async fn a_command_is_cancelled_before_its_point_of_no_return_and_not_after() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    estate.engine.dies_before.store(true, Ordering::SeqCst);
    let order = estate.order(Verb::ContainerLogs {
        target: target(),
        range: LogRange::default(),
    });
    executor.accept(estate.seal(&order), NOW_MS).await;
    wait_until_begun(&executor, order.id).await;
    let busy = estate.order(start());
    assert_eq!(
        refusal_of(&executor, estate.seal(&busy), busy.id).await,
        CommandRefusal::Busy
    );
    let cancel = estate.order(Verb::Cancel { command: order.id });
    executor.accept(estate.seal(&cancel), NOW_MS).await;
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Cancelled
    );
    let stuck = estate.order(start());
    executor.accept(estate.seal(&stuck), NOW_MS).await;
    wait_until_begun(&executor, stuck.id).await;
    let cancel = estate.order(Verb::Cancel { command: stuck.id });
    executor.accept(estate.seal(&cancel), NOW_MS).await;
    let report = last_word(&executor, cancel.id).await;
    assert_eq!(
        (report.status.state, report.reason.as_str()),
        (CommandState::Failed, "unsupported")
    );
    let late = estate.order(Verb::Cancel { command: order.id });
    executor.accept(estate.seal(&late), NOW_MS).await;
    assert_eq!(last_word(&executor, late.id).await.reason, "no_such_target");
    assert_eq!(estate.effects(), 0);
}

async fn wait_until_begun(executor: &Executor, id: Uuid) {
    let waiting = async {
        loop {
            let report = executor.next_report().await;
            if report.status.id == id && report.status.state == CommandState::Started {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_nobody_confirms_stops_new_commands_and_is_never_lost() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let mut ids = Vec::new();
    for _ in 0..crate::command::journal::OPEN_MAX {
        let order = estate.order(start());
        executor.accept(estate.seal(&order), NOW_MS).await;
        executor.idle().await;
        ids.push(order.id);
    }
    let more = estate.order(start());
    assert_eq!(
        refusal_of(&executor, estate.seal(&more), more.id).await,
        CommandRefusal::Busy
    );
    executor.tell_again();
    for _ in 0..ids.len() {
        let report = executor.next_report().await;
        executor.seen(report.status.id, report.status.state);
    }
    let more = estate.order(start());
    executor.accept(estate.seal(&more), NOW_MS).await;
    assert_eq!(
        last_word(&executor, more.id).await.status.state,
        CommandState::Succeeded
    );
    assert_eq!(estate.effects(), 1);
}

#[tokio::test]
async fn pruning_removes_what_nothing_uses_and_says_what() {
    let Some(mut estate) = Estate::new("[[allow]]\nverb = \"image.prune\"\n") else {
        return;
    };
    let executor = estate.open().await;
    let (verb, _, _) = verbs().pop().unwrap();
    let order = estate.order(verb);
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(report.status.result.unwrap()["removed"], json!(["sha256:free"]));
    assert_eq!(estate.effects(), 1);
}

#[tokio::test]
async fn a_pool_is_read_and_compared_once() {
    let Some(mut estate) = Estate::new("[[allow]]\nverb = \"pool.scrub\"\n") else {
        return;
    };
    let executor = estate.open().await;
    let action = estate.dir.join("root/sys/block/md0/md/sync_action");
    std::fs::create_dir_all(action.parent().unwrap()).unwrap();
    std::fs::write(&action, "idle\n").unwrap();
    for (wrong, wanted) in [("pool:mdadm:1:2:3:4", "no_such_target"), ("pool:lvm:x", "failed")] {
        let order = estate.order(Verb::PoolScrub {
            pool: ResourceKey::new(wrong),
        });
        executor.accept(estate.seal(&order), NOW_MS).await;
        assert_eq!(last_word(&executor, order.id).await.reason, wanted);
    }
    for wanted in ["begun", "it runs already"] {
        let order = estate.order(Verb::PoolScrub {
            pool: ResourceKey::new("pool:mdadm:name/md0"),
        });
        executor.accept(estate.seal(&order), NOW_MS).await;
        let report = last_word(&executor, order.id).await;
        assert_eq!(
            (report.status.state, report.status.message.as_str()),
            (CommandState::Succeeded, wanted)
        );
        assert!(std::fs::read_to_string(&action).unwrap().starts_with("check"));
        std::fs::write(&action, "check\n").unwrap();
    }
}

#[tokio::test]
async fn a_verb_that_panics_is_told_as_unknown_and_its_container_is_free_again() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    estate.engine.panics.store(true, Ordering::SeqCst);
    let order = estate.order(start());
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(report.status.state, CommandState::Unknown);
    estate.engine.panics.store(false, Ordering::SeqCst);
    let order = estate.order(start());
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(
        report.status.state,
        CommandState::Succeeded,
        "{}",
        report.status.message
    );
}

#[tokio::test]
async fn a_verb_whose_answer_is_lost_is_told_as_unknown() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    for (kind, expected) in [
        (ErrorKind::ConnectionRefused, CommandState::Failed),
        (ErrorKind::ConnectionReset, CommandState::Unknown),
    ] {
        *estate.engine.breaks.lock().unwrap() = Some(kind);
        let order = estate.order(start());
        executor.accept(estate.seal(&order), NOW_MS).await;
        let report = last_word(&executor, order.id).await;
        assert_eq!(report.status.state, expected, "{kind}");
    }
}

#[tokio::test]
async fn a_container_that_does_not_say_whether_it_runs_is_asked_to_stop() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    estate.engine.state.lock().unwrap()["State"] = json!({});
    let stop = Verb::ContainerStop {
        target: target(),
        timeout_s: None,
    };
    let order = estate.order(stop);
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(
        report.status.state,
        CommandState::Succeeded,
        "{}",
        report.status.message
    );
    assert_eq!(estate.effects(), 1);
}
