//! One call is broken, and everything else works.

use muster_agent::update::Transactions as _;
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::{Behaviour, Fault};
use muster_model::CommandState;
use uuid::Uuid;

use super::bench::{
    Bench, Deaf, NAME, calls, even_if_it_dies, state_of, target, told_of, until_death, update, work_off,
};

async fn every(faults: impl Fn(usize) -> Vec<Fault>, one: impl AsyncFn(usize, Fault, String)) -> usize {
    let calls = calls().await;
    let mut all = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        for fault in faults(index + 1) {
            let because = format!("call {} ({call}) {fault:?}", index + 1);
            all.push(one(index + 1, fault, because));
        }
    }
    work_off(all).await.len()
}

/// What no client sees before it has read the container costs nothing at all; later the old one is put back.
#[tokio::test]
async fn a_call_that_fails_or_is_cut_leaves_exactly_one_running() {
    let faults = |_| {
        vec![
            Fault::Refuse,
            Fault::Drop { after: false },
            Fault::Drop { after: true },
        ]
    };
    let count = every(faults, async |number, fault, because| {
        let bench = Bench::new(Behaviour::Runs);
        let volumes = bench.volumes();
        bench.engine.break_call(number, fault);
        let result = update(&bench.updater(), Uuid::new_v4()).await;
        bench.check(state_of(&result), &format!("{because}: {result:?}"));
        assert!(bench.volumes().is_superset(&volumes), "{because}");
    })
    .await;
    println!("{count} updates, each with one broken call: exactly one container ran after each");
}

/// The engine dies before or after the call had its effect, and comes back with what it had.
#[tokio::test]
async fn an_engine_that_dies_at_any_call_ends_with_exactly_one_running() {
    let faults = |_| vec![Fault::Die { after: false }, Fault::Die { after: true }];
    let count = every(faults, async |number, fault, because| {
        let bench = Bench::new(Behaviour::Runs);
        bench.engine.break_call(number, fault);
        let updater = bench.updater();
        // How often health is looked at depends on time, so the last calls may not be reached.
        let result = even_if_it_dies(&bench.engine, update(&updater, Uuid::new_v4())).await;
        if bench.engine.is_dead() {
            bench.engine.come_back().expect("the socket");
        }
        bench.check(state_of(&result), &format!("{because}: {result:?}"));
    })
    .await;
    println!("{count} deaths of the engine: exactly one container ran after each");
}

/// The agent dies at the call, and a new one finds what it left.
#[tokio::test]
async fn an_agent_that_dies_at_any_call_ends_with_exactly_one_running() {
    let calls = calls().await;
    let all = calls.iter().enumerate();
    let all = all.flat_map(|(index, call)| [false, true].map(|after| (index + 1, call, after)));
    let run = async |number: usize, call: &str, after: bool| {
        let because = format!("call {number} ({call}), after: {after}");
        let bench = Bench::new(Behaviour::Runs);
        let command = Uuid::new_v4();
        let updater = bench.updater();
        let ended = until_death(&bench.engine, (number, after), update(&updater, command)).await;
        if let Some(result) = ended {
            // The last looks at health may come after the end.
            bench.check(state_of(&result), &format!("{because}: {result:?}"));
        }
        drop(updater);
        let told = bench.updater().reconcile().await;
        let state = told_of(&told, command);
        // Before the journal was begun nothing was changed, and there is nothing to tell.
        let stands = state.unwrap_or(CommandState::Refused);
        bench.check(stands, &format!("{because}: {told:?}"));
        let once_more = bench.updater().reconcile().await;
        assert_eq!(told_of(&once_more, command), state, "{because}");
        bench.check(stands, &because);
    };
    let all = all.map(|(number, call, after)| run(number, call, after));
    let count = work_off(all).await.len();
    println!(
        "{count} deaths of the agent: exactly one container ran after each, and the journal says what became of it"
    );
}

/// A call that is never answered costs its deadline. Some of them in the ordinary form.
#[tokio::test]
async fn a_call_that_hangs_ends_with_exactly_one_running() {
    let step = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        1
    } else {
        4
    };
    let faults = |number: usize| {
        let all = vec![Fault::Hang { after: false }, Fault::Hang { after: true }];
        if number.is_multiple_of(step) {
            all
        } else {
            Vec::new()
        }
    };
    let count = every(faults, async |number, fault, because| {
        let bench = Bench::new(Behaviour::Runs);
        bench.engine.break_call(number, fault);
        let result = update(&bench.updater(), Uuid::new_v4()).await;
        bench.check(state_of(&result), &format!("{because}: {result:?}"));
    })
    .await;
    println!("{count} calls that hung: exactly one container ran after each");
}

/// The agent dies while it puts things back after a version that crashes, at each call of that.
#[tokio::test]
async fn an_agent_that_dies_while_putting_things_back_ends_with_the_old_one_running() {
    let begin = calls().await.len() - 2;
    let all = (begin..begin + 12).flat_map(|number| [false, true].map(|after| (number, after)));
    let run = async |number: usize, after: bool| {
        let bench = Bench::new(Behaviour::Crashes);
        let updater = bench.updater();
        let work = update(&updater, Uuid::new_v4());
        let _ = until_death(&bench.engine, (number, after), work).await;
        drop(updater);
        bench.updater().reconcile().await;
        bench.check(CommandState::Failed, &format!("call {number}, after: {after}"));
    };
    let count = work_off(all.map(|(number, after)| run(number, after)))
        .await
        .len();
    println!("{count} deaths while putting back: the old container ran after each");
}

/// The agent dies while it takes an update back that was done, at each call of that.
#[tokio::test]
async fn an_agent_that_dies_while_an_update_is_taken_back_ends_with_exactly_one_running() {
    let all = (1..13).flat_map(|number| [false, true].map(|after| (number, after)));
    let run = async |number: usize, after: bool| {
        let bench = Bench::new(Behaviour::Runs);
        let updater = bench.patient_updater();
        let command = Uuid::new_v4();
        update(&updater, command).await.expect("an update");
        let (web, never) = (target(), CancellationToken::new());
        let back = updater.rollback(Uuid::new_v4(), &web, command, None, &Deaf, &never);
        let _ = until_death(&bench.engine, (number, after), back).await;
        drop(updater);
        bench.engine.heal();
        let told = bench.patient_updater().reconcile().await;
        let stands = told_of(&told, command).expect("it is in the journal");
        // It was begun and is brought to its end, or was not, and the new one goes on.
        let old_runs = bench
            .engine
            .inspect(NAME)
            .is_some_and(|found| found["Id"] == bench.old_id.as_str());
        let expected = if old_runs {
            CommandState::Failed
        } else {
            assert_eq!(stands, CommandState::Succeeded, "call {number}, after: {after}");
            CommandState::Succeeded
        };
        bench.check(expected, &format!("call {number}, after: {after}: {told:?}"));
        old_runs
    };
    let ends: Vec<bool> = work_off(all.map(|(number, after)| run(number, after))).await;
    let back = ends.iter().filter(|old_runs| **old_runs).count();
    println!(
        "{} deaths: {back} times the old container ran afterwards, else the new one",
        ends.len()
    );
    assert!(0 < back && back < ends.len(), "{back}");
}
