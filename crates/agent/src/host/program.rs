//! External programs: found in fixed folders, with a fixed argv, an empty environment, no input and a deadline.
//!
//! Never a shell. A program gets its own process group, which is killed as a whole when the deadline passes, when it
//! says more than [`OUTPUT_BYTES_MAX`], or when the caller goes away. A process that cannot even be killed (asleep in
//! a broken disk's driver) stays on the outstanding list, and the same call is refused until it is gone. Below a
//! root nothing runs: `muster/run/<name>` is the output and `<name>.rc` the exit status.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::{Child, Command};

use self::output::{Holds, Said};
use super::Files;
use super::outstanding::{Entered, Outstanding};

mod output;

/// Longest output that is taken, each of stdout and stderr.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most programs, stuck ones included, that are under way at once.
const PROGRAMS_MAX: usize = 64;
/// Where programs are looked for, and nowhere else.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin"];

/// A program to run.
#[derive(Debug, Clone)]
pub struct ProgramCall<'a> {
    /// Its file name, such as `smartctl`.
    pub program: &'static str,
    /// Its arguments.
    pub args: Vec<&'a str>,
    /// The name its recorded output has below a root, such as `smartctl/sda`; also tells calls apart.
    pub record: &'a str,
    /// When it is killed.
    pub deadline: Duration,
}

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramOutput {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// Why a program said nothing that can be used.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// It is in none of the folders.
    #[error("{program} is not installed")]
    NotInstalled {
        /// Its name.
        program: &'static str,
    },
    /// It could not be started, or its output not read.
    #[error("run {program}")]
    Run {
        /// Its path.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It was killed at its deadline.
    #[error("{program} did not end within {deadline_s} s and was killed")]
    TimedOut {
        /// Its path.
        program: String,
        /// The deadline, in seconds.
        deadline_s: u64,
    },
    /// It was killed because it said too much.
    #[error("{program} wrote more than {limit_bytes} bytes and was killed")]
    TooMuch {
        /// Its path.
        program: String,
        /// The bound.
        limit_bytes: usize,
    },
    /// An earlier run for the same purpose cannot be killed.
    #[error("an earlier run of {program} has not ended although it was killed")]
    Stuck {
        /// Its name.
        program: &'static str,
    },
    /// What is recorded cannot be read.
    #[error("read the recorded output")]
    Recorded {
        /// Why.
        #[from]
        source: super::HostError,
    },
}

/// Runs programs, or plays back what they said.
#[derive(Debug)]
pub(super) enum Programs {
    Real {
        folders: Vec<Utf8PathBuf>,
        outstanding: Outstanding,
    },
    Recorded {
        files: Files,
    },
}

impl Programs {
    pub(super) fn system() -> Self {
        Self::in_folders(FOLDERS.into_iter().map(Utf8PathBuf::from).collect())
    }

    pub(super) fn in_folders(folders: Vec<Utf8PathBuf>) -> Self {
        Self::Real {
            folders,
            outstanding: Outstanding::new(PROGRAMS_MAX),
        }
    }

    pub(super) fn recorded(files: Files) -> Self {
        Self::Recorded { files }
    }

    pub(super) async fn run(&self, call: &ProgramCall<'_>) -> Result<ProgramOutput, ProgramError> {
        match self {
            Self::Recorded { files } => play_back(files, call),
            Self::Real { folders, outstanding } => {
                let entered = outstanding
                    .enter(call.record, Duration::ZERO)
                    .ok_or(ProgramError::Stuck {
                        program: call.program,
                    })?;
                let path = folders
                    .iter()
                    .map(|folder| folder.join(call.program))
                    .find(|path| path.is_file());
                let path = path.ok_or(ProgramError::NotInstalled {
                    program: call.program,
                })?;
                run_real(&path, &call.args, call.deadline, Some(entered)).await
            }
        }
    }
}

fn play_back(files: &Files, call: &ProgramCall<'_>) -> Result<ProgramOutput, ProgramError> {
    let path = format!("/muster/run/{}", call.record);
    let stdout = files.bytes(&path)?.ok_or(ProgramError::NotInstalled {
        program: call.program,
    })?;
    let status = match files.text(&format!("{path}.rc"))? {
        None => Some(0),
        Some(text) => text.trim().parse().ok(),
    };
    Ok(ProgramOutput {
        status,
        stdout,
        stderr: Vec::new(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the seam through which programs run"
)]
async fn run_real(
    path: &Utf8Path,
    args: &[&str],
    deadline: Duration,
    entered: Option<Entered>,
) -> Result<ProgramOutput, ProgramError> {
    let failed = |source| ProgramError::Run {
        program: path.to_string(),
        source,
    };
    let (stdout, stdout_pipe) = Said::pipe(OUTPUT_BYTES_MAX, Holds::Much).map_err(failed)?;
    let (stderr, stderr_pipe) = Said::pipe(OUTPUT_BYTES_MAX, Holds::Little).map_err(failed)?;
    let child = Command::new(path)
        .args(args)
        .env_clear()
        // Numbers and words as in every fixture; otherwise the environment stays empty.
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(stdout_pipe)
        .stderr(stderr_pipe)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let mut running = Running {
        child: Some(child),
        entered,
    };
    match tokio::time::timeout(deadline, running.finish(stdout, stderr)).await {
        Ok(Ok(Some(output))) => Ok(output),
        Ok(Ok(None)) => Err(ProgramError::TooMuch {
            program: path.to_string(),
            limit_bytes: OUTPUT_BYTES_MAX,
        }),
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(ProgramError::TimedOut {
            program: path.to_string(),
            deadline_s: deadline.as_secs(),
        }),
    }
}

/// Runs a program of this machine's administrator, wherever it is: for what is the agent's own and no part of the server
/// that is watched. As all others it gets no shell, no environment, no input and a deadline.
///
/// # Errors
/// [`ProgramError`].
pub(crate) async fn run_own(
    path: &Utf8Path,
    args: &[&str],
    deadline: Duration,
) -> Result<ProgramOutput, ProgramError> {
    run_real(path, args, deadline, None).await
}

/// A process group that is killed unless it ended by itself.
struct Running {
    child: Option<Child>,
    entered: Option<Entered>,
}

impl Running {
    /// Waits for output and end; `None` if it said too much.
    async fn finish(&mut self, mut stdout: Said, mut stderr: Said) -> io::Result<Option<ProgramOutput>> {
        let Some(child) = self.child.as_mut() else {
            return Ok(None);
        };
        let end = stdout.end();
        tokio::pin!(end);
        let mut pause = output::PAUSE_FIRST;
        loop {
            tokio::select! {
                biased;
                ended = &mut end => break ended?,
                () = tokio::time::sleep(pause) => pause = output::take_both(&mut stdout, &mut stderr)?,
            }
            if stdout.is_too_much() || stderr.is_too_much() {
                return Ok(None);
            }
        }
        tokio::try_join!(stdout.rest(), stderr.rest())?;
        if stdout.is_too_much() || stderr.is_too_much() {
            return Ok(None);
        }
        // Not before: as long as it is not waited for, its group can be killed by its number.
        let status = child.wait().await?;
        self.child = None;
        Ok(Some(ProgramOutput {
            status: status.code(),
            stdout: stdout.into_bytes(),
            stderr: stderr.into_bytes(),
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let entered = self.entered.take();
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
            // The child is not reaped yet, so the number cannot belong to anyone else.
            if let Err(error) = killpg(Pid::from_raw(pid), Signal::SIGKILL) {
                tracing::debug!(pid, error = %ErrorChain(&error), "process group not killed");
            }
        }
        // A process asleep in the kernel dies only when it wakes; until then its name stays on the list.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = child.wait().await;
                drop(entered);
            });
        }
    }
}

#[cfg(test)]
mod tests;
