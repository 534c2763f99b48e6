//! `/proc/stat`: CPU time per mode and the kernel's counters since boot.
//!
//! proc(5). CPU times are in ticks of 1/[`USER_HZ`] s. `guest` time is also contained in `user`, and
//! `guest_nice` in `nice`; nothing is subtracted here. Kernels before 2.6.11 print no `steal`, before 2.6.24 no
//! `guest`, before 2.6.33 no `guest_nice`: what is not printed reads 0.

use crate::problem::{Parsed, Problems, excerpt};

/// Ticks a second in which the kernel reports times to programs: 100 on every architecture this project builds for.
pub const USER_HZ: u64 = 100;

/// Time of one CPU, or of all together, in ticks since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CpuTicks {
    /// Programs at normal priority, guests included.
    pub user: u64,
    /// Programs at low priority, guests included.
    pub nice: u64,
    /// The kernel.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do, with disk I/O outstanding; unreliable, and can go backwards, as proc(5) says.
    pub iowait: u64,
    /// Hardware interrupts.
    pub irq: u64,
    /// Soft interrupts.
    pub softirq: u64,
    /// Taken by the hypervisor for others.
    pub steal: u64,
    /// Virtual CPUs of our guests; contained in `user`.
    pub guest: u64,
    /// Virtual CPUs of our low-priority guests; contained in `nice`.
    pub guest_nice: u64,
}

/// One CPU's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Cpu {
    /// The kernel's number of the CPU; numbers have holes where CPUs are offline.
    pub number: u32,
    /// Its time.
    pub ticks: CpuTicks,
}

/// One reading of `/proc/stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stat {
    /// All CPUs together.
    pub total: Option<CpuTicks>,
    /// Each CPU that is online.
    pub cpus: Vec<Cpu>,
    /// Time of boot, Unix seconds.
    pub boot_time_s: Option<u64>,
    /// Context switches since boot.
    pub context_switches: Option<u64>,
    /// Processes and threads made since boot.
    pub forks: Option<u64>,
    /// Processes that can run now.
    pub procs_running: Option<u64>,
    /// Processes waiting for I/O now.
    pub procs_blocked: Option<u64>,
    /// Interrupts served since boot.
    pub interrupts: Option<u64>,
    /// Soft interrupts served since boot.
    pub softirqs: Option<u64>,
}

/// Ticks as seconds.
pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / USER_HZ as f64
}

/// Reads every line whose key is known; keys of later kernels are passed over.
pub fn parse(text: &str) -> Parsed<Stat> {
    let mut problems = Problems::default();
    let mut stat = Stat::default();
    for (index, line) in text.lines().enumerate() {
        let Some((key, rest)) = line.split_once(char::is_whitespace) else {
            if !line.trim().is_empty() {
                problems.at_index(
                    index,
                    format!("expected a key and numbers, found \"{}\"", excerpt(line)),
                );
            }
            continue;
        };
        if apply(&mut stat, key, rest).is_none() {
            problems.at_index(index, format!("expected numbers, found \"{}\"", excerpt(line)));
        }
    }
    if stat.total.is_none() {
        problems.overall("no cpu line found");
    }
    problems.with(stat)
}

/// Takes one line over; `None` when its numbers are not numbers.
fn apply(stat: &mut Stat, key: &str, rest: &str) -> Option<()> {
    let first = || rest.split_ascii_whitespace().next()?.parse::<u64>().ok();
    match key {
        "btime" => stat.boot_time_s = Some(first()?),
        "ctxt" => stat.context_switches = Some(first()?),
        "processes" => stat.forks = Some(first()?),
        "procs_running" => stat.procs_running = Some(first()?),
        "procs_blocked" => stat.procs_blocked = Some(first()?),
        "intr" => stat.interrupts = Some(first()?),
        "softirq" => stat.softirqs = Some(first()?),
        "cpu" => stat.total = Some(parse_ticks(rest)?),
        _ => {
            if let Some(number) = key.strip_prefix("cpu") {
                stat.cpus.push(Cpu {
                    number: number.parse().ok()?,
                    ticks: parse_ticks(rest)?,
                });
            }
        }
    }
    Some(())
}

fn parse_ticks(rest: &str) -> Option<CpuTicks> {
    let numbers: Vec<u64> = rest
        .split_ascii_whitespace()
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    if numbers.len() < 4 {
        return None; // The oldest format has four; fewer is a cut line.
    }
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    Some(CpuTicks {
        user: at(0),
        nice: at(1),
        system: at(2),
        idle: at(3),
        iowait: at(4),
        irq: at(5),
        softirq: at(6),
        steal: at(7),
        guest: at(8),
        guest_nice: at(9),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_with_fewer_columns_read_zero_for_the_rest() {
        let parsed = parse("cpu  10 20 30 40\ncpu0 10 20 30 40\n");
        let total = parsed.value.total.unwrap();
        assert_eq!((total.idle, total.iowait, total.guest), (40, 0, 0));
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn offline_cpus_leave_holes_and_later_keys_are_passed_over() {
        let parsed = parse("cpu 1 1 1 1 1 1 1 1 1 1 77\ncpu0 1 1 1 1\ncpu3 1 1 1 1\nnew_counter 1 2 3\n");
        let numbers: Vec<u32> = parsed.value.cpus.iter().map(|cpu| cpu.number).collect();
        assert_eq!(numbers, [0, 3]);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn a_broken_line_is_located() {
        let parsed = parse("cpu 1 1 1 1\ncpu0 1 x 1 1\nctxt\nbtime 7\n");
        assert_eq!(parsed.value.boot_time_s, Some(7));
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3)]);
    }

    #[test]
    fn ticks_are_hundredths_of_a_second() {
        assert_eq!(seconds(250), 2.5);
    }
}
