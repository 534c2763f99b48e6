//! A dockerd of a test's own.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Image, Pushed, READY_LIMIT, Registry, program, run, sweep, text, until};
use crate::Process;

/// Where containerd listens below the folder.
const CONTAINERD: &str = "containerd.sock";

/// A running dockerd with its own containerd; ended with all its containers when dropped.
#[derive(Debug)]
pub struct Docker {
    dir: TempDir,
    bridge: String,
    /// Apart from dockerd, as Debian has it: one that dockerd starts itself dies with it, and cannot always be started
    /// again on what it has left.
    containerd: Process,
    process: Option<Process>,
}

impl Docker {
    /// Starts one that has no images yet, and waits until it answers.
    ///
    /// # Errors
    /// If a program is missing, the tests do not run as root, or it does not answer.
    pub fn start() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "dockerd needs root: run the tests as root"
        );
        // The name says which network is its own, too: an interface's is at most 15 characters.
        let network = (fastrand::u8(64..=250), fastrand::u8(..));
        let dir = tempfile::Builder::new().prefix("muster-docker-").tempdir()?;
        let containerd = start_containerd(dir.path())?;
        let mut docker = Self {
            dir,
            containerd,
            bridge: format!("mut{:03}{:03}", network.0, network.1),
            process: None,
        };
        let address = format!("10.{}.{}.1/24", network.0, network.1);
        run(
            "ip",
            &["link", "add", "name", &docker.bridge, "type", "bridge"],
            &[],
            &[],
        )?;
        run(
            "ip",
            &["address", "add", &address, "dev", &docker.bridge],
            &[],
            &[],
        )?;
        run("ip", &["link", "set", &docker.bridge, "up"], &[], &[])?;
        docker.start_again()?;
        Ok(docker)
    }

    /// Starts it on the same data after [`Docker::kill`] or [`Docker::stop`], and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn start_again(&mut self) -> Result<()> {
        let (data, exec) = (self.data_root(), self.dir.path().join("exec"));
        let pid_file = self.dir.path().join("docker.pid");
        let host = format!("unix://{}", self.socket().display());
        let containerd = self.dir.path().join(CONTAINERD);
        let args = [
            "--containerd",
            text(&containerd),
            "--data-root",
            text(&data),
            "--exec-root",
            text(&exec),
            "--pidfile",
            text(&pid_file),
            "--host",
            &host,
            "--bridge",
            &self.bridge,
            "--iptables=false",
            "--ip6tables=false",
        ];
        let process = Process::start(&program("dockerd")?, &args, &self.dir.path().join("dockerd.log"))?;
        let process = self.process.insert(process);
        let socket = self.dir.path().join("docker.sock");
        let answers = until(READY_LIMIT, || {
            if !process.is_running()? {
                return Ok(false);
            }
            ask(&socket, &["version"]).map(|_| true)
        });
        let answers = answers.with_context(|| process.printed())?;
        ensure!(answers, "dockerd ended:\n{}", process.printed());
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Where it keeps images, containers and volumes.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What it has printed.
    #[must_use]
    pub fn printed(&self) -> String {
        self.process.as_ref().map(Process::printed).unwrap_or_default()
    }

    /// Runs `docker` with these arguments; what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        ask(&self.socket(), args)
    }

    /// What `docker inspect` says of one thing.
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
        let mut args = vec!["import"];
        for instruction in &instructions {
            args.extend(["--change", instruction.as_str()]);
        }
        args.extend(["-", reference]);
        let host = format!("unix://{}", self.socket().display());
        run(
            "docker",
            &args,
            &[("DOCKER_HOST", Path::new(&host))],
            &image.files()?,
        )
    }

    /// Makes an image and pushes it as `name:tag`.
    ///
    /// # Errors
    /// If it cannot be made or the registry does not take it.
    pub fn build_and_push(
        &self,
        registry: &Registry,
        name: &str,
        tag: &str,
        image: &Image<'_>,
    ) -> Result<Pushed> {
        let repository = format!("{}/{name}", registry.address());
        let reference = format!("{repository}:{tag}");
        let image_id = self.build(&reference, image)?;
        let settings = registry.client_settings(self.dir.path())?;
        let host = format!("unix://{}", self.socket().display());
        let environment: [(&str, &Path); 2] =
            [("DOCKER_HOST", Path::new(&host)), ("DOCKER_CONFIG", &settings)];
        run("docker", &["push", "--quiet", &reference], &environment, &[])?;
        let inspected = self.inspect(&image_id)?;
        let digests = inspected["RepoDigests"]
            .as_array()
            .context("a pushed image has digests")?;
        let prefix = format!("{repository}@");
        let digest = digests
            .iter()
            .filter_map(|digest| digest.as_str()?.strip_prefix(&prefix))
            .next_back()
            .with_context(|| format!("{reference} has no digest: {digests:?}"))?
            .to_owned();
        Ok(Pushed {
            reference,
            digest,
            image_id,
        })
    }

    /// Forgets images, so that they have to be pulled again.
    ///
    /// # Errors
    /// If one is in use.
    pub fn forget(&self, images: &[&str]) -> Result<()> {
        self.cli(&[&["rmi", "--force"], images].concat()).map(drop)
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Ends it with SIGKILL; its containerd and containers go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("dockerd does not run")?.kill()
    }

    /// Ends it in order, and its containers with it.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("dockerd does not run")?;
        process.stop(Duration::from_secs(60)).map(drop)
    }

    /// Stops it in its tracks, until [`Docker::go_on`]: it takes connections and answers nothing.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("dockerd does not run")?.freeze()
    }

    /// Lets it go on after [`Docker::freeze`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn go_on(&self) -> Result<()> {
        self.process.as_ref().context("dockerd does not run")?.go_on()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // A frozen one would not notice that it is asked to end.
            let _ = process.go_on();
            let _ = process.stop(Duration::from_secs(30));
        }
        let _ = self.containerd.stop(Duration::from_secs(30));
        // What a kill has left: shims and their containers, all started below this folder.
        sweep::sweep(self.dir.path());
        let _ = run("ip", &["link", "delete", &self.bridge], &[], &[]);
    }
}

fn start_containerd(dir: &Path) -> Result<Process> {
    let path = |name: &str| dir.join(name).display().to_string();
    let settings = format!(
        "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {socket:?}\n[ttrpc]\naddress = {ttrpc:?}\n",
        root = path("containerd/root"),
        state = path("containerd/state"),
        socket = path(CONTAINERD),
        ttrpc = path("containerd.ttrpc"),
    );
    let file = dir.join("containerd.toml");
    std::fs::write(&file, settings)?;
    let args = [Path::new("--config"), &file];
    let mut process = Process::start(&program("containerd")?, &args, &dir.join("containerd.log"))?;
    let answers = until(READY_LIMIT, || {
        if !process.is_running()? {
            return Ok(false);
        }
        Ok(UnixStream::connect(dir.join(CONTAINERD)).map(|_| true)?)
    });
    let answers = answers.with_context(|| process.printed())?;
    ensure!(answers, "containerd ended:\n{}", process.printed());
    Ok(process)
}

fn ask(socket: &Path, args: &[&str]) -> Result<String> {
    let host = format!("unix://{}", socket.display());
    run("docker", args, &[("DOCKER_HOST", Path::new(&host))], &[])
}

impl Docker {
    /// Where a container's port, such as `8080/tcp`, is published.
    ///
    /// # Errors
    /// If it is not.
    pub fn port(&self, container: &str, port: &str) -> Result<SocketAddr> {
        let listed = self.cli(&["port", container, port])?;
        let first = listed.lines().next().context("it is not published")?;
        Ok(first.parse()?)
    }
}
