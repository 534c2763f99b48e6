//! `muster up`: a controller and an agent on this machine, supervised, and enrolled with each other as any others are.
//!
//! Knows the other programs only from outside: their arguments, exit codes, files and HTTP API. Stops the agent first,
//! so that its last report is still taken. What is printed on standard output is a promise; all else goes to standard
//! error.

mod api;
mod child;
mod controller;
mod enrolment;
mod once;
mod programs;
mod service;
pub(crate) mod tether;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::clock::WallClock;
use muster_base::log::Format;
use muster_base::shutdown::CancellationToken;
use thiserror::Error;
use tokio::time::Instant;

use api::{Api, ApiError};
use child::{Child, ChildError, Start};
use controller::{Addresses, ControllerError};
use enrolment::EnrolmentError;
use once::Seen;
use programs::{Programs, ProgramsError};
use service::Service;

/// Together these bound how long stopping takes: 15 s.
const AGENT_STOP_LIMIT: Duration = Duration::from_secs(5);
const CONTROLLER_STOP_LIMIT: Duration = Duration::from_secs(10);
/// Within this, counted from the start of this program, `--once` must have seen everything.
const ONCE_LIMIT: Duration = Duration::from_secs(45);

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Absolute.
    pub(crate) data_dir: Utf8PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) is_once: bool,
    pub(crate) log_format: Format,
}

impl Options {
    fn log_format_word(&self) -> &'static str {
        match self.log_format {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

/// Why `up` ends with a failure.
#[derive(Debug, Error)]
pub(crate) enum UpError {
    #[error("listen for signals")]
    Signals { source: io::Error },
    #[error("make the data folder {path}; choose another with --data-dir")]
    DataDir { path: Utf8PathBuf, source: io::Error },
    #[error("print to standard output")]
    Print { source: io::Error },
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error("enrol this machine's agent")]
    Enrolment(#[source] EnrolmentError),
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error("ask the controller")]
    Api(#[source] ApiError),
}

impl UpError {
    /// A child that would not run gives its own code; everything else is 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let child = match self {
            Self::Child(child) | Self::Controller(ControllerError::Child(child)) => Some(child),
            _ => None,
        };
        let code = match child {
            Some(ChildError::Failed { status, .. }) => status.code().and_then(|code| u8::try_from(code).ok()),
            _ => None,
        };
        // It ended, so it did not run: never a success, whatever it says.
        ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1))
    }
}

/// Runs until told to stop, or with `--once` until everything was seen.
pub(crate) async fn run(options: &Options, stop: CancellationToken) -> Result<ExitCode, UpError> {
    let once = Once {
        deadline: options.is_once.then(|| Instant::now() + ONCE_LIMIT),
        since_ms: WallClock::system().now_ms(),
    };
    let programs = Programs::beside_this()?;
    make_data_dir(&options.data_dir)?;
    controller::check_free(options)?;
    let asked = Addresses {
        http: options.http,
        agents: options.grpc,
    };
    let start = controller::start(&programs, &options.data_dir, options, asked);
    let mut child = Child::start(&programs, &start, true)?;
    let ready = tokio::select! {
        ready = controller::ready(&mut child) => ready.map_err(UpError::from),
        code = once.interrupted(&stop) => {
            child.stop(CONTROLLER_STOP_LIMIT).await;
            return Ok(code);
        }
    };
    let addresses = match ready {
        Ok(addresses) => addresses,
        Err(error) => {
            child.stop(CONTROLLER_STOP_LIMIT).await;
            return Err(error);
        }
    };
    // Started again, it listens where it does now, also if any free port was asked for.
    let again = controller::start(&programs, &options.data_dir, options, addresses);
    let mut controller = Service::new(programs.clone(), again, child);
    let outcome = beside_controller(options, &programs, addresses, &once, &stop, &mut controller).await;
    controller.stop(CONTROLLER_STOP_LIMIT).await;
    outcome
}

/// The part that needs a running controller, and keeps it running.
async fn beside_controller(
    options: &Options,
    programs: &Programs,
    addresses: Addresses,
    once: &Once,
    stop: &CancellationToken,
    controller: &mut Service,
) -> Result<ExitCode, UpError> {
    let stop_agent = stop.child_token();
    let mut work = pin!(with_agent(options, programs, addresses, once, &stop_agent));
    tokio::select! {
        outcome = &mut work => outcome,
        error = controller.keep() => {
            stop_agent.cancel();
            // The controller's failure is the news; how the agent stopped is not.
            let _ = work.await;
            Err(error.into())
        }
    }
}

/// What `--once` needs to know.
struct Once {
    /// When it gives up; never without `--once`.
    deadline: Option<Instant>,
    /// When this program started, Unix ms: what was collected before belongs to another start.
    since_ms: i64,
}

impl Once {
    /// Waits until there is no use in going on; what to end with.
    async fn interrupted(&self, stop: &CancellationToken) -> ExitCode {
        match self.deadline {
            None => {
                stop.cancelled().await;
                ExitCode::SUCCESS
            }
            Some(deadline) => {
                // Stopped or too late: either way not everything was seen.
                if tokio::time::timeout_at(deadline, stop.cancelled()).await.is_ok() {
                    tracing::warn!("stopped before every collector's outcome was seen");
                } else {
                    tracing::error!(
                        limit_s = ONCE_LIMIT.as_secs(),
                        "not every collector's outcome was seen in time"
                    );
                }
                ExitCode::FAILURE
            }
        }
    }
}

/// Enrols and runs the agent; stops it before it returns.
async fn with_agent(
    options: &Options,
    programs: &Programs,
    addresses: Addresses,
    once: &Once,
    stop: &CancellationToken,
) -> Result<ExitCode, UpError> {
    let agents = controller::reachable(addresses.agents);
    let server = tokio::select! {
        server = enrolment::ensure(programs, &options.data_dir, agents) => server.map_err(UpError::Enrolment)?,
        code = once.interrupted(stop) => return Ok(code),
    };
    let mut agent = Service::run(programs.clone(), agent_start(options, programs, agents))?;
    announce(options, addresses)?;
    let mut seen = None;
    let outcome = tokio::select! {
        outcome = until_done(options, programs, addresses, server, once, &mut seen) => outcome,
        error = agent.keep() => Err(error.into()),
        code = once.interrupted(stop) => Ok(code),
    };
    agent.stop(AGENT_STOP_LIMIT).await;
    if let Some(seen) = seen {
        print(&seen.lines())?;
    }
    outcome
}

fn agent_start(options: &Options, programs: &Programs, agents: SocketAddr) -> Start {
    let data_dir = options.data_dir.join("agent");
    let address = agents.to_string();
    let words = [
        "run",
        "--data-dir",
        data_dir.as_str(),
        "--controller",
        &address,
        "--log-format",
        options.log_format_word(),
    ];
    Start {
        name: "agent",
        program: programs.agent.clone(),
        arguments: words.map(str::to_owned).into(),
    }
}

/// With `--once` until everything was seen; else for ever. `seen` is what was seen so far.
async fn until_done(
    options: &Options,
    programs: &Programs,
    addresses: Addresses,
    server: i64,
    once: &Once,
    seen: &mut Option<Seen>,
) -> Result<ExitCode, UpError> {
    if !options.is_once {
        return std::future::pending().await;
    }
    let words = ["session", "create", "--data-dir", options.data_dir.as_str()];
    let create = Start {
        name: "making of a session",
        program: programs.controller.clone(),
        arguments: words.map(str::to_owned).into(),
    };
    let token = child::answer(programs, &create).await?;
    let api = Api::new(controller::reachable(addresses.http))
        .map_err(UpError::Api)?
        .with_token(&token);
    let seen = seen.insert(Seen::new(server, collectors(programs).await?, once.since_ms));
    seen.watch(&api).await;
    Ok(ExitCode::SUCCESS)
}

/// Names of all collectors that the agent has.
async fn collectors(programs: &Programs) -> Result<Vec<String>, UpError> {
    let list = Start {
        name: "listing of the collectors",
        program: programs.agent.clone(),
        arguments: vec!["--list-collectors".to_owned()],
    };
    let text = child::answer(programs, &list).await?;
    Ok(text
        .lines()
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect())
}

/// Prints where the controller answers, and where its first password is as long as that file exists.
fn announce(options: &Options, addresses: Addresses) -> Result<(), UpError> {
    let mut lines = vec![format!("ready: http://{}", controller::reachable(addresses.http))];
    let password = options.data_dir.join("admin-password");
    if password.exists() {
        lines.push(format!("admin password: {password}"));
    }
    print(&lines)
}

fn print(lines: &[String]) -> Result<(), UpError> {
    let mut out = io::stdout().lock();
    let mut write = || {
        for line in lines {
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    write().map_err(|source| UpError::Print { source })
}

/// Nobody else has any business in it.
fn make_data_dir(path: &Utf8PathBuf) -> Result<(), UpError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| UpError::DataDir {
        path: path.clone(),
        source,
    })
}
