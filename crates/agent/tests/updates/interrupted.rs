//! Updates of units while systemd does not answer, and while the machine is started again.

use std::time::Duration;

use muster_agent::update::{LastStart, Standing, TransactionError, Transactions as _};
use muster_fake_engine::Behaviour;
use muster_model::{CommandState, Verb};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{
    digest, even_if_it_dies, image_id, plan, state_of, target, told_of, until_death, update, work_off,
};
use super::systemd::{Bench, Break, Silence, tag_call};

/// As long as one who does not answer is asked again: these tests wait for its end.
const SHORT: Duration = Duration::from_millis(50);

fn verb() -> Verb {
    Verb::ContainerUpdate {
        target: target(),
        plan: plan(),
    }
}

/// How an update ends in whose restart systemd falls silent, leaving behind what that break leaves.
async fn silenced(bench: &Bench, fault: Break) -> Uuid {
    *bench.systemd.fault.lock() = Some((1, fault));
    let command = Uuid::new_v4();
    let updater = bench.updater_for(SHORT);
    let result = update(&updater, command).await;
    let Err(TransactionError::Unknown { message }) = result else {
        panic!("{fault:?}: nobody can know: {result:?}");
    };
    assert!(
        message.contains("did not end") && message.contains("nobody answers"),
        "{message}"
    );
    // It is not over, and is not told to be.
    assert_eq!(
        updater.standing(command, &verb()),
        Standing::Unfinished,
        "{fault:?}"
    );
    updater.tidy().await;
    assert_eq!(
        updater.standing(command, &verb()),
        Standing::Unfinished,
        "{fault:?}"
    );
    command
}

#[tokio::test]
async fn a_systemd_that_does_not_answer_leaves_an_update_unfinished_until_it_does() {
    for (fault, runs) in [(Break::Fallen, None), (Break::Mute, Some(2))] {
        for is_new_agent in [false, true] {
            let because = format!("{fault:?}, another agent: {is_new_agent}");
            let bench = Bench::new(Behaviour::Runs);
            let command = silenced(&bench, fault).await;
            let running = bench.engine.with(|world| world.running());
            let images: Vec<&String> = running.iter().map(|one| &one.1).collect();
            let expected = runs.map(image_id);
            assert_eq!(images, expected.iter().collect::<Vec<_>>(), "{because}");
            *bench.systemd.silence.lock() = Silence::None;
            let updater = bench.updater();
            let told = if is_new_agent {
                updater.reconcile().await
            } else {
                updater.tidy().await;
                Vec::new()
            };
            if is_new_agent {
                assert_eq!(told_of(&told, command), Some(CommandState::Failed), "{because}");
            }
            let Standing::Ended((_, state, message, Some(result))) = updater.standing(command, &verb())
            else {
                panic!("{because}: it is over");
            };
            assert_eq!(state, CommandState::Failed, "{because}: {message}");
            let cause = result["cause"].as_str().expect("a cause");
            assert!(cause.contains("did not end"), "{because}: {cause}");
            assert_eq!(result["bad_digest"], Value::Null, "{because}");
            bench.check(state, &because);
        }
    }
}

#[tokio::test]
async fn a_systemd_that_never_heard_of_it_leaves_the_old_image_running() {
    let bench = Bench::new(Behaviour::Runs);
    *bench.systemd.fault.lock() = Some((1, Break::Deaf));
    let result = update(&bench.updater_for(SHORT), Uuid::new_v4()).await;
    assert_eq!(state_of(&result), CommandState::Failed, "{result:?}");
    assert_eq!(bench.restarts(), 1);
    bench.check(CommandState::Failed, "nothing was done");
}

/// Where the machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While the new image is given the name, before or after it has it.
    Tag { after: bool },
    /// When the unit was to be restarted, and was not.
    Restart,
}

/// Whether the unit is up before the agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    Up,
    Down,
}

/// Agent and engine are gone at this moment, and so is what ran; then the machine starts.
async fn booted(bench: &Bench, moment: Moment, boot: Boot) -> Uuid {
    let command = Uuid::new_v4();
    let updater = bench.updater();
    let work = update(&updater, command);
    match moment {
        Moment::Tag { after } => {
            let ended = until_death(&bench.engine, (tag_call().await, after), work).await;
            assert!(ended.is_none(), "{ended:?}");
            bench.engine.heal();
        }
        Moment::Restart => {
            *bench.systemd.fault.lock() = Some((1, Break::Before));
            tokio::select! {
                biased;
                () = bench.systemd.dead.cancelled() => {}
                result = work => panic!("{result:?}"),
            }
        }
    }
    drop(updater);
    bench.engine.die();
    bench.systemd.stop(LastStart::default());
    if boot == Boot::Up {
        bench.systemd.start().expect("it starts with the machine");
    }
    command
}

#[tokio::test]
async fn a_boot_between_the_name_and_the_restart_ends_with_exactly_one_and_is_told() {
    let moments = [
        Moment::Tag { after: false },
        Moment::Tag { after: true },
        Moment::Restart,
    ];
    let run = async |version_two: Behaviour, moment: Moment, boot: Boot| {
        let because = format!("{version_two:?}, {moment:?}, {boot:?}");
        let bench = Bench::new(version_two);
        let command = booted(&bench, moment, boot).await;
        let updater = bench.updater();
        // The engine comes up after the agent.
        let told = even_if_it_dies(&bench.engine, updater.reconcile()).await;
        let state = told_of(&told, command).expect("it is told");
        let expected = match (moment, version_two) {
            (Moment::Restart, Behaviour::Runs) => CommandState::Succeeded,
            _ => CommandState::Failed,
        };
        assert_eq!(state, expected, "{because}: {told:?}");
        let (_, _, message, result) = told.iter().find(|one| one.0 == command).expect("it is told");
        let result = result.as_ref().expect("with its story");
        println!("{because}: {message}");
        let notes = result["notes"].to_string();
        assert!(
            notes.contains("went on after an interruption"),
            "{because}: {notes}"
        );
        assert_eq!(
            result["rolled_back"],
            json!(state == CommandState::Failed),
            "{because}"
        );
        // It failed by itself only where the update had it run.
        let is_bad = moment == Moment::Restart && version_two == Behaviour::Crashes;
        let bad = if is_bad { json!(digest()) } else { Value::Null };
        assert_eq!(result["bad_digest"], bad, "{because}: {message}");
        bench.check(state, &because);
        let once_more = bench.updater().reconcile().await;
        assert_eq!(told_of(&once_more, command), Some(state), "{because}");
        bench.check(state, &because);
    };
    let versions = [Behaviour::Runs, Behaviour::Crashes].into_iter();
    let all = versions.flat_map(|version| {
        moments
            .iter()
            .flat_map(move |moment| [Boot::Up, Boot::Down].map(|boot| (version, *moment, boot)))
    });
    let done = work_off(all.map(|(version, moment, boot)| run(version, moment, boot))).await;
    println!("{} boots: exactly one of old and new ran after each", done.len());
}
