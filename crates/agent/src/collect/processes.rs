//! Processes of the whole server: how many, in which states, and which take the most.
//!
//! Processes come and go, and a series for each would never end. So the most demanding are told by the name of their
//! command, all processes of one name together: ten names for each of CPU, memory and I/O, and no more than a few
//! hundred names while the agent runs; what comes after that is told together as `(other)`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use async_trait::async_trait;
use muster_catalogue::{
    MUSTER_PROCESS_CPU_RATIO, MUSTER_PROCESS_IO_BYTES_PER_SECOND, MUSTER_PROCESS_RESIDENT_BYTES, Metric,
    NODE_PROCESSES_MAX_PROCESSES, NODE_PROCESSES_MAX_THREADS, NODE_PROCESSES_PIDS, NODE_PROCESSES_STATE,
    NODE_PROCESSES_THREADS,
};
use muster_parse::process::{self, Process};
use muster_parse::stat;

use super::draft::Draft;
use super::reading::{Reading, every_15s, outcome};
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Files, Host};

/// Processes looked at; what is beyond is only counted.
const PROCESSES_MAX: usize = 20_000;
/// Names told of for each measure.
const TOP: usize = 10;
/// Names told of while the agent runs.
const NAMES_MAX: usize = 300;
/// Stands for the names beyond.
const OTHER: &str = "(other)";
/// The process from which all threads of the kernel descend.
const KERNEL_PARENT: u64 = 2;

/// The processes collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "processes",
    "how many processes there are, in which states, and which take the most CPU, memory and I/O",
    |_| Box::<Processes>::default(),
);

/// A process for good: numbers are used again, beginnings are not.
type Key = (u64, u64);

/// What a process had taken when it was last looked at.
#[derive(Debug, Clone, Copy)]
struct Taken {
    cpu_ticks: u64,
    io_bytes: Option<u64>,
}

#[derive(Default)]
struct Processes {
    before: Option<(Instant, HashMap<Key, Taken>)>,
    told: HashSet<String>,
}

#[async_trait]
impl Collector for Processes {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let now = host.instant();
        let page_bytes = host.page_bytes().await;
        let before = self.before.take();
        let (draft, found, before) = host
            .blocking(DESCRIPTOR.name, move |files| {
                let known = before.as_ref().map(|(_, known)| known);
                let (draft, found) = read(files, known);
                (draft, found, before)
            })
            .await?;
        let mut draft = draft;
        let seconds = before
            .as_ref()
            .map(|(then, _)| now.duration_since(*then).as_secs_f64());
        let known = before.map(|(_, known)| known).unwrap_or_default();
        self.tell(&mut draft, &found, &known, seconds, page_bytes);
        let taken = found.into_iter().map(|found| (found.key, found.taken)).collect();
        self.before = Some((now, taken));
        Ok(outcome(draft, "no process in /proc"))
    }
}

/// One process of this run.
struct Found {
    key: Key,
    name: String,
    resident_pages: u64,
    taken: Taken,
}

fn read(files: &Files, known: Option<&HashMap<Key, Taken>>) -> (Draft, Vec<Found>) {
    let mut reading = Reading {
        files,
        draft: Draft::new(DESCRIPTOR.name),
    };
    let numbers: Vec<u64> = files
        .names("/proc")
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let (mut states, mut threads, mut found) = (BTreeMap::<char, u64>::new(), 0_u64, Vec::new());
    let (total, numbers) = (numbers.len(), reading.first("/proc", numbers, PROCESSES_MAX));
    for number in numbers {
        // A process may end while it is looked at.
        let text = files.text(&format!("/proc/{number}/stat")).ok().flatten();
        let Some(process) = text.as_deref().and_then(process::parse_stat) else {
            continue;
        };
        *states.entry(process.state).or_default() += 1;
        threads += process.threads;
        found.push(look_at(files, number, &process, known));
    }
    if 0 < total {
        reading.sample(&NODE_PROCESSES_PIDS, &[], total as f64);
        reading.sample(&NODE_PROCESSES_THREADS, &[], threads as f64);
        for (state, count) in states {
            reading.sample(
                &NODE_PROCESSES_STATE,
                &[("state", &state.to_string())],
                count as f64,
            );
        }
        reading.file("/proc/sys/kernel/pid_max", &NODE_PROCESSES_MAX_PROCESSES, &[]);
        reading.file("/proc/sys/kernel/threads-max", &NODE_PROCESSES_MAX_THREADS, &[]);
    }
    (reading.draft, found)
}

fn look_at(files: &Files, number: u64, process: &Process, known: Option<&HashMap<Key, Taken>>) -> Found {
    let key = (number, process.started_ticks);
    let last = known.and_then(|known| known.get(&key));
    // What did not run has read and written next to nothing: the second file is read only of the others.
    let io_bytes = match last {
        Some(last) if last.cpu_ticks == process.cpu_ticks => last.io_bytes,
        _ => files
            .text(&format!("/proc/{number}/io"))
            .ok()
            .flatten()
            .and_then(|text| process::parse_io(&text))
            .map(|(read, written)| read.saturating_add(written)),
    };
    Found {
        key,
        name: name_of(number, process),
        resident_pages: process.resident_pages,
        taken: Taken {
            cpu_ticks: process.cpu_ticks,
            io_bytes,
        },
    }
}

/// Threads of the kernel carry CPU and purpose in their names: `kworker/0:1-events`.
fn name_of(number: u64, process: &Process) -> String {
    if process.parent == KERNEL_PARENT || number == KERNEL_PARENT {
        let end = process.name.find(['/', ':']).unwrap_or(process.name.len());
        return process.name[..end].to_owned();
    }
    process.name.clone()
}

impl Processes {
    fn tell(
        &mut self,
        draft: &mut Draft,
        found: &[Found],
        known: &HashMap<Key, Taken>,
        seconds: Option<f64>,
        page_bytes: Option<u64>,
    ) {
        if let Some(page_bytes) = page_bytes {
            let resident = |found: &Found| Some(found.resident_pages.saturating_mul(page_bytes) as f64);
            self.top(draft, &MUSTER_PROCESS_RESIDENT_BYTES, found, resident);
        }
        let Some(seconds) = seconds.filter(|seconds| 0.0 < *seconds) else {
            return;
        };
        // A process that has begun since then took all it has in this period.
        let cpu = |found: &Found| {
            let before = known.get(&found.key).map_or(0, |taken| taken.cpu_ticks);
            Some(stat::seconds(found.taken.cpu_ticks.saturating_sub(before)) / seconds)
        };
        self.top(draft, &MUSTER_PROCESS_CPU_RATIO, found, cpu);
        let io = |found: &Found| {
            let before = match known.get(&found.key) {
                Some(taken) => taken.io_bytes?,
                None => 0,
            };
            Some(found.taken.io_bytes?.saturating_sub(before) as f64 / seconds)
        };
        self.top(draft, &MUSTER_PROCESS_IO_BYTES_PER_SECOND, found, io);
    }

    /// Adds the names with the largest sums.
    fn top(
        &mut self,
        draft: &mut Draft,
        metric: &Metric,
        found: &[Found],
        measure: impl Fn(&Found) -> Option<f64>,
    ) {
        let mut sums: HashMap<&str, f64> = HashMap::new();
        for process in found {
            if let Some(value) = measure(process).filter(|value| 0.0 < *value) {
                *sums.entry(&process.name).or_default() += value;
            }
        }
        let mut sums: Vec<(&str, f64)> = sums.into_iter().collect();
        sums.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        let mut others = 0.0;
        for (name, value) in sums.into_iter().take(TOP) {
            let is_told = self.told.contains(name);
            if !is_told && NAMES_MAX <= self.told.len() {
                others += value;
                continue;
            }
            if !is_told {
                self.told.insert(name.to_owned());
            }
            draft.sample(metric, &[("name", name)], value);
        }
        if 0.0 < others {
            draft.sample(metric, &[("name", OTHER)], others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(number: u64, name: &str, cpu_ticks: u64, io_bytes: u64) -> Found {
        Found {
            key: (number, 7),
            name: name.to_owned(),
            resident_pages: number,
            taken: Taken {
                cpu_ticks,
                io_bytes: Some(io_bytes),
            },
        }
    }

    fn value(facts: &muster_model::Facts, metric: &str, name: &str) -> Option<f64> {
        facts
            .samples
            .iter()
            .find(|sample| sample.name == metric && sample.labels.get("name") == Some(name))
            .map(|sample| sample.value)
    }

    #[test]
    fn what_processes_of_one_name_took_in_the_period_is_summed() {
        let mut processes = Processes::default();
        let known = HashMap::from([((1, 7), found(1, "db", 1000, 500).taken)]);
        let now = [
            found(1, "db", 1500, 1500),
            found(2, "db", 100, 0),
            found(3, "idle", 0, 0),
        ];
        let mut draft = Draft::new("processes");
        processes.tell(&mut draft, &now, &known, Some(10.0), Some(4096));
        let facts = draft.finish();
        assert_eq!(value(&facts, "muster_process_cpu_ratio", "db"), Some(0.6));
        assert_eq!(
            value(&facts, "muster_process_io_bytes_per_second", "db"),
            Some(100.0)
        );
        assert_eq!(
            value(&facts, "muster_process_resident_bytes", "db"),
            Some(3.0 * 4096.0)
        );
        assert_eq!(value(&facts, "muster_process_cpu_ratio", "idle"), None);
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let known = HashMap::from([((1, 3), found(1, "old", 9000, 9000).taken)]);
        let mut draft = Draft::new("processes");
        Processes::default().tell(&mut draft, &[found(1, "new", 50, 0)], &known, Some(1.0), None);
        assert_eq!(
            value(&draft.finish(), "muster_process_cpu_ratio", "new"),
            Some(0.5)
        );
    }

    #[test]
    fn ever_new_names_end_as_one() {
        let mut processes = Processes::default();
        let mut names = HashSet::new();
        for round in 0..200_u64 {
            let now: Vec<Found> = (0..20)
                .map(|n| found(n + 1, &format!("job-{round}-{n}"), 100, 100))
                .collect();
            let mut draft = Draft::new("processes");
            processes.tell(&mut draft, &now, &HashMap::new(), Some(1.0), Some(1));
            let facts = draft.finish();
            assert!(facts.samples.len() <= 3 * (TOP + 1));
            names.extend(
                facts
                    .samples
                    .iter()
                    .filter_map(|sample| sample.labels.get("name").map(str::to_owned)),
            );
        }
        assert_eq!(names.len(), NAMES_MAX + 1);
        assert!(names.contains(OTHER));
    }
}
