//! The process with rights, as a real child process: what it may be asked, and what becomes of everything else when it
//! dies, hangs or talks nonsense.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_agent::collect::runner::Runner;
use muster_agent::collect::{ALL, Context, Descriptor, Place};
use muster_agent::host::Host;
use muster_agent::identity::IdentityDir;
use muster_agent::privileged::{Launch, Lost, Privileged, PrivilegedError, Setup};
use muster_base::shutdown::CancellationToken;
use muster_model::RunOutcome;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, User, chown, geteuid, mkfifo};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use crate::pki::Pki;

const AGENT: &str = env!("CARGO_BIN_EXE_muster-agent");
/// Far above what anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A server with an energy counter, firmware and a disk.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for (file, text) in [
            ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
            (COUNTER, "123456789\n"),
            ("sys/class/dmi/id/product_name", "Board \"9\"\n"),
            ("sys/class/dmi/id/product_serial", "S\u{1f4be}\n"),
            ("muster/run/smartctl/scan", SCAN),
            ("muster/run/smartctl/sda", DRIVE),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    /// Reading the counter hangs from now on.
    fn hang(&self) {
        std::fs::remove_file(self.path().join(COUNTER)).unwrap();
        mkfifo(self.path().join(COUNTER).as_std_path(), Mode::S_IRWXU).unwrap();
    }

    /// Reading it works from now on.
    fn mend(&self) {
        std::fs::remove_file(self.path().join(COUNTER)).unwrap();
        std::fs::write(self.path().join(COUNTER), "1000000\n").unwrap();
    }

    fn launch(&self) -> Launch {
        Launch::new(Setup {
            root: Some(self.path().to_owned()),
            ..Setup::default()
        })
        .with_program(AGENT.into())
    }
}

const COUNTER: &str = "sys/class/powercap/intel-rapl:0/energy_uj";
const SCAN: &str = r#"{"smartctl":{"version":[7,4]},"devices":[{"name":"/dev/sda","info_name":"/dev/sda","type":"sat","protocol":"ATA"}]}"#;
const DRIVE: &str = r#"{"smartctl":{"version":[7,4],"exit_status":0},"device":{"name":"/dev/sda","type":"sat","protocol":"ATA"},
    "model_name":"Disk 1","serial_number":"S1","smart_status":{"passed":true},"temperature":{"current":31},"power_on_time":{"hours":7}}"#;

type Task = AbortOnDropHandle<Result<(), Lost>>;

fn start(launch: Launch) -> (Privileged, Task, CancellationToken) {
    let shutdown = CancellationToken::new();
    let (privileged, task) = Privileged::start(launch, shutdown.clone());
    (privileged, task, shutdown)
}

fn named(name: &str) -> &'static Descriptor {
    Descriptor::find(name).unwrap()
}

/// Polls until there is something.
async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < LONG, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Whether a process is there and not only waits to be buried.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}

fn status_of(pid: u32, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap().split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn every_collector_with_rights_finds_the_same_in_the_child_as_here() {
    let root = Root::new();
    let (privileged, _task, _shutdown) = start(root.launch());
    let mut count = 0;
    for descriptor in ALL.iter().filter(|found| found.place == Place::Privileged) {
        let there = tokio::time::timeout(LONG, privileged.collect(descriptor));
        let there = there.await.unwrap().unwrap();
        let context = Context::new(Arc::default());
        let mut runner = Runner::new(descriptor, Host::under(root.path()).unwrap(), context);
        let here = runner.run_once(descriptor.interval).await;
        assert_eq!((there.outcome, &there.message), (here.outcome, &here.message));
        let without_time = |facts: Option<muster_model::Facts>| {
            facts.map(|mut facts| {
                for resource in &mut facts.resources {
                    resource.attributes.remove("last_checked");
                }
                facts
            })
        };
        assert_eq!(
            without_time(there.facts),
            without_time(here.facts),
            "{}",
            descriptor.name
        );
        count += 1;
    }
    assert!(3 <= count, "{count}");
}

#[tokio::test]
async fn what_needs_no_rights_is_refused() {
    let root = Root::new();
    let (privileged, _task, _shutdown) = start(root.launch());
    let error = privileged.collect(named("load")).await.unwrap_err();
    assert!(matches!(error, PrivilegedError::Refused { .. }), "{error}");
    // A name that is not in the list, as a part taken over would ask for it.
    const SHELL: Descriptor = Descriptor {
        name: "sh -c id",
        ..muster_agent::collect::smart::DESCRIPTOR
    };
    let error = privileged.collect(&SHELL).await.unwrap_err();
    assert!(error.to_string().contains("no such collector"), "{error}");
    // And it is still there for what it is for.
    let collected = privileged.collect(named("dmi")).await.unwrap();
    assert_eq!(collected.outcome, RunOutcome::Facts);
    assert_eq!(privileged.restarts(), 0);
}

#[tokio::test]
async fn a_killed_child_fails_what_was_under_way_and_is_replaced() {
    let root = Root::new();
    let (privileged, _task, _shutdown) = start(root.launch());
    assert!(privileged.collect(named("dmi")).await.is_ok());
    root.hang();
    let hung = tokio::spawn({
        let privileged = privileged.clone();
        async move { privileged.collect(named("rapl")).await }
    });
    // Once this is answered, the question before it has been passed on.
    assert!(privileged.collect(named("dmi")).await.is_ok());
    let first = privileged.pid().unwrap();
    signal(first, Signal::SIGKILL);
    let error = tokio::time::timeout(LONG, hung)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("signal: 9"), "{error}");
    root.mend();
    // Asked while there is none: it waits for the next one.
    let collected = tokio::time::timeout(LONG, privileged.collect(named("rapl")));
    assert_eq!(collected.await.unwrap().unwrap().outcome, RunOutcome::Facts);
    assert_ne!(privileged.pid(), Some(first));
    assert_eq!(privileged.restarts(), 1);
}

#[tokio::test]
async fn a_hung_collector_times_out_and_delays_no_other() {
    let root = Root::new();
    root.hang();
    let (privileged, _task, _shutdown) = start(root.launch());
    let hung = tokio::spawn({
        let privileged = privileged.clone();
        async move { privileged.collect(named("rapl")).await }
    });
    for name in ["dmi", "smart", "dmi"] {
        let collected = privileged.collect(named(name)).await.unwrap();
        assert_eq!(collected.outcome, RunOutcome::Facts, "{name}");
    }
    assert!(!hung.is_finished());
    let collected = tokio::time::timeout(LONG, hung).await.unwrap().unwrap().unwrap();
    assert_eq!(collected.outcome, RunOutcome::TimedOut);
    assert_eq!(collected.message, "gave up after 10 s");
    assert_eq!(privileged.restarts(), 0);
}

#[tokio::test]
async fn a_child_that_hangs_as_a_whole_is_killed_and_replaced() {
    const QUICK: Descriptor = Descriptor {
        timeout: Duration::from_millis(200),
        ..muster_agent::collect::dmi::DESCRIPTOR
    };
    let root = Root::new();
    let (privileged, _task, _shutdown) = start(root.launch().with_grace(Duration::from_secs(1)));
    assert!(privileged.collect(named("dmi")).await.is_ok());
    let first = privileged.pid().unwrap();
    signal(first, Signal::SIGSTOP);
    let error = tokio::time::timeout(LONG, privileged.collect(&QUICK));
    let error = error.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert!(
        tokio::time::timeout(LONG, privileged.collect(named("dmi")))
            .await
            .unwrap()
            .is_ok()
    );
    until("the hung child is gone", || (!is_alive(first)).then_some(())).await;
}

#[tokio::test]
async fn a_child_that_talks_nonsense_fails_the_collection_with_the_reason_and_harms_nothing() {
    let framed = |message: &[u8]| format!("{}; read -r line <&0; exec sleep 600", printed(message));
    for (script, reason) in [
        ("exit 3".to_owned(), "exit status: 3"),
        (
            "printf '\\377\\377\\377\\377' >&0; exec sleep 600".to_owned(),
            "over the bound",
        ),
        (
            "printf '\\010\\000\\000\\000abc' >&0".to_owned(),
            "broke off after 3 of 8 bytes",
        ),
        (framed(b"{}"), "parse a message"),
        (framed(b""), "parse a message"),
        // Found for question 0: an item of no kind; a sample of a metric that was not told.
        (framed(&[0, 0, 9]), "parse a message"),
        (
            framed(&[0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            "a sample of no metric",
        ),
        // Refused, with a byte too many; and what nobody asked.
        (framed(&[1, 0, 1, 0, 0]), "more than the answer"),
        (framed(&[1, 77, 1, 0]), "answered what nobody asked"),
        (framed(&[0, 77]), "answered what nobody asked"),
        (framed(b"\x01\x00\x02\x02no"), "a collector that there is not"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = scripted(&folder, &script);
        let (privileged, task, shutdown) = start(Root::new().launch().with_program(program));
        // The question may wait for another child where the first said nonsense unasked, which does so too.
        let result = tokio::time::timeout(LONG, privileged.collect(named("dmi")))
            .await
            .unwrap();
        let error = result.unwrap_err().to_string();
        assert!(error.contains(reason), "{script}: {error}");
        shutdown.cancel();
        assert_eq!(tokio::time::timeout(LONG, task).await.unwrap().unwrap(), Ok(()));
    }
}

/// Has printf(1) write a message: four bytes of length, little-endian, and the message.
fn printed(message: &[u8]) -> String {
    let length = u32::try_from(message.len()).unwrap().to_le_bytes();
    let bytes = length.iter().chain(message);
    let bytes: String = bytes.map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{bytes}' >&0")
}

/// A child that is a script of the shell.
fn scripted(folder: &TempDir, script: &str) -> Utf8PathBuf {
    let program = Utf8Path::from_path(folder.path()).unwrap().join("child");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}

#[tokio::test]
async fn parts_of_an_answer_are_joined_and_count_only_if_it_ends_well() {
    // Found for question 0: a problem of the collector "smart". The answer to it, and how that ended.
    let found = |message: &[u8; 3]| printed(&[b"\x00\x00\x04\x05smart\x03", &message[..], b"\x00"].concat());
    let ended = |outcome: u8| printed(&[1, 0, 0, outcome, 0, 0]);
    for (outcome, expected) in [
        (0, Ok((RunOutcome::Facts, 2))),
        (2, Ok((RunOutcome::Failed, 0))),
        (1, Err("facts and outcome do not fit")),
    ] {
        let setup = Setup::default();
        // It waits for the question, which comes after the settings, each behind four bytes of length.
        let settings = format!(r#"{{"setup":{}}}"#, serde_json::to_string(&setup).unwrap());
        let question = r#"{"collect":{"id":0,"collector":"dmi"}}"#;
        let bytes = 4 + settings.len() + 4 + question.len();
        let folder = tempfile::tempdir().unwrap();
        let script = [
            format!("head -c {bytes} >/dev/null"),
            found(b"one"),
            found(b"two"),
            ended(outcome),
            "read -r line <&0; exec sleep 600".to_owned(),
        ];
        let launch = Launch::new(setup).with_program(scripted(&folder, &script.join("\n")));
        let (privileged, _task, shutdown) = start(launch);
        let collected = tokio::time::timeout(LONG, privileged.collect(named("dmi")))
            .await
            .unwrap();
        let seen = collected
            .map(|collected| {
                (
                    collected.outcome,
                    collected.facts.map_or(0, |facts| facts.problems.len()),
                )
            })
            .map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(seen, Ok(expected)),
            Err(reason) => assert!(seen.clone().unwrap_err().contains(reason), "{seen:?}"),
        }
        shutdown.cancel();
    }
}

#[tokio::test]
async fn nonsense_to_the_child_ends_it() {
    for (message, complaint) in [
        (&b"\xff\xff\xff\xff"[..], "over the bound"),
        (b"\x02\0\0\0{}", "parse a message"),
        (
            b"\x2b\0\0\0{\"collect\":{\"id\":0,\"collector\":\"smart\"}}   ",
            "before the settings",
        ),
        (b"\x09\0\0\0{\"set", "broke off"),
    ] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let child = child_with(OwnedFd::from(theirs).into());
        std::io::Write::write_all(&mut &ours, message).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
    // Without a socket, as a person would start it.
    let output = child_with(Stdio::null()).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("started by the agent itself")
    );
}

#[expect(clippy::disallowed_methods, reason = "the test starts the program under test")]
fn child_with(stdin: Stdio) -> Child {
    Command::new(AGENT)
        .args(["privileged", "--parent", &std::process::id().to_string()])
        .stdin(stdin)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn the_child_has_no_network_no_environment_and_no_files_of_its_parent() {
    let leaked = tempfile::NamedTempFile::new().unwrap();
    // A file that its opener did not mark to be closed.
    let _unmarked = nix::unistd::dup(leaked.as_file()).unwrap();
    let root = Root::new();
    let (privileged, _task, _shutdown) = start(root.launch());
    assert!(privileged.collect(named("dmi")).await.is_ok());
    let pid = privileged.pid().unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    // Some versions of glibc end each of their tunables in place, where a colon was.
    let split = |text: &str| text.replace(':', "\0");
    let expected = muster_base::heap::SETTINGS.map(|(name, value)| format!("{name}={value}\0"));
    assert_eq!(split(&environment), split(&expected.concat()));
    assert_eq!(status_of(pid, "NoNewPrivs"), "1");
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap();
        assert_ne!(target, leaked.path());
    }
    let network = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).unwrap();
    if geteuid().is_root() {
        assert_ne!(network(&pid.to_string()), network("self"));
        let devices = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        let devices: Vec<&str> = devices.lines().skip(2).collect();
        assert!(
            devices.len() == 1 && devices[0].trim_start().starts_with("lo:"),
            "{devices:?}"
        );
    } else {
        println!("not root: the network stays, as documented");
    }
}

/// An enrolled agent as a process of its own, whose controller does not answer.
struct Agent {
    child: Child,
    dir: TempDir,
}

impl Agent {
    #[expect(clippy::disallowed_methods, reason = "the test starts the program under test")]
    fn start(settings: &str, owner: Option<&User>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap();
        let identities = IdentityDir::below(path);
        let mut identity = Pki::new().agent_with(&identities.key_or_new().unwrap());
        "127.0.0.1:9".clone_into(&mut identity.controller);
        identities.store(&identity).unwrap();
        let config = path.join("agent.toml");
        std::fs::write(&config, settings).unwrap();
        if let Some(user) = owner {
            for path in [path.to_owned(), path.join("identity")]
                .iter()
                .chain(&files_below(path))
            {
                chown(path.as_std_path(), Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        let child = Command::new(AGENT)
            .args(["run", "--data-dir", path.as_str(), "--config", config.as_str()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// The process with rights, once it works.
    async fn privileged(&self) -> u32 {
        let id = self.child.id();
        let pid = until("the agent has a child", || {
            let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            list.split_whitespace().next()?.parse::<u32>().ok()
        });
        let pid = pid.await;
        // It has confined itself by the time that it has this.
        until("the child has confined itself", || {
            (is_alive(pid) && status_of(pid, "NoNewPrivs") == "1").then_some(())
        })
        .await;
        pid
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files_below(path: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = [path.to_owned(), path.join("identity")];
    let entries = entries.iter().flat_map(|folder| folder.read_dir_utf8().unwrap());
    entries.map(|entry| entry.unwrap().into_path()).collect()
}

#[tokio::test]
async fn the_child_of_a_killed_agent_is_gone_even_if_it_was_stopped() {
    let mut agent = Agent::start("", None);
    let pid = agent.privileged().await;
    // It cannot see its socket end.
    signal(pid, Signal::SIGSTOP);
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    until("the child is gone", || (!is_alive(pid)).then_some(())).await;
}

#[tokio::test]
async fn an_agent_told_to_end_ends_in_order_with_its_child() {
    let mut agent = Agent::start("", None);
    let pid = agent.privileged().await;
    // As a terminal or a service manager does, both at once.
    signal(pid, Signal::SIGTERM);
    signal(agent.child.id(), Signal::SIGTERM);
    let status = until("the agent ends", || agent.child.try_wait().unwrap()).await;
    assert!(status.success(), "{status}: {}", agent.log());
    until("the child is gone", || (!is_alive(pid)).then_some(())).await;
    assert!(!agent.log().contains("part of the agent lost"), "{}", agent.log());
}

#[tokio::test]
async fn an_agent_with_nothing_to_do_with_rights_has_no_child() {
    let names: Vec<&str> = ALL
        .iter()
        .filter(|found| found.place == Place::Privileged)
        .map(|found| found.name)
        .collect();
    let agent = Agent::start(&format!("[collect]\ndisabled = {names:?}\n"), None);
    until("the agent has begun", || {
        agent.log().contains("agent starts").then_some(())
    })
    .await;
    assert!(!agent.log().contains("privileged process"), "{}", agent.log());
}

#[tokio::test]
async fn an_agent_that_gave_its_rights_up_keeps_a_child_that_has_them_and_ends_when_it_is_lost() {
    if !geteuid().is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let mut agent = Agent::start("user = \"nobody\"\n", Some(&nobody));
    let pid = agent.privileged().await;
    until("the agent has begun", || {
        agent.log().contains("agent starts").then_some(())
    })
    .await;
    let id = agent.child.id();
    assert_eq!(status_of(id, "Uid"), nobody.uid.to_string());
    assert_eq!(status_of(id, "Gid"), nobody.gid.to_string());
    for field in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(status_of(id, field), "0000000000000000", "{field}");
    }
    assert_eq!(status_of(id, "NoNewPrivs"), "1");
    assert_eq!(status_of(pid, "Uid"), "0");
    signal(pid, Signal::SIGKILL);
    let status = until("the agent ends", || agent.child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(1));
    assert!(
        agent.log().contains("has no rights any more to start it again"),
        "{}",
        agent.log()
    );
}
