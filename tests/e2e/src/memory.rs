//! What processes cost, from `/proc`.

use anyhow::{Context as _, Result};

/// Resident memory of a process, bytes.
///
/// # Errors
/// If the process is gone.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    status_kib(pid, "VmRSS:").map(|kib| kib * 1024)
}

/// Processor time of a process so far, seconds.
///
/// # Errors
/// If the process is gone.
pub fn processor_s(pid: u32) -> Result<f64> {
    // The unit of times in this file on every Linux that Rust runs on.
    const TICKS_PER_S: f64 = 100.0;
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in brackets may hold anything; fields are counted after it. 14 and 15 are user and system time.
    let (_, fields) = stat.rsplit_once(") ").context("stat has a name")?;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / TICKS_PER_S)
}

fn status_kib(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .with_context(|| format!("{path} has no {field}"))?;
    let kib = line.trim().trim_end_matches(" kB").parse();
    kib.with_context(|| format!("{field} is {line:?}"))
}
