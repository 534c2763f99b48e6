//! Agents and engines that are killed in the middle of an update.

use std::time::Duration;

use muster_agent::runtime::EngineKind;
use muster_agent::update::{Tell, Transactions as _};
use muster_base::shutdown::CancellationToken;
use muster_e2e::engines::{Auth, Behaviour, Docker, Registry};
use uuid::Uuid;

use super::stage::{CHANGES, auth, client, plan, push_again, target, updater, versions};

/// Cancels the transaction's task at a step, as a death of the agent would.
struct DiesAt(&'static str, CancellationToken);

impl Tell for DiesAt {
    fn step(&self, step: &'static str, _: Option<f64>, _: &str) {
        if step == self.0 {
            self.1.cancel();
        }
    }
}

/// The promise is 30 s from when agent and engine run again until exactly one of the two runs; this is what is waited for
/// on a machine that is slow and busy with other things, where Docker alone may take ten times as long as elsewhere.
const LIMIT: Duration = Duration::from_secs(30 * 4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_agent_or_engine_killed_in_the_middle_ends_with_exactly_one_running() {
    let registry = Registry::start(Some(Auth::BASIC)).expect("a registry");
    let mut docker = Docker::start().expect("dockerd");
    let (first, _) = versions(&docker, &registry, Behaviour::Runs, CHANGES);
    let second = push_again(&docker, &registry, Behaviour::Runs, CHANGES);
    let client = client(&docker.socket(), EngineKind::Docker);
    for (round, (step, engine_too)) in [
        ("create", false),
        ("stop", false),
        ("start", false),
        ("health", false),
        ("stop", true),
    ]
    .into_iter()
    .enumerate()
    {
        docker
            .cli(&["tag", &first.image_id, &first.reference])
            .expect("a tag");
        docker
            .cli(&[
                "run",
                "--detach",
                "--name",
                "web",
                "--volume",
                "named:/named",
                &first.image_id,
            ])
            .expect("it runs");
        let before = docker.inspect("web").expect("it runs");
        let dir = tempfile::tempdir().expect("a folder");
        let dead = CancellationToken::new();
        let (command, cancel) = (Uuid::new_v4(), CancellationToken::new());
        {
            let updater = updater(&client, dir.path());
            let tell = DiesAt(step, dead.clone());
            let (target, plan) = (target(&client, "web"), plan(&before, &second));
            tokio::select! {
                biased;
                () = dead.cancelled() => {}
                result = updater.update(command, &target, &plan, Some(auth(&registry)), &tell, &cancel) => panic!("{result:?}"),
            }
        }
        if engine_too {
            docker.kill().expect("dockerd");
            docker.start_again().expect("dockerd");
        }
        let began = std::time::Instant::now();
        let told = updater(&client, dir.path()).reconcile().await;
        let took = began.elapsed();
        println!("round {round}, {step}: exactly one within {took:?}: {told:?}");
        assert!(took <= LIMIT, "round {round}: {took:?}");
        assert_eq!(told.len(), 1);
        let names = docker.cli(&["ps", "--format", "{{.Names}}"]).expect("a list");
        assert_eq!(names, "web", "round {round}");
        for name in docker
            .cli(&["ps", "--all", "--format", "{{.Names}}"])
            .expect("a list")
            .lines()
        {
            docker.cli(&["rm", "--force", name]).expect("removed");
        }
    }
}
