//! A guest of a test's own with every kind of storage, all of it real: md, LVM, ZFS, BTRFS, LUKS, SMART, NVMe.
//!
//! What is in it and what can be broken is in tests/lab; this drives its command. The guest starts from the same saved
//! state each time, within seconds, and is switched off when dropped. It is built once, which takes minutes and needs
//! root and Debian's mirror.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::binary;

/// Set by `make lab-test`: whoever sets it has the image, or time to build it.
const WANTED: &str = "MUSTER_LAB";
/// Where the agent is in the guest.
const AGENT: &str = "/usr/local/bin/muster-agent";

/// Whether tests in the guest are asked for.
#[must_use]
pub fn is_wanted() -> bool {
    std::env::var_os(WANTED).is_some()
}

/// A guest that runs.
#[derive(Debug)]
pub struct Lab {
    name: String,
}

impl Lab {
    /// Starts a guest in the saved state with the agent in it; builds the image first if there is none.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn up(name: &str) -> Result<Self> {
        let lab = Self {
            name: format!("{name}-{}", std::process::id()),
        };
        lab.run(&["up"])?;
        lab.put(&stripped_agent()?, AGENT)?;
        Ok(lab)
    }

    /// Breaks something; `lab fault list` says what there is.
    ///
    /// # Errors
    /// If it can't be broken so.
    pub fn fault(&self, fault: &[&str]) -> Result<()> {
        let args: Vec<&str> = ["fault"].into_iter().chain(fault.iter().copied()).collect();
        self.run(&args).map(drop)
    }

    /// Runs a shell command in the guest and returns what it printed.
    ///
    /// # Errors
    /// If it ends with anything but 0.
    pub fn shell(&self, command: &str) -> Result<String> {
        self.run(&["ssh", command])
    }

    /// Waits until a shell command in the guest ends with 0.
    ///
    /// # Errors
    /// What it last said, after `limit`.
    pub fn until(&self, limit: Duration, command: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.shell(command) {
                Ok(_) => return Ok(()),
                Err(error) if limit < start.elapsed() => {
                    return Err(error.context(format!("not within {limit:?}: {command}")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    /// Copies a file into the guest.
    ///
    /// # Errors
    /// If it can't.
    pub fn put(&self, file: &Path, to: &str) -> Result<()> {
        self.run(&["put", &file.display().to_string(), to]).map(drop)
    }

    /// Collects once in the guest with these collectors, without a controller.
    ///
    /// # Errors
    /// If the agent fails, or prints anything but JSON.
    pub fn collect(&self, only: &str) -> Result<Facts> {
        let text = self.shell(&format!("{AGENT} collect --only {only} --format json"))?;
        let facts =
            serde_json::from_str(&text).with_context(|| text.chars().take(2_000).collect::<String>())?;
        Ok(Facts(facts))
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "starting programs is what this crate is for"
        )]
        let output = Command::new(root().join("tests/lab/lab"))
            .args(args)
            .env("LAB_NAME", &self.name)
            .stdin(Stdio::null())
            .output()
            .context("tests/lab/lab")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "lab {}: {}\n{}{}",
            args.join(" "),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What was not started needs no end.
        let _ = self.run(&["down"]);
    }
}

/// What a collection in the guest said.
#[derive(Debug, Clone)]
pub struct Facts(pub Value);

impl Facts {
    /// The resources of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let all = self.0["resources"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        all.iter().filter(move |resource| resource["kind"] == kind)
    }

    /// The one resource of a kind that `choose` takes.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn one(&self, kind: &str, choose: impl Fn(&Value) -> bool) -> Result<&Value> {
        let mut found = self.of_kind(kind).filter(|resource| choose(resource));
        let first = found
            .next()
            .with_context(|| format!("no such {kind} in {:#}", self.0["resources"]))?;
        if let Some(second) = found.next() {
            bail!("two such {kind}: {} and {}", first["key"], second["key"]);
        }
        Ok(first)
    }

    /// The pool of this type and name.
    ///
    /// # Errors
    /// As [`Facts::one`].
    pub fn pool(&self, pool_type: &str, name: &str) -> Result<&Value> {
        self.one("pool", |pool| {
            let names = ["name", "pool_name", "array_name", "label"];
            pool["pool_type"] == pool_type && names.iter().any(|field| pool[*field] == name)
        })
    }

    /// The value of a sample.
    #[must_use]
    pub fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.0["samples"].as_array()?;
        let fits = |sample: &&Value| {
            sample["name"] == name
                && labels
                    .iter()
                    .all(|(name, value)| sample["labels"][*name] == *value)
        };
        samples.iter().find(fits)?["value"].as_f64()
    }

    /// What could not be read or understood.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problems = self.0["problems"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    /// Keys of what a resource rests on directly.
    #[must_use]
    pub fn below(&self, key: &str) -> Vec<String> {
        let links = self.0["links"].as_array().map(Vec::as_slice).unwrap_or_default();
        links
            .iter()
            .filter(|link| link["from"] == key)
            .filter_map(|link| link["to"].as_str().map(str::to_owned))
            .collect()
    }
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// The agent without what only debuggers read: the guest is slow, and its memory small.
fn stripped_agent() -> Result<PathBuf> {
    let agent = binary("muster-agent");
    let small = agent.with_extension("lab");
    let made = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified());
    if made(&small).is_ok_and(|small| made(&agent).is_ok_and(|agent| agent < small)) {
        return Ok(small);
    }
    // Under a name of its own first: several tests may do this at the same time.
    let making = agent.with_extension(format!(
        "lab.{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    #[expect(
        clippy::disallowed_methods,
        reason = "starting programs is what this crate is for"
    )]
    let status = Command::new("strip")
        .arg("-o")
        .arg(&making)
        .arg(&agent)
        .status()?;
    ensure!(status.success(), "strip: {status}");
    std::fs::rename(&making, &small)?;
    Ok(small)
}
