//! Containers that a systemd unit makes, with a systemd that fails, dies with the agent, or does another thing than it was
//! told.

use muster_agent::update::{Transactions as _, UnitState};
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::{Behaviour, Fault};
use muster_model::{CommandState, UpdatePlan};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{
    Deaf, NAME, digest, even_if_it_dies, plan, state_of, target, told_of, until_death, update, work_off,
};
use super::systemd::{Bench, Break, UNIT, failed, tag_call};

#[tokio::test]
async fn a_unit_is_restarted_once_and_its_container_has_the_new_image() {
    for behaviour in [Behaviour::Runs, Behaviour::Healthy] {
        let bench = Bench::new(behaviour);
        let command = Uuid::new_v4();
        let result = update(&bench.updater(), command).await.expect("an update");
        assert_eq!(
            (&result["unit"], &result["kept_as"]),
            (&json!(UNIT), &Value::Null)
        );
        assert_eq!(bench.restarts(), 1);
        bench.check(CommandState::Succeeded, "nothing is broken");
        // And back, though the unit has made another container since.
        let never = CancellationToken::new();
        let back = bench
            .updater()
            .rollback(Uuid::new_v4(), &target(), command, None, &Deaf, &never)
            .await;
        back.expect("a way back");
        assert_eq!(bench.restarts(), 2);
        bench.check(CommandState::Failed, "taken back");
    }
}

#[tokio::test]
async fn a_version_that_fails_by_itself_is_taken_out_of_the_unit_and_called_bad() {
    for (behaviour, reason, is_bad) in [
        (Behaviour::Crashes, "unhealthy", true),
        (Behaviour::NeverHealthy, "unhealthy", true),
        (Behaviour::BrokenEntrypoint, "start", true),
        (Behaviour::PortTaken, "start", false),
    ] {
        let bench = Bench::new(behaviour);
        let (why, told) = failed(update(&bench.updater(), Uuid::new_v4()).await);
        assert_eq!(why, reason, "{behaviour:?}: {told:#}");
        let bad = if is_bad { json!(digest()) } else { Value::Null };
        assert_eq!(told["bad_digest"], bad, "{behaviour:?}");
        bench.check(CommandState::Failed, &format!("{behaviour:?}"));
    }
}

#[tokio::test]
async fn a_restart_that_is_refused_or_lost_ends_with_the_old_image_or_the_new() {
    for fault in [Break::Refused, Break::Lost] {
        for number in [1, 2] {
            // The second restart is the one that goes back.
            let version_two = if number == 1 {
                Behaviour::Runs
            } else {
                Behaviour::Crashes
            };
            let bench = Bench::new(version_two);
            *bench.systemd.fault.lock() = Some((number, fault));
            let result = update(&bench.updater(), Uuid::new_v4()).await;
            bench.check(state_of(&result), &format!("{fault:?} at {number}: {result:?}"));
        }
    }
}

#[tokio::test]
async fn an_agent_that_dies_at_a_restart_ends_with_the_old_image_or_the_new() {
    for fault in [Break::Before, Break::After] {
        for number in [1, 2] {
            let version_two = if number == 1 {
                Behaviour::Runs
            } else {
                Behaviour::Crashes
            };
            let bench = Bench::new(version_two);
            *bench.systemd.fault.lock() = Some((number, fault));
            let command = Uuid::new_v4();
            let updater = bench.updater();
            tokio::select! {
                biased;
                () = bench.systemd.dead.cancelled() => {}
                result = update(&updater, command) => panic!("{result:?}"),
            }
            drop(updater);
            let told = bench.updater().reconcile().await;
            let state = told_of(&told, command).expect("it is told");
            let expected = if number == 1 {
                CommandState::Succeeded
            } else {
                CommandState::Failed
            };
            assert_eq!(state, expected, "{fault:?} at {number}: {told:?}");
            bench.check(state, &format!("{fault:?} at {number}"));
        }
    }
}

/// Calls of the engine until the new container is watched: behind its name come the one that finds the container, and the
/// first two looks at it.
async fn calls() -> usize {
    tag_call().await + 3
}

#[tokio::test]
async fn an_engine_that_fails_or_dies_at_any_call_leaves_the_unit_running() {
    let count = calls().await;
    let faults = [
        Fault::Refuse,
        Fault::Drop { after: false },
        Fault::Drop { after: true },
        Fault::Die { after: false },
        Fault::Die { after: true },
    ];
    let all = (1..=count).flat_map(|number| faults.clone().map(|fault| (number, fault)));
    let run = async |number: usize, fault: Fault| {
        let because = format!("call {number} {fault:?}");
        let bench = Bench::new(Behaviour::Runs);
        bench.engine.break_call(number, fault);
        let updater = bench.updater();
        let result = even_if_it_dies(&bench.engine, update(&updater, Uuid::new_v4())).await;
        bench.check(state_of(&result), &format!("{because}: {result:?}"));
    };
    let done = work_off(all.map(|(number, fault)| run(number, fault)))
        .await
        .len();
    println!("{done} broken calls: the unit ran the old image or the new after each");
}

#[tokio::test]
async fn an_agent_that_dies_at_any_call_leaves_the_unit_running() {
    let count = calls().await;
    // Version 2 that crashes is put back: its calls come behind.
    let all = [Behaviour::Runs, Behaviour::Crashes]
        .into_iter()
        .flat_map(|version_two| {
            (1..=count + 6).flat_map(move |number| [false, true].map(|after| (version_two, number, after)))
        });
    let run = async |version_two: Behaviour, number: usize, after: bool| {
        let because = format!("{version_two:?}, call {number}, after: {after}");
        let bench = Bench::new(version_two);
        let command = Uuid::new_v4();
        let updater = bench.updater();
        let ended = until_death(&bench.engine, (number, after), update(&updater, command)).await;
        if let Some(result) = ended {
            return bench.check(state_of(&result), &format!("{because}: {result:?}"));
        }
        drop(updater);
        bench.engine.heal();
        let told = bench.updater().reconcile().await;
        // Before the journal was begun nothing was changed, and there is nothing to tell.
        let state = told_of(&told, command).unwrap_or(CommandState::Refused);
        bench.check(state, &format!("{because}: {told:?}"));
    };
    let all = all.map(|(version_two, number, after)| run(version_two, number, after));
    let done = work_off(all).await.len();
    println!("{done} deaths of the agent: the unit ran the old image or the new after each");
}

#[tokio::test]
async fn a_unit_that_is_not_proven_to_run_the_container_is_left_alone() {
    let lies: [fn(&mut UnitState); 5] = [
        |shown| shown.main_pid += 1,
        |shown| shown.main_pid = 0,
        |shown| shown.active = "failed".to_owned(),
        |shown| shown.id = "cron.service".to_owned(),
        |shown| shown.is_restartable = false,
    ];
    for lie in lies {
        let bench = Bench::new(Behaviour::Runs);
        let mut shown = bench.systemd.state();
        lie(&mut shown);
        *bench.systemd.shown.lock() = Some(shown.clone());
        refused(&bench, &plan(), &format!("{shown:?}")).await;
    }
}

async fn refused(bench: &Bench, plan: &UpdatePlan, because: &str) {
    let never = CancellationToken::new();
    let result = bench
        .updater()
        .update(Uuid::new_v4(), &target(), plan, None, &Deaf, &never)
        .await;
    assert_eq!(state_of(&result), CommandState::Refused, "{because}: {result:?}");
    assert_eq!(bench.restarts(), 0, "{because}");
    bench.check(CommandState::Refused, because);
}

#[tokio::test]
async fn what_a_unit_cannot_be_had_to_do_is_refused_before_anything_is_changed() {
    let other_tag = UpdatePlan {
        image: "r.test/app:2".to_owned(),
        ..plan()
    };
    refused(&Bench::new(Behaviour::Runs), &other_tag, "another tag").await;
    let rootless = Bench::new(Behaviour::Runs);
    rootless.engine.with(|world| world.is_rootless = true);
    refused(&rootless, &plan(), "a user's podman").await;
    for line in [
        "podman run --pull=always r.test/app:1",
        "podman run --odd r.test/app:1",
        "podman play kube x.yaml",
        "",
    ] {
        let bench = Bench::new(Behaviour::Runs);
        let words = line.split_whitespace().map(str::to_owned).collect();
        bench.engine.with(|world| world.command_line = words);
        refused(&bench, &plan(), line).await;
    }
    let shared = Bench::new(Behaviour::Runs);
    shared.engine.with(|world| {
        world.image(3, "r.test/side:1", json!({}), Behaviour::Runs);
        let body =
            json!({"Image": "r.test/side:1", "HostConfig": {"NetworkMode": format!("container:{NAME}")}});
        world.run("side", &body);
    });
    let never = CancellationToken::new();
    let result = shared
        .updater()
        .update(Uuid::new_v4(), &target(), &plan(), None, &Deaf, &never)
        .await;
    assert_eq!(state_of(&result), CommandState::Refused, "{result:?}");
    assert_eq!(shared.restarts(), 0);
}

#[tokio::test]
async fn a_dry_run_says_that_the_unit_would_be_restarted_and_does_nothing() {
    let bench = Bench::new(Behaviour::Runs);
    let dry = UpdatePlan {
        dry_run: true,
        ..plan()
    };
    let never = CancellationToken::new();
    let told = bench
        .updater()
        .update(Uuid::new_v4(), &target(), &dry, None, &Deaf, &never)
        .await;
    let told = told.expect("a dry run");
    assert_eq!(told["unit"], UNIT);
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|message| message.contains(UNIT)),
        "{told:#}"
    );
    assert_eq!(bench.restarts(), 0);
    bench.check(CommandState::Refused, "nothing was done");
}
