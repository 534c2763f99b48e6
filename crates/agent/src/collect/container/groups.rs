//! The control groups that the whole server is in, of either version, and what they allow it.
//!
//! They are those of its first process: what limits a single service, such as the agent's own, limits no server. A limit
//! counts wherever it is set between that process's group and the top of what is mounted; the smallest holds.

use muster_parse::cgroup::{self, Membership};
use muster_parse::mounts::{self, Mount};
use muster_parse::pairs;

use crate::host::Files;

/// Groups are looked at up to this far above the first process.
const DEPTH_MAX: usize = 16;

/// Folders of the groups by what they control, the first process's own first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    memory: Hierarchy,
    cpu: Hierarchy,
    cpuset: Hierarchy,
    cpuacct: Hierarchy,
}

/// Where one controller's groups are, from one group upwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) is_second: bool,
    pub(crate) folders: Vec<String>,
    /// Whether the top of the folders is the top of all groups, whose use is everybody's.
    is_whole: bool,
}

/// What the groups allow, and what is used of it. Sizes are bytes; what is not limited or not known is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: Option<u64>,
    /// Without what files keep in memory that nobody has used for long, as the kernel can take it back at once.
    pub(crate) memory_used_bytes: Option<u64>,
    pub(crate) swap_bytes: Option<u64>,
    pub(crate) swap_used_bytes: Option<u64>,
    /// CPUs' worth of time.
    pub(crate) cpu_limit: Option<f64>,
    /// CPUs that may be run on.
    pub(crate) cpus_allowed: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) throttled_seconds: Option<f64>,
}

impl Groups {
    /// Looks for the groups; none where they cannot be seen.
    pub(crate) fn find(files: &Files) -> Self {
        let text = |path| files.text(path).ok().flatten().unwrap_or_default();
        let memberships = cgroup::parse_memberships(&text("/proc/1/cgroup")).value;
        let mounts = mounts::parse_mountinfo(&text("/proc/self/mountinfo")).value;
        let of = |controller: &str| Hierarchy::find(controller, &memberships, &mounts);
        Self {
            memory: of("memory"),
            cpu: of("cpu"),
            cpuset: of("cpuset"),
            cpuacct: of("cpuacct"),
        }
    }

    /// Reads all of them.
    pub(crate) fn read(&self, files: &Files) -> Limits {
        let mut limits = self.read_allowed(files);
        self.memory_use(files, &mut limits);
        self.time(files, &mut limits);
        limits
    }

    /// Reads what they allow of memory and processors, and not what is used of it.
    pub(crate) fn read_allowed(&self, files: &Files) -> Limits {
        let mut limits = Limits {
            memory_bytes: self.memory_limit(files).map(|(limit, _)| limit),
            ..Limits::default()
        };
        limits.cpu_limit = self
            .cpu
            .folders
            .iter()
            .filter_map(|folder| cpu_limit(files, folder, self.cpu.is_second))
            .reduce(f64::min);
        limits.cpus_allowed = self.cpuset.folders.first().and_then(|folder| {
            ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"]
                .iter()
                .find_map(|name| cgroup::parse_cpu_count(&files.word(&format!("{folder}/{name}"))?))
        });
        limits
    }

    /// The smallest limit of memory, and where it is set.
    fn memory_limit(&self, files: &Files) -> Option<(u64, &str)> {
        let name = match self.memory.is_second {
            true => "memory.max",
            false => "memory.limit_in_bytes",
        };
        let limited = self
            .memory
            .folders
            .iter()
            .filter_map(|folder| Some((size(files, folder, name)?, folder.as_str())));
        limited.min_by_key(|(limit, _)| *limit)
    }

    fn memory_use(&self, files: &Files, limits: &mut Limits) {
        let names = if self.memory.is_second {
            ["memory.current", "memory.swap.max", "memory.swap.current"]
        } else {
            [
                "memory.usage_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.memsw.usage_in_bytes",
            ]
        };
        let limited = self.memory_limit(files).map(|(_, folder)| folder);
        let Some(folder) = limited.or(self.memory.top_of_server()) else {
            return;
        };
        let usage = size(files, folder, names[0]);
        let inactive = inactive_file_bytes(files, folder, self.memory.is_second).unwrap_or(0);
        limits.memory_used_bytes = usage.map(|usage| usage.saturating_sub(inactive));
        let (swap, swap_used) = (size(files, folder, names[1]), size(files, folder, names[2]));
        if self.memory.is_second {
            (limits.swap_bytes, limits.swap_used_bytes) = (swap, swap_used);
        } else {
            // The first version counts memory and swap together.
            let less = |both: Option<u64>, memory: Option<u64>| Some(both?.saturating_sub(memory?));
            limits.swap_bytes = less(swap, limits.memory_bytes);
            limits.swap_used_bytes = less(swap_used, usage);
        }
    }

    fn time(&self, files: &Files, limits: &mut Limits) {
        if let Some(folder) = self.cpu.top_of_server() {
            let text = files.text(&format!("{folder}/cpu.stat")).ok().flatten();
            let names = ["usage_usec", "throttled_usec", "throttled_time"];
            for pair in pairs::parse(&text.unwrap_or_default(), |name| names.contains(&name)).value {
                let value = pair.value as f64;
                match pair.name.as_str() {
                    "usage_usec" => limits.cpu_seconds = Some(value / 1e6),
                    "throttled_usec" => limits.throttled_seconds = Some(value / 1e6),
                    _ => limits.throttled_seconds = Some(value / 1e9),
                }
            }
        }
        if let Some(folder) = self.cpuacct.top_of_server().filter(|_| !self.cpuacct.is_second) {
            let used_ns = files.number(&format!("{folder}/cpuacct.usage"));
            limits.cpu_seconds = used_ns.map(|used| used as f64 / 1e9);
        }
    }
}

impl Hierarchy {
    /// A hierarchy of the first version that has the controller, else that of the second version.
    pub(crate) fn find(controller: &str, memberships: &[Membership], mounts: &[Mount]) -> Self {
        let has = |names: &[String]| names.iter().any(|name| name == controller);
        let first = || {
            let mount = mounts
                .iter()
                .find(|mount| mount.fs_type == "cgroup" && has(&mount.super_options))?;
            let membership = memberships.iter().find(|found| has(&found.controllers))?;
            Some(Self::below(mount, membership, false))
        };
        let second = || {
            let mount = mounts.iter().find(|mount| mount.fs_type == "cgroup2")?;
            let membership = memberships.iter().find(|found| found.controllers.is_empty())?;
            Some(Self::below(mount, membership, true))
        };
        first().or_else(second).unwrap_or_default()
    }

    /// The folders from the group up to where the hierarchy is mounted.
    fn below(mount: &Mount, membership: &Membership, is_second: bool) -> Self {
        let root = mount.detail.as_ref().map_or("/", |detail| detail.root.as_str());
        let top = mount.mount_point.trim_end_matches('/');
        // A group outside of what is mounted cannot be seen; the top is the nearest that can.
        let path = match root {
            "/" => membership.path.as_str(),
            root => match membership.path.strip_prefix(root) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
                _ => "",
            },
        };
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != "..")
            .take(DEPTH_MAX)
            .collect();
        let folders = (0..=parts.len()).rev().map(|depth| {
            let mut folder = top.to_owned();
            for part in &parts[..depth] {
                folder.push('/');
                folder.push_str(part);
            }
            folder
        });
        Self {
            is_second,
            folders: folders.collect(),
            is_whole: root == "/",
        }
    }

    /// The folder whose use is the server's. The top of a whole hierarchy may be the machine's, so below one it is the
    /// highest folder that is not the top; with a namespace of its own the top itself is the server's.
    fn top_of_server(&self) -> Option<&str> {
        let count = self.folders.len();
        let index = if self.is_whole && 1 < count {
            count - 2
        } else {
            count.checked_sub(1)?
        };
        self.folders.get(index).map(String::as_str)
    }
}

/// The bytes in a file; none where that is no limit.
fn size(files: &Files, folder: &str, name: &str) -> Option<u64> {
    let word = files.word(&format!("{folder}/{name}"))?;
    cgroup::parse_limit(&word).filter(|size| !is_unlimited(*size))
}

fn cpu_limit(files: &Files, folder: &str, is_second: bool) -> Option<f64> {
    if is_second {
        return cgroup::parse_cpu_max(&files.word(&format!("{folder}/cpu.max"))?);
    }
    let quota_us = files.word(&format!("{folder}/cpu.cfs_quota_us"))?.parse().ok()?;
    cgroup::cpus_of(quota_us, files.number(&format!("{folder}/cpu.cfs_period_us"))?)
}

fn inactive_file_bytes(files: &Files, folder: &str, is_second: bool) -> Option<u64> {
    let text = files.text(&format!("{folder}/memory.stat")).ok()??;
    let wanted = if is_second {
        "inactive_file"
    } else {
        "total_inactive_file"
    };
    let found = pairs::parse(&text, |name| name == wanted).value;
    found.first().map(|pair| pair.value)
}

/// The first version writes the largest number of whole pages for no limit.
const fn is_unlimited(bytes: u64) -> bool {
    const PAGE_BYTES_MAX: u64 = 65_536;
    i64::MAX as u64 - PAGE_BYTES_MAX < bytes
}
