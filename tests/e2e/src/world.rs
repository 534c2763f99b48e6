//! One controller with its agents.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::{Api, Process, binary, eventually, run_to_end};

/// Starting a controller takes a second; a loaded machine gets a minute.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// After a long campaign there is half an hour of reports to work in again, in a debug build.
fn ready_limit() -> Duration {
    READY_LIMIT * if crate::is_full() { 5 } else { 1 }
}

/// A controller of a test's own.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    /// Where its HTTP API listens.
    pub http: SocketAddr,
    /// Where agents connect.
    pub grpc: SocketAddr,
    /// The controller's settings, TOML; read at its next start.
    pub settings: String,
    /// Whether its HTTP port speaks TLS with these settings; then only what brings its own trust can ask it.
    pub speaks_tls: bool,
    /// The controller, while it runs.
    pub controller: Option<Process>,
}

impl World {
    /// An empty folder and two free ports; nothing runs yet.
    ///
    /// # Errors
    /// If there is no folder or port to be had.
    pub fn prepare() -> Result<Self> {
        Ok(Self {
            dir: tempfile::tempdir()?,
            http: free_port()?,
            grpc: free_port()?,
            settings: String::new(),
            speaks_tls: false,
            controller: None,
        })
    }

    /// A running controller that is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn start() -> Result<Self> {
        let mut world = Self::prepare()?;
        world.start_controller().await?;
        Ok(world)
    }

    /// The test's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The controller's data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Starts the controller on the world's data and ports, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not become ready.
    pub async fn start_controller(&mut self) -> Result<()> {
        let settings = self.dir().join("controller.toml");
        std::fs::write(&settings, &self.settings)?;
        let args = [
            "run".to_owned(),
            "--config".to_owned(),
            path(&settings),
            "--data-dir".to_owned(),
            path(&self.data()),
            "--http".to_owned(),
            self.http.to_string(),
            "--grpc".to_owned(),
            self.grpc.to_string(),
        ];
        let log = self.dir().join("controller.log");
        let mut process = Process::start(&binary("muster-controller"), &args, &log)?;
        let url = format!("http://{}/readyz", self.http);
        eventually(ready_limit(), async || {
            if !process.is_running()? {
                // Nothing is gained by waiting on; the caller sees why in the text.
                return Ok(false);
            }
            if self.speaks_tls {
                let ready = format!("ready: https://{}", self.http);
                ensure!(process.printed().contains(&ready), "not yet {ready}");
                return Ok(true);
            }
            let answer = reqwest::get(&url).await?;
            ensure!(
                answer.status() == 200,
                "{} {}",
                answer.status(),
                answer.text().await?
            );
            Ok(true)
        })
        .await
        .and_then(|ready| {
            if ready {
                Ok(())
            } else {
                bail!("the controller ended")
            }
        })
        .with_context(|| process.printed())?;
        self.controller = Some(process);
        Ok(())
    }

    /// Kills the controller as a crash would.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller
            .take()
            .context("the controller does not run")?
            .kill()
    }

    /// Stops the controller in order.
    ///
    /// # Errors
    /// If it does not run, or ends with an error, or not in time.
    pub fn stop_controller(&mut self) -> Result<()> {
        let mut controller = self.controller.take().context("the controller does not run")?;
        let status = controller.stop(Duration::from_secs(60))?;
        ensure!(
            status.success(),
            "the controller ended with {status}:\n{}",
            controller.printed()
        );
        Ok(())
    }

    /// A client logged in as the first admin.
    ///
    /// # Errors
    /// If the password file or the login does not work.
    pub async fn api(&self) -> Result<Api> {
        let file = self.data().join("admin-password");
        let password = std::fs::read_to_string(&file).with_context(|| path(&file))?;
        Api::login(self.http, "admin", password.trim()).await
    }

    /// Makes an enrolment token with the command line and stores it in a file.
    ///
    /// # Errors
    /// If the command fails.
    pub fn token_file(&self, uses: u32) -> Result<PathBuf> {
        let uses = uses.to_string();
        let data = path(&self.data());
        let made = run_to_end(
            "muster-controller",
            &["token", "create", "--data-dir", &data, "--uses", &uses],
        )?;
        ensure!(
            made.status.success(),
            "token create: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let file = self.dir().join(format!("token-{}", public_id(&made.stdout)));
        std::fs::write(&file, &made.stdout)?;
        Ok(file)
    }

    /// Enrols an agent into `folder` below the world's; returns what the command printed.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn enroll(&self, folder: &str, token_file: &Path) -> Result<std::process::Output> {
        self.enroll_with(folder, token_file, &[])
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn enroll_with(
        &self,
        folder: &str,
        token_file: &Path,
        more: &[&str],
    ) -> Result<std::process::Output> {
        let data = path(&self.dir().join(folder));
        let controller = self.grpc.to_string();
        let token = path(token_file);
        let words = [
            "enroll",
            "--controller",
            &controller,
            "--token-file",
            &token,
            "--data-dir",
            &data,
        ];
        run_to_end("muster-agent", &[&words, more].concat())
    }

    /// Starts an enrolled agent.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_agent(&self, folder: &str, more: &[&str]) -> Result<Process> {
        let data = path(&self.dir().join(folder));
        let args: Vec<&str> = ["run", "--data-dir", &data]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        Process::start(
            &binary("muster-agent"),
            &args,
            &self.dir().join(format!("{folder}.log")),
        )
    }

    /// Starts simulated agents that write their journal to `journal` below the world's folder.
    ///
    /// # Errors
    /// If no token can be made or the program not started.
    pub fn start_sim(&self, agents: u32, more: &[&str]) -> Result<Process> {
        self.start_fleet(&Fleet::new("sim", agents), more)
    }

    /// Starts a fleet of simulated agents; see [`Fleet`].
    ///
    /// # Errors
    /// As [`World::start_sim`].
    pub fn start_fleet(&self, fleet: &Fleet<'_>, more: &[&str]) -> Result<Process> {
        let token = path(&self.token_file(fleet.agents)?);
        let (controller, agents) = (
            fleet.controller.unwrap_or(self.grpc).to_string(),
            fleet.agents.to_string(),
        );
        let (data, journal) = (
            path(&self.dir().join(fleet.name)),
            path(&self.journal(fleet.name)),
        );
        let args = [
            "--agents",
            &agents,
            "--controller",
            &controller,
            "--token-file",
            &token,
            "--data-dir",
            &data,
            "--journal",
            &journal,
        ];
        let args: Vec<&str> = args.into_iter().chain(more.iter().copied()).collect();
        let log = self.dir().join(format!("{}.log", fleet.name));
        Process::start(&binary("muster-agent-sim"), &args, &log)
    }

    /// The journal of a fleet.
    #[must_use]
    pub fn journal(&self, fleet: &str) -> PathBuf {
        match fleet {
            "sim" => self.dir().join("journal"),
            other => self.dir().join(format!("{other}.journal")),
        }
    }
}

/// Simulated agents in one process.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// Names its folder, journal and log below the world's.
    pub name: &'a str,
    /// How many agents.
    pub agents: u32,
    /// Where they connect; `None`: to the controller itself.
    pub controller: Option<SocketAddr>,
}

impl<'a> Fleet<'a> {
    /// A fleet that connects to the controller itself.
    #[must_use]
    pub const fn new(name: &'a str, agents: u32) -> Self {
        Self {
            name,
            agents,
            controller: None,
        }
    }

    /// A fleet that connects to `controller`, such as a proxy.
    #[must_use]
    pub const fn through(name: &'a str, agents: u32, controller: SocketAddr) -> Self {
        Self {
            name,
            agents,
            controller: Some(controller),
        }
    }
}

/// Settings that let a whole fleet of one address enrol at once.
pub const FAST_ENROLMENT: &str =
    "[enrolment]\nenrolment_per_address_per_s = 1000.0\nenrolment_burst = 1000\nenrolment_per_s = 1000.0\n";

/// A name for a token's file: the public id, which is no secret.
fn public_id(token: &[u8]) -> String {
    String::from_utf8_lossy(token)
        .split('.')
        .nth(1)
        .unwrap_or("none")
        .to_owned()
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A port below the range that outgoing connections use, so that it is still free when a program restarts on it.
pub(crate) fn free_port() -> Result<SocketAddr> {
    for _ in 0..200 {
        let port = fastrand::u16(12_000..32_000);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port");
}
