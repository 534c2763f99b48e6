//! Containers that a systemd unit makes, with a systemd that fails, dies with the agent, or does another thing than it was
//! told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use muster_agent::runtime::EngineKind;
use muster_agent::update::{TransactionError, Transactions as _, UnitError, UnitState, Units, Updater};
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::{Behaviour, FakeEngine, Fault};
use muster_model::{CommandState, UpdatePlan};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::bench::{
    Deaf, Firm, NAME, REFERENCE, digest, image_id, plan, state_of, target, update, updater_of,
};

const UNIT: &str = "web.service";
/// At once; each has an engine and a folder of its own.
const AT_ONCE: usize = 12;

/// Where a restart ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// It never comes back, and nothing was done.
    Before,
    /// It never comes back, and all was done.
    After,
    /// Systemd refuses.
    Refused,
    /// Nobody answers, and all was done.
    Lost,
}

/// A systemd with one unit, whose container the engine has.
struct Systemd {
    engine: Arc<FakeEngine>,
    body: Value,
    restarts: AtomicUsize,
    /// Which restart breaks, counted from 1, and how.
    fault: Mutex<Option<(usize, Break)>>,
    /// Rings when one never comes back.
    dead: CancellationToken,
    /// What is shown beside the truth.
    shown: Mutex<Option<UnitState>>,
}

#[async_trait]
impl Units for Systemd {
    async fn show(&self, unit: &str) -> Result<UnitState, UnitError> {
        if let Some(shown) = self.shown.lock().clone() {
            return Ok(shown);
        }
        let monitor = self.engine.with(|world| world.monitor(NAME));
        Ok(UnitState {
            id: unit.to_owned(),
            load: "loaded".to_owned(),
            active: if monitor == 0 { "failed" } else { "active" }.to_owned(),
            main_pid: monitor,
            is_restartable: true,
        })
    }

    async fn restart(&self, unit: &str) -> Result<(), UnitError> {
        assert_eq!(unit, UNIT);
        let number = self.restarts.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = self
            .fault
            .lock()
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        if fault == Some(Break::Before) {
            self.dead.cancel();
            return std::future::pending().await;
        }
        if fault == Some(Break::Refused) {
            return Err(UnitError::Failed("Access denied".to_owned()));
        }
        let replaced = self.engine.with(|world| world.replace(NAME, &self.body));
        match fault {
            Some(Break::After) => {
                self.dead.cancel();
                std::future::pending().await
            }
            Some(Break::Lost) => Err(UnitError::Unanswered("systemctl did not end".to_owned())),
            _ => replaced.map_err(UnitError::Failed),
        }
    }
}

struct Bench {
    dir: TempDir,
    engine: Arc<FakeEngine>,
    systemd: Arc<Systemd>,
}

impl Bench {
    fn new(version_two: Behaviour) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = Arc::new(FakeEngine::start(&dir.path().join("engine.sock")).expect("a socket"));
        let body = json!({
            "Image": REFERENCE, "Labels": {"PODMAN_SYSTEMD_UNIT": UNIT},
            "HostConfig": {"NetworkMode": "bridge", "AutoRemove": true, "Binds": ["named:/named"]},
        });
        engine.with(|world| {
            let line = [
                "podman",
                "run",
                "--replace",
                "--rm",
                "-d",
                "--name",
                NAME,
                REFERENCE,
            ];
            world.command_line = line.map(str::to_owned).to_vec();
            world.image(1, REFERENCE, json!({}), Behaviour::Runs);
            world.pullable(2, &format!("r.test/app@{}", digest()), json!({}), version_two);
            world.run(NAME, &body);
        });
        let systemd = Arc::new(Systemd {
            engine: Arc::clone(&engine),
            body,
            restarts: AtomicUsize::new(0),
            fault: Mutex::default(),
            dead: CancellationToken::new(),
            shown: Mutex::default(),
        });
        Self { dir, engine, systemd }
    }

    fn updater(&self) -> Updater {
        let units = Arc::clone(&self.systemd) as Arc<dyn Units>;
        let (socket, data) = (self.dir.path().join("engine.sock"), self.dir.path().join("data"));
        let limit = Duration::from_secs(30);
        updater_of(
            EngineKind::Podman,
            units,
            (Duration::ZERO, limit),
            (&socket, &data),
            Firm::default(),
        )
    }

    /// The unit runs the image that belongs to this end, and would run it again after a boot.
    fn check(&self, state: CommandState, because: &str) {
        let expected = match state {
            CommandState::Succeeded => image_id(2),
            CommandState::Failed | CommandState::Refused | CommandState::Cancelled => image_id(1),
            other => panic!("{because}: nobody knows: {other:?}"),
        };
        let violations = self.engine.with(|world| world.violations().to_vec());
        assert!(violations.is_empty(), "{because}: {violations:?}");
        let running = self.engine.with(|world| world.running());
        assert_eq!(running, [(NAME.to_owned(), expected.clone())], "{because}");
        let restarted = self.engine.with(|world| world.replace(NAME, &self.systemd.body));
        restarted.expect("it starts again");
        let running = self.engine.with(|world| world.running());
        assert_eq!(running, [(NAME.to_owned(), expected)], "{because}: after a boot");
    }

    fn restarts(&self) -> usize {
        self.systemd.restarts.load(Ordering::SeqCst)
    }
}

fn failed(result: Result<Value, TransactionError>) -> (&'static str, Value) {
    match result {
        Err(TransactionError::Failed { reason, result, .. }) => (reason, result.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

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
            let state = told
                .iter()
                .find(|one| one.0 == command)
                .map(|one| one.1)
                .expect("it is told");
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

/// Calls of the engine until the new container is watched.
async fn calls() -> usize {
    let bench = Bench::new(Behaviour::Runs);
    bench.engine.break_call(usize::MAX, Fault::Refuse);
    update(&bench.updater(), Uuid::new_v4()).await.expect("an update");
    let calls = bench.engine.calls();
    let tag = calls.iter().rposition(|call| call.ends_with("/tag"));
    // The one that finds the container, and the first two looks at it.
    tag.expect("it was given its name") + 4
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
        let come_back = async {
            while !bench.engine.is_dead() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            bench.engine.come_back().expect("the socket");
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = update(&updater, Uuid::new_v4()) => result,
            () = come_back => unreachable!("it never ends"),
        };
        bench.check(state_of(&result), &format!("{because}: {result:?}"));
    };
    let all = futures::stream::iter(all.map(|(number, fault)| run(number, fault)));
    let done = all.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await.len();
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
        let dead = CancellationToken::new();
        let bell = dead.clone();
        let act = Arc::new(move || bell.cancel());
        bench.engine.break_call(number, Fault::Do { after, act });
        let command = Uuid::new_v4();
        let updater = bench.updater();
        tokio::select! {
            biased;
            () = dead.cancelled() => {}
            result = update(&updater, command) => {
                return bench.check(state_of(&result), &format!("{because}: {result:?}"));
            }
        }
        drop(updater);
        bench.engine.heal();
        let told = bench.updater().reconcile().await;
        let state = told.iter().find(|one| one.0 == command).map(|one| one.1);
        // Before the journal was begun nothing was changed, and there is nothing to tell.
        bench.check(
            state.unwrap_or(CommandState::Refused),
            &format!("{because}: {told:?}"),
        );
    };
    let all = futures::stream::iter(all.map(|(version_two, number, after)| run(version_two, number, after)));
    let done = all.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await.len();
    println!("{done} deaths of the agent: the unit ran the old image or the new after each");
}

#[tokio::test]
async fn a_unit_that_is_not_proven_to_run_the_container_is_left_alone() {
    let true_state = |bench: &Bench| UnitState {
        id: UNIT.to_owned(),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        main_pid: bench.engine.with(|world| world.monitor(NAME)),
        is_restartable: true,
    };
    let lies: [fn(&mut UnitState); 5] = [
        |shown| shown.main_pid += 1,
        |shown| shown.main_pid = 0,
        |shown| shown.active = "failed".to_owned(),
        |shown| shown.id = "cron.service".to_owned(),
        |shown| shown.is_restartable = false,
    ];
    for lie in lies {
        let bench = Bench::new(Behaviour::Runs);
        let mut shown = true_state(&bench);
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
