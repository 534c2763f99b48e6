//! The agent among processes that control groups of this kernel limit, in a process namespace of its own: what it says the
//! server may use is what it really may.

#![expect(clippy::disallowed_methods, reason = "a shell puts the agent into its groups")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::binary;
use serde_json::Value;

const MEMORY_BYTES: u64 = 320 << 20;
const CPU_QUOTA_US: u64 = 50_000;
const CPU_PERIOD_US: u64 = 100_000;

/// Groups of a test's own; removed when dropped, by when nobody is in them.
struct Groups(Vec<PathBuf>);

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Groups {
    /// Groups with limits, of whichever version this machine has; `None` if none can be made here.
    fn make() -> Option<Self> {
        let name = format!("muster-test-{}", std::process::id());
        let top = Path::new("/sys/fs/cgroup");
        let mut groups = Self(Vec::new());
        let files: Vec<(PathBuf, &str, String)> = if top.join("cgroup.controllers").exists() {
            let _ = fs::write(top.join("cgroup.subtree_control"), "+memory +cpu");
            let folder = top.join(&name);
            vec![
                (folder.clone(), "memory.max", MEMORY_BYTES.to_string()),
                (folder, "cpu.max", format!("{CPU_QUOTA_US} {CPU_PERIOD_US}")),
            ]
        } else {
            let (memory, cpu) = (top.join("memory").join(&name), top.join("cpu").join(&name));
            vec![
                (memory, "memory.limit_in_bytes", MEMORY_BYTES.to_string()),
                (cpu.clone(), "cpu.cfs_period_us", CPU_PERIOD_US.to_string()),
                (cpu, "cpu.cfs_quota_us", CPU_QUOTA_US.to_string()),
            ]
        };
        for (folder, file, text) in files {
            if !groups.0.contains(&folder) {
                fs::create_dir(&folder).ok()?;
                groups.0.push(folder.clone());
            }
            fs::write(folder.join(file), text).ok()?;
        }
        Some(groups)
    }

    /// What the agent collects as the first process of a namespace in these groups.
    fn collect(&self) -> Result<Value> {
        let enter: String = self
            .0
            .iter()
            .map(|folder| format!("echo $$ > {}/cgroup.procs && ", folder.display()))
            .collect();
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "{enter}exec unshare --pid --fork --mount-proc \"$0\" \"$@\""
            ))
            .arg(binary("muster-agent"))
            .args(["collect", "--only", "container,os", "--format", "json"])
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("json")
    }
}

#[test]
fn limits_of_the_kernel_are_the_servers() -> Result<()> {
    let Some(groups) = Groups::make() else {
        println!("skipped: control groups cannot be made here");
        return Ok(());
    };
    let found = groups.collect()?;
    let samples = found["samples"].as_array().context("samples")?;
    let value = |name: &str| {
        let sample = samples.iter().find(|sample| sample["name"] == name)?;
        sample["value"].as_f64()
    };
    let used = value("muster_server_memory_used_bytes").context("used")?;
    println!("{used} of {MEMORY_BYTES} bytes are used");
    let limit = MEMORY_BYTES as f64;
    ensure!(
        value("muster_server_memory_limit_bytes") == Some(limit),
        "{samples:?}"
    );
    ensure!(
        value("muster_server_memory_total_bytes") == Some(limit),
        "{samples:?}"
    );
    ensure!(0.0 < used && used < limit, "{used}");
    ensure!(value("muster_server_cpu_limit") == Some(0.5), "{samples:?}");
    ensure!(value("muster_server_cpus") == Some(0.5), "{samples:?}");
    let resources = found["resources"].as_array().context("resources")?;
    let server = resources
        .iter()
        .find(|resource| resource["kind"] == "server")
        .context("server")?;
    ensure!(server["memory_bytes"] == MEMORY_BYTES, "{server}");
    ensure!(server["cpu_count"] == 1, "{server}");
    Ok(())
}
