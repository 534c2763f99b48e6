//! Control groups: which groups a process is in, and the small files that say what a group may use.
//!
//! cgroups(7), Documentation/admin-guide/cgroup-v2.rst and, of the first version, cgroup-v1/memory.rst and
//! scheduler/sched-bwc.rst. Sizes are bytes, times what the file's name says.

use crate::problem::{Parsed, Problems, excerpt};

/// Most entries of a list of CPUs that are looked at; the kernel's own limit is 8192 CPUs.
const CPU_RANGES_MAX: usize = 8192;

/// One line of `/proc/PID/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Membership {
    /// The controllers of a hierarchy of the first version; none for the second version's only hierarchy.
    pub controllers: Vec<String>,
    /// The group, as seen from the reader's cgroup namespace.
    pub path: String,
}

/// Reads `/proc/PID/cgroup`.
pub fn parse_memberships(text: &str) -> Parsed<Vec<Membership>> {
    let mut problems = Problems::default();
    let mut memberships = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut fields = line.splitn(3, ':');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(_), Some(controllers), Some(path)) if path.starts_with('/') => {
                let names = controllers.split(',').filter(|name| !name.is_empty());
                memberships.push(Membership {
                    controllers: names.map(str::to_owned).collect(),
                    path: path.to_owned(),
                });
            }
            _ => problems.at_index(
                index,
                format!(
                    "expected a number, controllers and a path, found \"{}\"",
                    excerpt(line)
                ),
            ),
        }
    }
    problems.with(memberships)
}

/// CPUs' worth of time that `cpu.max` allows: `200000 100000` is 2, `max 100000` is no limit.
#[must_use]
pub fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period = match words.next() {
        Some(word) => word.parse().ok()?,
        None => 100_000,
    };
    cpus_of(i64::try_from(quota).ok()?, period)
}

/// The same of `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a negative quota is no limit.
#[must_use]
pub fn cpus_of(quota_us: i64, period_us: u64) -> Option<f64> {
    (0 < quota_us && 0 < period_us).then(|| quota_us as f64 / period_us as f64)
}

/// How many CPUs a list such as `0-3,8` names; `None` if it is none, or empty.
#[must_use]
pub fn parse_cpu_count(text: &str) -> Option<u64> {
    let mut count = 0_u64;
    for part in text.trim().split(',').take(CPU_RANGES_MAX) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?),
            None => {
                let only = part.parse::<u32>().ok()?;
                (only, only)
            }
        };
        count = count.checked_add(u64::from(last.checked_sub(first)?) + 1)?;
    }
    Some(count)
}

/// A size that may be `max`, which is no limit.
#[must_use]
pub fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_and_odd_lines_are_told_apart() {
        let parsed = parse_memberships("12:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/init.scope\nnonsense\n");
        let [first, named, unified] = parsed.value.as_slice() else {
            panic!("{:?}", parsed.value)
        };
        assert_eq!(
            (first.controllers.as_slice(), first.path.as_str()),
            (["cpu".to_owned(), "cpuacct".to_owned()].as_slice(), "/a:b")
        );
        assert_eq!(named.controllers, ["name=systemd"]);
        assert!(unified.controllers.is_empty());
        assert_eq!(parsed.problems[0].line, Some(4));
    }

    #[test]
    fn quotas_are_cpus_and_max_is_none() {
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("50000"), Some(0.5));
        for none in ["max 100000", "", "0 100000", "100000 0", "x 1"] {
            assert_eq!(parse_cpu_max(none), None, "{none}");
        }
        assert_eq!(cpus_of(-1, 100_000), None);
        assert_eq!(cpus_of(200_000, 100_000), Some(2.0));
    }

    #[test]
    fn lists_of_cpus_are_counted_and_nonsense_is_not() {
        assert_eq!(parse_cpu_count("0-3,8\n"), Some(5));
        assert_eq!(parse_cpu_count("7"), Some(1));
        for none in ["", "3-1", "a", "1-", "-1", "0-1,"] {
            assert_eq!(parse_cpu_count(none), None, "{none}");
        }
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("1048576\n"), Some(1_048_576));
    }
}
