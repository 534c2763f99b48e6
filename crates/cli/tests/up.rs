//! How `muster up` treats its children, with scripts in their place: order, restarts, exit codes, no orphans.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A program cannot be started while it is open for writing, which a concurrent fork may prolong.
static FORKING: Mutex<()> = Mutex::new(());

const CONTROLLER: &str = r#"#!/bin/sh
[ "$1" = token ] && echo token && exit 0
echo "controller started $$" >> "$LOG"
[ -e "$DATA/misconfigured" ] && exit 2
trap 'echo "controller stopped" >> "$LOG"; exit 0' TERM
touch "$DATA/admin-password"
echo "ready: http://$HTTP agents: 127.0.0.1:1"
while :; do sleep 0.02; done
"#;

const AGENT: &str = r#"#!/bin/sh
if [ "$1" = enroll ]; then
  mkdir -p "$DATA/agent/identity"
  echo '{"server_id":1}' > "$DATA/agent/identity/identity.json"
  exit 0
fi
echo "agent started $$" >> "$LOG"
trap 'echo "agent stopped" >> "$LOG"; exit 0' TERM
echo "not for standard output"
while :; do sleep 0.02; done
"#;

/// A folder with `muster` and scripts beside it.
struct Scene {
    folder: TempDir,
    http: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let _guard = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        fs::hard_link(env!("CARGO_BIN_EXE_muster"), folder.path().join("muster")).unwrap();
        for (name, text) in [("muster-controller", CONTROLLER), ("muster-agent", AGENT)] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(folder.path().join("data")).unwrap();
        Self {
            folder,
            http: always_ready(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The newest process id of a program.
    fn pid(&self, name: &str) -> Pid {
        let start = format!("{name} started ");
        let log = self.log();
        let line = log.lines().rev().find_map(|line| line.strip_prefix(&start));
        Pid::from_raw(line.unwrap().parse().unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]
    fn up(&self) -> Up {
        let _guard = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = Command::new(self.folder.path().join("muster"))
            .args([
                "up",
                "--http",
                "127.0.0.1:0",
                "--grpc",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(self.data())
            .env("LOG", self.folder.path().join("log"))
            .env("DATA", self.data())
            .env("HTTP", self.http.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Up { child, stdout }
    }
}

/// A running `muster up`, killed if the test fails.
struct Up {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Up {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Its exit code, and what else it printed.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request with 200, as a controller that is ready.
fn always_ready() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: Pid) -> bool {
    // A process that ended but was not waited for is no longer alive, though a signal could still be sent to it.
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn standard_output_has_the_promised_lines_and_nothing_else() {
    let scene = Scene::new();
    let mut up = scene.up();
    assert_eq!(up.line(), format!("ready: http://{}", scene.http));
    assert_eq!(
        up.line(),
        format!(
            "admin password: {}",
            scene.data().join("admin-password").display()
        )
    );
    eventually("agent runs", || scene.log().contains("agent started"));
    up.signal(Signal::SIGTERM);
    assert_eq!(up.end(), (Some(0), String::new()));
}

#[test]
fn the_agent_is_stopped_before_the_controller() {
    let scene = Scene::new();
    let mut up = scene.up();
    up.line();
    eventually("agent runs", || scene.log().contains("agent started"));
    up.signal(Signal::SIGINT);
    assert_eq!(up.end().0, Some(0));
    let log = scene.log();
    let stopped: Vec<&str> = log.lines().filter(|line| line.ends_with("stopped")).collect();
    assert_eq!(stopped, ["agent stopped", "controller stopped"]);
}

#[test]
fn a_child_that_dies_is_started_again() {
    let scene = Scene::new();
    let mut up = scene.up();
    up.line();
    eventually("agent runs", || scene.log().contains("agent started"));
    for name in ["agent", "controller"] {
        let before = scene.pid(name);
        kill(before, Signal::SIGKILL).unwrap();
        eventually("it runs again", || scene.pid(name) != before);
    }
    up.signal(Signal::SIGTERM);
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_controller_that_is_set_up_wrong_ends_everything_with_its_code() {
    let scene = Scene::new();
    fs::write(scene.data().join("misconfigured"), "").unwrap();
    assert_eq!(scene.up().end(), (Some(2), String::new()));
    assert!(!scene.log().contains("agent started"));
}

#[test]
fn a_controller_that_is_set_up_wrong_while_running_takes_the_agent_with_it() {
    let scene = Scene::new();
    let mut up = scene.up();
    up.line();
    eventually("agent runs", || scene.log().contains("agent started"));
    fs::write(scene.data().join("misconfigured"), "").unwrap();
    kill(scene.pid("controller"), Signal::SIGKILL).unwrap();
    assert_eq!(up.end().0, Some(2));
    assert!(scene.log().contains("agent stopped"));
    assert!(!is_alive(scene.pid("agent")));
}

#[test]
fn children_do_not_outlive_a_killed_up() {
    let scene = Scene::new();
    let mut up = scene.up();
    up.line();
    eventually("agent runs", || scene.log().contains("agent started"));
    up.signal(Signal::SIGKILL);
    eventually("both end", || {
        !is_alive(scene.pid("agent")) && !is_alive(scene.pid("controller"))
    });
}
