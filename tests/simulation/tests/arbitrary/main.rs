//! Arbitrary and mutated input for every parser and decoder: none panics, hangs or takes more memory than it should.
//!
//! One target a line below. Each is given real inputs, mutated and spliced, and plain noise, all from a seed that is the
//! number of the case. `MUSTER_FUZZ_CASES=N` runs N cases of each target, `MUSTER_FUZZ_SECONDS=S` as many as fit, and
//! `MUSTER_FUZZ_CASE=N` one. What needs a running part (requests over HTTP, store files) has its own tests beside it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(
    clippy::print_stdout,
    reason = "figures and traces are for whoever runs the test"
)]

mod files;
mod mutate;
mod targets;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::mutate::Corpus;

/// Cases of one target in the ordinary run and in the long one.
const CASES: u64 = 1_000;
const CASES_FULL: u64 = 50_000;
/// Peak memory of the whole test process, most of which is the test itself.
const MEMORY_KIB_MAX: u64 = 512 * 1024;
/// Longest time for one input; far above what the slowest takes on a busy machine.
const CASE_MAX: Duration = Duration::from_secs(10);

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// Runs a target over its cases.
fn fuzz(name: &str, corpus: &Corpus, weight: u64, target: impl Fn(&[u8])) {
    let deadline = number("MUSTER_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let is_full = std::env::var_os("MUSTER_TEST_FULL").is_some();
    let count = number("MUSTER_FUZZ_CASES").unwrap_or(if is_full { CASES_FULL } else { CASES } / weight);
    let mut cases = match number("MUSTER_FUZZ_CASE") {
        Some(case) => case..case + 1,
        None => 0..if deadline.is_some() { u64::MAX } else { count },
    };
    // Every real input as it is, first.
    corpus.all().for_each(&target);
    let started = Instant::now();
    let mut done = 0_u64;
    while deadline.is_none_or(|deadline| Instant::now() < deadline)
        && let Some(case) = cases.next()
    {
        let input = corpus.case(case);
        let began = Instant::now();
        let run = std::panic::catch_unwind(AssertUnwindSafe(|| target(&input)));
        if run.is_err() || CASE_MAX < began.elapsed() {
            panic!(
                "{name}: case {case} panics or takes too long; again with MUSTER_FUZZ_CASE={case}; input: {}",
                String::from_utf8_lossy(&input).escape_debug()
            );
        }
        done += 1;
    }
    let peak_kib = peak_memory_kib();
    println!(
        "{name}: {done} cases in {:?}, peak {peak_kib} KiB",
        started.elapsed()
    );
    assert!(peak_kib < MEMORY_KIB_MAX, "{name}: {peak_kib} KiB");
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .unwrap()
}

/// The files of a folder of the repository.
fn folder(path: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let mut files: Vec<_> = std::fs::read_dir(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", path.display());
    files
        .into_iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}
