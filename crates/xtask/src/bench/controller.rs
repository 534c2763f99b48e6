//! A controller that is measured: a process of its own, watched through `/proc`.

use std::cell::OnceCell;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::{http, program};
use crate::process;

/// All agents come from one address here, which the limits of an ordinary installation are there to refuse.
const SETTINGS: &str =
    "[enrolment]\nenrolment_per_address_per_s = 1000.0\nenrolment_burst = 1000\nenrolment_per_s = 1000.0\n";
/// Unit of processor times in `/proc/PID/stat` on every Linux that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

/// A running controller; killed if the measurement fails.
pub(super) struct Controller {
    process: Child,
    /// Kept open: whatever else it prints must find a reader.
    _stdout: BufReader<ChildStdout>,
    data: Utf8PathBuf,
    /// Where agents connect.
    pub(super) agents: String,
    /// Where people and programs ask.
    pub(super) http: String,
    /// Shown with each question; one login is enough, and more would soon be refused.
    bearer: OnceCell<String>,
}

impl Controller {
    /// Starts one in a folder and waits until it is ready.
    pub(super) fn start(root: &Utf8Path, folder: &Utf8Path) -> anyhow::Result<Self> {
        Self::start_at(root, folder, ("127.0.0.1:0", "127.0.0.1:0"))
    }

    /// As [`Controller::start`], at addresses for people and for agents.
    pub(super) fn start_at(
        root: &Utf8Path,
        folder: &Utf8Path,
        (http, agents): (&str, &str),
    ) -> anyhow::Result<Self> {
        let data = folder.join("data");
        let settings = folder.join("controller.toml");
        std::fs::write(&settings, SETTINGS).with_context(|| format!("write {settings}"))?;
        let mut command = process::command(program(root, "muster-controller").as_str(), root);
        command
            .args(["run", "--data-dir", data.as_str(), "--config", settings.as_str()])
            .args(["--http", http, "--grpc", agents])
            .env("MUSTER_LOG", "error")
            .stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .context("start muster-controller; build it with --release")?;
        let stdout = process
            .stdout
            .take()
            .context("the controller's output is a pipe")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).context("wait for the controller")?;
        let mut controller = Self {
            process,
            _stdout: stdout,
            data,
            agents: String::new(),
            http: String::new(),
            bearer: OnceCell::new(),
        };
        let addresses = line.trim().strip_prefix("ready: http://");
        match addresses.and_then(|addresses| addresses.split_once(" agents: ")) {
            Some((http, agents)) => {
                controller.http = http.to_owned();
                controller.agents = agents.to_owned();
            }
            None => bail!("the controller said {line:?}"),
        }
        Ok(controller)
    }

    /// A file with an enrolment token for that many agents.
    pub(super) fn token(&self, root: &Utf8Path, uses: u32) -> anyhow::Result<Utf8PathBuf> {
        let uses = uses.to_string();
        let mut create = process::command(program(root, "muster-controller").as_str(), root);
        create.args([
            "token",
            "create",
            "--data-dir",
            self.data.as_str(),
            "--uses",
            &uses,
            "--ttl",
            "60m",
        ]);
        let path = self.data.join("bench-token");
        std::fs::write(&path, process::output(&mut create)?).with_context(|| format!("write {path}"))?;
        Ok(path)
    }

    /// Where its data is.
    pub(super) fn data(&self) -> Utf8PathBuf {
        self.data.clone()
    }

    /// Processor seconds so far.
    pub(super) fn cpu_s(&self) -> anyhow::Result<f64> {
        cpu_s_of(self.process.id())
    }

    /// What the kernel says of its memory, such as `VmHWM:`.
    pub(super) fn memory_bytes(&self, what: &str) -> anyhow::Result<u64> {
        memory_bytes_of(self.process.id(), what)
    }

    /// The number of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it tells of itself.
    pub(super) fn metrics(&self) -> anyhow::Result<String> {
        if self.bearer.get().is_none() {
            // Nobody else sets it.
            let _ = self.bearer.set(self.login()?);
        }
        let bearer = self.bearer.get().map(String::as_str);
        http::request(&self.http, "GET", "/metrics", bearer, "")
    }

    fn login(&self) -> anyhow::Result<String> {
        let path = self.data.join("admin-password");
        let password = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let login = serde_json::json!({ "username": "admin", "password": password.trim() });
        let answer = http::request(&self.http, "POST", "/api/auth/token", None, &login.to_string())?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let token = answer["access_token"].as_str().context("an answer has a token")?;
        Ok(token.to_owned())
    }

    /// Stops it in order, so that everything is on disk.
    pub(super) fn stop(&mut self, root: &Utf8Path) -> anyhow::Result<()> {
        process::run(process::command("kill", root).args(["-TERM", &self.process.id().to_string()]))?;
        let status = self.process.wait().context("wait for the controller's end")?;
        if !status.success() {
            bail!("the controller ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // Nothing is left to kill after an orderly stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Processor seconds of a process so far.
pub(super) fn cpu_s_of(id: u32) -> anyhow::Result<f64> {
    let stat = proc_file(id, "stat")?;
    // The name in brackets may hold anything; fields are counted after it. 14 and 15 are user and system time.
    let (_, fields) = stat.rsplit_once(") ").context("stat has a name")?;
    let ticks: Vec<u64> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, system] = ticks[..] else {
        bail!("stat has no times: {stat}");
    };
    Ok((user + system) as f64 / TICKS_PER_S)
}

/// A line of a process's `status`, such as `VmRSS:`, in bytes.
pub(super) fn memory_bytes_of(id: u32, what: &str) -> anyhow::Result<u64> {
    let status = proc_file(id, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.with_context(|| format!("status has no {what}"))? * 1024)
}

fn proc_file(id: u32, name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{id}/{name}");
    std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

/// A figure of [`Controller::metrics`]; the name ends with a space.
pub(super) fn metric(metrics: &str, name: &str) -> anyhow::Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.with_context(|| format!("the controller tells no {name}"))
}
