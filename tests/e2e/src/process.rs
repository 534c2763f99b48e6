//! Starting the built programs and ending just those.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The path of a program of this workspace, built in the profile the test runs in, or in the folder that
/// `MUSTER_TEST_PROGRAMS` names: budgets are for release builds.
///
/// # Panics
/// If it was not built: the test would otherwise silently test an old one or nothing.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let own = test
        .ancestors()
        .nth(2)
        .expect("tests stand in target/PROFILE/deps");
    let given = std::env::var_os("MUSTER_TEST_PROGRAMS").map(PathBuf::from);
    let path = given.as_deref().unwrap_or(own).join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A running program; ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with both outputs appended to `log`.
    ///
    /// # Errors
    /// If it cannot be started or the log cannot be opened.
    pub fn start<S: AsRef<OsStr>>(program: &Path, args: &[S], log: &Path) -> Result<Self> {
        Self::start_with(program, args, &[], log)
    }

    /// As [`Process::start`], with this in the environment as well.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_with<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        environment: &[(&str, &Path)],
        log: &Path,
    ) -> Result<Self> {
        let out = std::fs::File::options().create(true).append(true).open(log)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "starting the programs is what this crate is for"
        )]
        let child = Command::new(program)
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, and what earlier processes printed to the same log.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it is still running.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it in its tracks (SIGSTOP), as a hung machine would, until [`Process::go_on`].
    ///
    /// # Errors
    /// If there is no such process.
    pub fn freeze(&self) -> Result<()> {
        self.signal(nix::sys::signal::Signal::SIGSTOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn go_on(&self) -> Result<()> {
        self.signal(nix::sys::signal::Signal::SIGCONT)
    }

    fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(nix::sys::signal::kill(pid, signal)?)
    }

    /// Asks it to end with SIGTERM and waits.
    ///
    /// # Errors
    /// If it does not end within `limit`; it is then killed.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(nix::sys::signal::Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// If it does not end within `limit`; it is then killed.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill()?;
        bail!("did not end within {limit:?}; it printed:\n{}", self.printed());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and nothing is left to do then.
        let _ = self.kill();
    }
}

/// Runs a program of the workspace to its end and returns what it printed.
///
/// # Errors
/// If it cannot be started.
pub fn run_to_end<S: AsRef<OsStr>>(name: &str, args: &[S]) -> Result<Output> {
    #[expect(
        clippy::disallowed_methods,
        reason = "starting the programs is what this crate is for"
    )]
    let output = Command::new(binary(name))
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    Ok(output)
}

/// As [`run_to_end`], with this in the environment and this on standard input.
///
/// # Errors
/// If it cannot be started.
pub fn run_with<S: AsRef<OsStr>>(
    name: &str,
    args: &[S],
    environment: &[(&str, &Path)],
    input: &str,
) -> Result<Output> {
    #[expect(
        clippy::disallowed_methods,
        reason = "starting the programs is what this crate is for"
    )]
    let mut child = Command::new(binary(name))
        .args(args)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    // Whoever does not read it may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    Ok(child.wait_with_output()?)
}

/// Asks `check` again and again until it gives a value.
///
/// # Errors
/// The last thing `check` complained of, after `limit`.
pub async fn eventually<T>(limit: Duration, mut check: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) if limit < start.elapsed() => {
                return Err(error.context(format!("not within {limit:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
