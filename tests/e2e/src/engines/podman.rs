//! A podman of a test's own, as root, with its API service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Image, READY_LIMIT, Registry, program, run, sweep, text, until};
use crate::Process;

/// Limits that need no right to raise them, and a runtime that knows every layout of control groups.
const SETTINGS: &str = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
                        [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";

/// A running `podman system service`; ended with all its containers when dropped.
#[derive(Debug)]
pub struct Podman {
    dir: TempDir,
    process: Option<Process>,
}

impl Podman {
    /// Starts one that has no images yet, and waits until it answers.
    ///
    /// # Errors
    /// If a program is missing, the tests do not run as root, or it does not answer.
    pub fn start() -> Result<Self> {
        Self::start_trusting(None)
    }

    /// The same, and it pulls from this registry without TLS.
    ///
    /// # Errors
    /// As for [`Podman::start`].
    pub fn start_trusting(registry: Option<&Registry>) -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "podman needs root here: run the tests as root"
        );
        let mut podman = Self {
            dir: tempfile::Builder::new().prefix("muster-podman-").tempdir()?,
            process: None,
        };
        // Else its networks would be the machine's own.
        let networks = format!(
            "[network]\nnetwork_config_dir = \"{}\"\n",
            podman.dir.path().join("networks").display()
        );
        std::fs::write(podman.settings(), format!("{SETTINGS}{networks}"))?;
        let trusted = registry.map(|registry| {
            format!(
                "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
                registry.address()
            )
        });
        std::fs::write(podman.registries(), trusted.unwrap_or_default())?;
        podman.start_again()?;
        Ok(podman)
    }

    /// Starts its service on the same data after [`Podman::kill`]; containers have gone on meanwhile.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn start_again(&mut self) -> Result<()> {
        let listen = format!("unix://{}", self.socket().display());
        let mut args = self.global();
        args.extend(["system", "service", "--time", "0", &listen].map(str::to_owned));
        let settings = self.settings();
        let log = self.dir.path().join("podman.log");
        let mut process = Process::start_with(
            &program("podman")?,
            &args,
            &[
                ("CONTAINERS_CONF", &settings),
                ("CONTAINERS_REGISTRIES_CONF", &self.registries()),
            ],
            &log,
        )?;
        let answers = until(READY_LIMIT, || {
            if !process.is_running()? {
                return Ok(false);
            }
            Ok(std::os::unix::net::UnixStream::connect(self.socket()).map(|_| true)?)
        });
        ensure!(
            answers.with_context(|| process.printed())?,
            "podman ended:\n{}",
            process.printed()
        );
        self.process = Some(process);
        Ok(())
    }

    /// Where its service listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("podman.sock")
    }

    /// Where it keeps images, containers and volumes.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Runs `podman` with these arguments; what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        self.run(args, &[])
    }

    /// What `podman inspect` says of one thing.
    ///
    /// # Errors
    /// If there is no such thing.
    pub fn inspect(&self, name: &str) -> Result<serde_json::Value> {
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&self.cli(&["inspect", name])?)?;
        all.pop().context("inspect says nothing")
    }

    /// Makes an image called `reference`; its id.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn build(&self, reference: &str, image: &Image<'_>) -> Result<String> {
        let instructions = image.instructions();
        let mut args = vec!["import", "--quiet"];
        // Podman's import takes no health check, which is what a container is given instead.
        for instruction in instructions
            .iter()
            .filter(|text| !text.starts_with("HEALTHCHECK"))
        {
            args.extend(["--change", instruction.as_str()]);
        }
        args.extend(["-", reference]);
        self.run(&args, &image.files()?)
    }

    /// Ends its service with SIGKILL; containers go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("podman does not run")?.kill()
    }

    fn registries(&self) -> PathBuf {
        self.dir.path().join("registries.conf")
    }

    fn settings(&self) -> PathBuf {
        self.dir.path().join("containers.conf")
    }

    fn global(&self) -> Vec<String> {
        let (root, state) = (self.data_root(), self.dir.path().join("state"));
        let words = [
            "--root",
            text(&root),
            "--runroot",
            text(&state),
            "--storage-driver",
            "overlay",
        ];
        words.map(str::to_owned).to_vec()
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Result<String> {
        let global = self.global();
        let all: Vec<&str> = global
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        let settings = self.settings();
        run(
            "podman",
            &all,
            &[("CONTAINERS_CONF", Path::new(&settings))],
            input,
        )
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // First those who know how: networks and address leases live outside of the folder.
        let _ = self.cli(&["rm", "--all", "--force", "--time", "0"]);
        let _ = self.cli(&["network", "prune", "--force"]);
        if let Some(process) = &mut self.process {
            let _ = process.stop(Duration::from_secs(30));
        }
        sweep::sweep(self.dir.path());
    }
}
