//! The updater as a process of its own, ended with SIGKILL at a call of its engine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_agent::update::Transactions as _;
use muster_fake_engine::{Behaviour, Fault};
use muster_model::CommandState;
use parking_lot::Mutex;
use uuid::Uuid;

use super::bench::{Bench, Firm, calls, update, updater};

/// Says to this test program that it is the updater of another: its folder and the command's id.
const FOLDER: &str = "MUSTER_TEST_UPDATER_FOLDER";
const COMMAND: &str = "MUSTER_TEST_UPDATER_COMMAND";

#[expect(
    clippy::disallowed_methods,
    reason = "the test is started again as another process"
)]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Does nothing unless it was started by the test below.
#[tokio::test]
async fn the_updater_of_another_test() {
    let (Some(folder), Some(command)) = (told(FOLDER), told(COMMAND)) else {
        return;
    };
    let folder = Path::new(&folder);
    let updater = updater(&folder.join("engine.sock"), &folder.join("data"), Firm::default());
    let _ = update(&updater, command.parse().expect("an id")).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test is started again as another process"
)]
fn start(folder: &Path, command: Uuid) -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["killed::the_updater_of_another_test", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(COMMAND, command.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
}

/// The promise: from when agent and engine run again until exactly one container does.
const LIMIT: Duration = Duration::from_secs(30);

/// Each call in the long form, every third one in the ordinary. The 30 s of the promise are asserted: they are some hundred
/// times what it takes, which is room for a machine that is slow and busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_updater_killed_at_a_call_leaves_a_journal_by_which_exactly_one_runs() {
    let step = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        1
    } else {
        3
    };
    let count = calls().await.len();
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    for number in (1..=count).step_by(step) {
        for after in [false, true] {
            let bench = Bench::new(Behaviour::Runs);
            let child: Arc<Mutex<Option<Child>>> = Arc::default();
            let victim = Arc::clone(&child);
            let act = move || {
                if let Some(child) = victim.lock().as_mut() {
                    child.kill().expect("it runs");
                }
            };
            bench.engine.break_call(
                number,
                Fault::Do {
                    after,
                    act: Arc::new(act),
                },
            );
            let command = Uuid::new_v4();
            // Held until the child is there for the engine to kill.
            {
                let mut held = child.lock();
                *held = Some(start(bench.dir.path(), command));
            }
            let ended = async {
                loop {
                    if child
                        .lock()
                        .as_mut()
                        .is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_some()))
                    {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), ended)
                .await
                .expect("it ends");
            kills += 1;
            let began = Instant::now();
            let told = bench.updater().reconcile().await;
            let took = began.elapsed();
            slowest = slowest.max(took);
            assert!(took <= LIMIT, "call {number}, after: {after}: {took:?}");
            let state = told.first().map_or(CommandState::Refused, |one| one.1);
            bench.check(
                state,
                &format!("killed at call {number}, after: {after}: {told:?}"),
            );
        }
    }
    println!(
        "{kills} times SIGKILL at {count} calls: exactly one container ran after each, the slowest within {slowest:?}"
    );
}
