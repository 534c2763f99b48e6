//! One process started by `up`: through the tether, in a process group of its own, ended by it.
//!
//! The group of its own keeps a terminal's Ctrl-C from reaching the children, so that the order of stopping is ours.
//! Nothing a child prints reaches our standard output, which has only the promised lines.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use camino::Utf8PathBuf;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::{ChildStdout, Command};

use super::programs::Programs;

/// How long a program that only answers may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What is started.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// For people.
    pub(super) name: &'static str,
    pub(super) program: Utf8PathBuf,
    pub(super) arguments: Vec<String>,
}

/// A running child.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    /// The process, and the group it leads.
    pid: Pid,
}

/// Why a child did not do what it should.
#[derive(Debug, Error)]
pub(crate) enum ChildError {
    #[error("start the {name}")]
    Start { name: &'static str, source: io::Error },
    #[error("wait for the {name}")]
    Wait { name: &'static str, source: io::Error },
    #[error("the {name} failed ({status}); why is said above")]
    Failed { name: &'static str, status: ExitStatus },
    #[error("the {name} did not answer within {} s", ANSWER_LIMIT.as_secs())]
    Silent { name: &'static str },
    #[error("the {name} printed something else than UTF-8")]
    NotUtf8 { name: &'static str },
}

impl Child {
    /// Starts it; its standard output is a pipe if it is to be listened to, else our standard error.
    pub(super) fn start(programs: &Programs, start: &Start, is_heard: bool) -> Result<Self, ChildError> {
        let mut command = tethered(programs, start);
        command.stdout(if is_heard {
            Stdio::piped()
        } else {
            Stdio::from(io::stderr())
        });
        let failed = |source| ChildError::Start {
            name: start.name,
            source,
        };
        let process = command.spawn().map_err(failed)?;
        let id = process.id().expect("a process that was not waited for has an id");
        let pid = Pid::from_raw(i32::try_from(id).expect("process ids are positive i32"));
        Ok(Self { process, pid })
    }

    /// What it prints, once.
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// Waits for its end. Can be called again.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Asks it to end, and ends it and whatever it started if it has not after `limit`; whether it went by itself.
    pub(super) async fn stop(mut self, limit: Duration) -> bool {
        // A process that has ended already is what is wanted.
        let _ = kill(self.pid, Signal::SIGTERM);
        let is_gone = tokio::time::timeout(limit, self.process.wait()).await.is_ok();
        if !is_gone {
            let _ = killpg(self.pid, Signal::SIGKILL);
            let _ = self.process.wait().await;
        }
        is_gone
    }
}

/// Runs a program to its end and gives what it printed.
pub(super) async fn answer(programs: &Programs, start: &Start) -> Result<String, ChildError> {
    let name = start.name;
    let running = tethered(programs, start).stdout(Stdio::piped()).output();
    let output = tokio::time::timeout(ANSWER_LIMIT, running)
        .await
        .map_err(|_| ChildError::Silent { name })?
        .map_err(|source| ChildError::Start { name, source })?;
    if !output.status.success() {
        return Err(ChildError::Failed {
            name,
            status: output.status,
        });
    }
    String::from_utf8(output.stdout).map_err(|_| ChildError::NotUtf8 { name })
}

#[expect(clippy::disallowed_methods, reason = "`up` starts Muster's own programs")]
fn tethered(programs: &Programs, start: &Start) -> Command {
    let mut command = Command::new(&programs.muster);
    command
        .args(["tether", "--parent", &std::process::id().to_string(), "--"])
        .arg(&start.program)
        .args(&start.arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .process_group(0)
        .kill_on_drop(true);
    if start.program == programs.agent {
        command.envs(muster_base::heap::SETTINGS);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_gets_the_settings_of_its_heap_and_the_controller_none() {
        let programs = Programs {
            muster: "/p/muster".into(),
            controller: "/p/muster-controller".into(),
            agent: "/p/muster-agent".into(),
        };
        let given = |program: &Utf8PathBuf| {
            let start = Start {
                name: "it",
                program: program.clone(),
                arguments: Vec::new(),
            };
            tethered(&programs, &start).as_std().get_envs().count()
        };
        assert_eq!(given(&programs.agent), muster_base::heap::SETTINGS.len());
        assert_eq!(given(&programs.controller), 0);
    }
}
