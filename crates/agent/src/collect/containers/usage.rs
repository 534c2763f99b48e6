//! What a container uses, from its control groups (of either version) and its network, under cAdvisor's names.
//!
//! The groups are found by the container's first process, as the kernel itself says where that is; a process that is not
//! the container's any more is not taken for it. Files: admin-guide/cgroup-v1/*.rst and cgroup-v2.rst of the kernel.

use muster_catalogue::*;
use muster_parse::mounts::Mount;
use muster_parse::{cgroup, net_dev, pairs, pressure};

use crate::collect::container::Hierarchy;
use crate::host::Files;

/// The unit of `cpuacct.stat`: USER_HZ, which is 100 on every architecture that Linux runs on nowadays.
const TICKS_PER_S: f64 = 100.0;
/// Larger numbers mean that there is no limit: the first version writes the largest count of whole pages.
const UNLIMITED: u64 = 1 << 62;
/// Most devices and interfaces of a container that are told of.
const PARTS_MAX: usize = 64;

/// A container's first process, and how to tell that it is still that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) pid: u32,
    /// It has no network of its own but another container's.
    pub(super) shares_network: bool,
}

/// A number, with labels besides the container's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) metric: Metric,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
}

/// What was found of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Usage {
    /// Its group, which cAdvisor calls its id.
    pub(super) group: String,
    pub(super) readings: Vec<Reading>,
    /// Memory it works with, and how much it may use.
    pub(super) working_set_bytes: Option<f64>,
    pub(super) limit_bytes: Option<f64>,
}

impl Usage {
    fn add(&mut self, metric: Metric, value: Option<f64>) {
        self.add_with(metric, &[], value);
    }

    pub(super) fn add_with(&mut self, metric: Metric, labels: &[(&'static str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
            self.readings.push(Reading {
                metric,
                labels: labels.collect(),
                value,
            });
        }
    }
}

/// Reads a container's groups and network; `None` where they can't be seen, or the process is not the container's.
pub(super) fn read(files: &Files, subject: &Subject, mounts: &[Mount]) -> Option<Usage> {
    let text = files.text(&format!("/proc/{}/cgroup", subject.pid)).ok()??;
    let memberships = cgroup::parse_memberships(&text).value;
    let group = memberships
        .iter()
        .map(|found| &found.path)
        .find(|path| path.contains(&subject.id))?;
    let mut usage = Usage {
        group: group.clone(),
        ..Usage::default()
    };
    let of = |controller: &str| Hierarchy::find(controller, &memberships, mounts);
    if let Some(folder) = Folder::of(files, of("cpuacct")) {
        cpu_time(&folder, &mut usage);
    }
    if let Some(folder) = Folder::of(files, of("cpu")) {
        cpu_limits(&folder, &mut usage);
    }
    if let Some(folder) = Folder::of(files, of("memory")) {
        memory(&folder, &mut usage);
    }
    if let Some(folder) = Folder::of(files, of("blkio")) {
        input_output(&folder, &mut usage);
    }
    if let Some(folder) = Folder::of(files, of("pids")) {
        usage.add(CONTAINER_THREADS, folder.number("pids.current"));
        usage.add(CONTAINER_THREADS_MAX, folder.limit("pids.max"));
    }
    if !subject.shares_network {
        network(files, subject.pid, &mut usage);
    }
    (!usage.readings.is_empty()).then_some(usage)
}

/// A group's folder.
struct Folder<'a> {
    files: &'a Files,
    path: String,
    is_second: bool,
}

impl<'a> Folder<'a> {
    fn of(files: &'a Files, hierarchy: Hierarchy) -> Option<Self> {
        Some(Self {
            files,
            is_second: hierarchy.is_second,
            path: hierarchy.folders.into_iter().next()?,
        })
    }

    fn word(&self, name: &str) -> Option<String> {
        self.files.word(&format!("{}/{name}", self.path))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.files.text(&format!("{}/{name}", self.path)).ok()?
    }

    fn number(&self, name: &str) -> Option<f64> {
        Some(self.word(name)?.parse::<u64>().ok()? as f64)
    }

    /// A limit; 0 without one, as cAdvisor has it.
    fn limit(&self, name: &str) -> Option<f64> {
        let word = self.word(name)?;
        if word == "max" {
            return Some(0.0);
        }
        let limit: u64 = word.parse().ok()?;
        Some(if UNLIMITED <= limit { 0.0 } else { limit as f64 })
    }

    /// Numbers of a file with a name and a number on each line.
    fn table(&self, name: &str) -> Table {
        let text = self.text(name).unwrap_or_default();
        Table(pairs::parse(&text, |_| true).value)
    }
}

struct Table(Vec<pairs::Pair>);

impl Table {
    fn get(&self, name: &str) -> Option<f64> {
        let pair = self.0.iter().find(|pair| pair.name == name)?;
        Some(pair.value as f64)
    }

    fn scaled(&self, name: &str, scale: f64) -> Option<f64> {
        Some(self.get(name)? * scale)
    }
}

fn cpu_time(folder: &Folder<'_>, usage: &mut Usage) {
    let (total, user, system) = if folder.is_second {
        let stat = folder.table("cpu.stat");
        let seconds = |name| stat.scaled(name, 1e-6);
        (
            seconds("usage_usec"),
            seconds("user_usec"),
            seconds("system_usec"),
        )
    } else {
        let stat = folder.table("cpuacct.stat");
        let seconds = |name| stat.scaled(name, 1.0 / TICKS_PER_S);
        let total = folder.number("cpuacct.usage").map(|ns| ns / 1e9);
        (total, seconds("user"), seconds("system"))
    };
    usage.add_with(CONTAINER_CPU_USAGE_SECONDS_TOTAL, &[("cpu", "total")], total);
    usage.add(CONTAINER_CPU_USER_SECONDS_TOTAL, user);
    usage.add(CONTAINER_CPU_SYSTEM_SECONDS_TOTAL, system);
}

fn cpu_limits(folder: &Folder<'_>, usage: &mut Usage) {
    let stat = folder.table("cpu.stat");
    let (throttled, burst, quota, period, shares) = if folder.is_second {
        let max = folder.word("cpu.max").unwrap_or_default();
        let mut words = max.split_ascii_whitespace().map(|word| word.parse::<f64>().ok());
        let (quota, period) = (words.next().flatten(), words.next().flatten());
        // How runc makes weights of shares, the other way round.
        let shares = folder
            .number("cpu.weight")
            .map(|weight| 2.0 + (weight - 1.0) * 262_142.0 / 9_999.0);
        (
            stat.scaled("throttled_usec", 1e-6),
            stat.scaled("burst_usec", 1e-6),
            quota,
            period,
            shares.map(f64::round),
        )
    } else {
        let quota: Option<f64> = folder.word("cpu.cfs_quota_us").and_then(|word| word.parse().ok());
        (
            stat.scaled("throttled_time", 1e-9),
            stat.scaled("burst_time", 1e-9),
            quota,
            folder.number("cpu.cfs_period_us"),
            folder.number("cpu.shares"),
        )
    };
    let quota = quota.filter(|quota| 0.0 < *quota);
    usage.add(CONTAINER_SPEC_CPU_SHARES, shares);
    usage.add(CONTAINER_SPEC_CPU_QUOTA, quota);
    usage.add(CONTAINER_SPEC_CPU_PERIOD, period);
    // Without a quota nothing is rationed, and cAdvisor leaves these out.
    if quota.is_some() {
        usage.add(CONTAINER_CPU_CFS_PERIODS_TOTAL, stat.get("nr_periods"));
        usage.add(
            CONTAINER_CPU_CFS_THROTTLED_PERIODS_TOTAL,
            stat.get("nr_throttled"),
        );
        usage.add(CONTAINER_CPU_CFS_THROTTLED_SECONDS_TOTAL, throttled);
        usage.add(CONTAINER_CPU_CFS_BURST_PERIODS_TOTAL, stat.get("nr_bursts"));
        usage.add(CONTAINER_CPU_CFS_BURST_SECONDS_TOTAL, burst);
    }
    if folder.is_second {
        pressures(folder, usage);
    }
}

fn pressures(folder: &Folder<'_>, usage: &mut Usage) {
    for (file, waiting, stalled) in [
        (
            "cpu.pressure",
            CONTAINER_PRESSURE_CPU_WAITING_SECONDS_TOTAL,
            CONTAINER_PRESSURE_CPU_STALLED_SECONDS_TOTAL,
        ),
        (
            "memory.pressure",
            CONTAINER_PRESSURE_MEMORY_WAITING_SECONDS_TOTAL,
            CONTAINER_PRESSURE_MEMORY_STALLED_SECONDS_TOTAL,
        ),
        (
            "io.pressure",
            CONTAINER_PRESSURE_IO_WAITING_SECONDS_TOTAL,
            CONTAINER_PRESSURE_IO_STALLED_SECONDS_TOTAL,
        ),
    ] {
        let Some(text) = folder.text(file) else { continue };
        let found = pressure::parse(&text).value;
        usage.add(waiting, found.some_us.map(|us| us as f64 / 1e6));
        usage.add(stalled, found.full_us.map(|us| us as f64 / 1e6));
    }
}

fn memory(folder: &Folder<'_>, usage: &mut Usage) {
    let stat = folder.table("memory.stat");
    // The first version counts groups below only under these names.
    let of = |first: &str, second: &str| match folder.is_second {
        true => stat.get(second),
        false => stat.get(&format!("total_{first}")).or_else(|| stat.get(first)),
    };
    let used = folder.number(if folder.is_second {
        "memory.current"
    } else {
        "memory.usage_in_bytes"
    });
    let inactive = of("inactive_file", "inactive_file");
    let working_set = used.map(|used| (used - inactive.unwrap_or(0.0)).max(0.0));
    usage.add(CONTAINER_MEMORY_USAGE_BYTES, used);
    usage.add(CONTAINER_MEMORY_WORKING_SET_BYTES, working_set);
    usage.add(CONTAINER_MEMORY_RSS, of("rss", "anon"));
    usage.add(CONTAINER_MEMORY_CACHE, of("cache", "file"));
    usage.add(CONTAINER_MEMORY_MAPPED_FILE, of("mapped_file", "file_mapped"));
    usage.add(
        CONTAINER_MEMORY_TOTAL_ACTIVE_FILE_BYTES,
        of("active_file", "active_file"),
    );
    usage.add(CONTAINER_MEMORY_TOTAL_INACTIVE_FILE_BYTES, inactive);
    for (kind, name) in [("pgfault", "pgfault"), ("pgmajfault", "pgmajfault")] {
        let labels = [("failure_type", kind), ("scope", "hierarchy")];
        usage.add_with(CONTAINER_MEMORY_FAILURES_TOTAL, &labels, of(name, name));
    }
    let limit = match folder.is_second {
        true => memory_second(folder, &stat, usage),
        false => memory_first(folder, &stat, usage),
    };
    usage.working_set_bytes = working_set;
    usage.limit_bytes = limit.filter(|limit| 0.0 < *limit);
}

fn memory_first(folder: &Folder<'_>, stat: &Table, usage: &mut Usage) -> Option<f64> {
    let limit = folder.limit("memory.limit_in_bytes");
    usage.add(
        CONTAINER_MEMORY_SWAP,
        stat.get("total_swap").or_else(|| stat.get("swap")),
    );
    usage.add(
        CONTAINER_MEMORY_MAX_USAGE_BYTES,
        folder.number("memory.max_usage_in_bytes"),
    );
    usage.add(CONTAINER_MEMORY_FAILCNT, folder.number("memory.failcnt"));
    usage.add(
        CONTAINER_MEMORY_KERNEL_USAGE,
        folder.number("memory.kmem.usage_in_bytes"),
    );
    usage.add(
        CONTAINER_OOM_EVENTS_TOTAL,
        folder.table("memory.oom_control").get("oom_kill"),
    );
    usage.add(CONTAINER_SPEC_MEMORY_LIMIT_BYTES, limit);
    usage.add(
        CONTAINER_SPEC_MEMORY_RESERVATION_LIMIT_BYTES,
        folder.limit("memory.soft_limit_in_bytes"),
    );
    usage.add(
        CONTAINER_SPEC_MEMORY_SWAP_LIMIT_BYTES,
        folder.limit("memory.memsw.limit_in_bytes"),
    );
    limit
}

fn memory_second(folder: &Folder<'_>, stat: &Table, usage: &mut Usage) -> Option<f64> {
    let limit = folder.limit("memory.max");
    let events = folder.table("memory.events");
    usage.add(CONTAINER_MEMORY_SWAP, folder.number("memory.swap.current"));
    usage.add(CONTAINER_MEMORY_MAX_USAGE_BYTES, folder.number("memory.peak"));
    usage.add(CONTAINER_MEMORY_FAILCNT, events.get("max"));
    usage.add(CONTAINER_MEMORY_KERNEL_USAGE, stat.get("kernel"));
    usage.add(CONTAINER_MEMORY_EVENTS_HIGH_TOTAL, events.get("high"));
    usage.add(CONTAINER_MEMORY_EVENTS_MAX_TOTAL, events.get("max"));
    usage.add(CONTAINER_OOM_EVENTS_TOTAL, events.get("oom_kill"));
    usage.add(CONTAINER_SPEC_MEMORY_LIMIT_BYTES, limit);
    usage.add(
        CONTAINER_SPEC_MEMORY_RESERVATION_LIMIT_BYTES,
        folder.limit("memory.low"),
    );
    // The second version limits swap for itself; the stock name means both.
    let swap = folder.limit("memory.swap.max").filter(|swap| 0.0 < *swap);
    let both = limit
        .filter(|limit| 0.0 < *limit)
        .zip(swap)
        .map(|(memory, swap)| memory + swap);
    usage.add(CONTAINER_SPEC_MEMORY_SWAP_LIMIT_BYTES, Some(both.unwrap_or(0.0)));
    limit
}

/// Bytes and counts of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Transfers {
    read_bytes: f64,
    write_bytes: f64,
    reads: f64,
    writes: f64,
}

/// Of each device by its numbers, at most [`PARTS_MAX`].
#[derive(Default)]
struct Devices(Vec<(String, Transfers)>);

impl Devices {
    fn at(&mut self, device: &str, change: impl FnOnce(&mut Transfers)) {
        let known = self.0.iter().position(|(known, _)| known == device);
        let index = match known {
            Some(index) => index,
            None if PARTS_MAX <= self.0.len() => return,
            None => {
                self.0.push((device.to_owned(), Transfers::default()));
                self.0.len() - 1
            }
        };
        change(&mut self.0[index].1);
    }

    /// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`
    fn read_second(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(device) = words.next() else { continue };
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                let Ok(value) = value.parse::<u64>() else { continue };
                self.at(device, |found| match name {
                    "rbytes" => found.read_bytes = value as f64,
                    "wbytes" => found.write_bytes = value as f64,
                    "rios" => found.reads = value as f64,
                    "wios" => found.writes = value as f64,
                    _ => {}
                });
            }
        }
    }

    /// `8:0 Read 1`
    fn read_first(&mut self, text: &str, is_bytes: bool) {
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [device, operation, value] = words[..] else {
                continue;
            };
            let Ok(value) = value.parse::<u64>() else { continue };
            self.at(device, |found| match (operation, is_bytes) {
                ("Read", true) => found.read_bytes = value as f64,
                ("Write", true) => found.write_bytes = value as f64,
                ("Read", false) => found.reads = value as f64,
                ("Write", false) => found.writes = value as f64,
                _ => {}
            });
        }
    }
}

fn input_output(folder: &Folder<'_>, usage: &mut Usage) {
    let mut devices = Devices::default();
    let text = |file| folder.text(file).unwrap_or_default();
    if folder.is_second {
        devices.read_second(&text("io.stat"));
    } else {
        devices.read_first(&text("blkio.throttle.io_service_bytes"), true);
        devices.read_first(&text("blkio.throttle.io_serviced"), false);
    }
    for (numbers, found) in devices.0 {
        transfers(folder, &numbers, found, usage);
    }
}

fn transfers(folder: &Folder<'_>, numbers: &str, found: Transfers, usage: &mut Usage) {
    let Some((major, minor)) = numbers.split_once(':') else {
        return;
    };
    let link = folder.files.link(&format!("/sys/dev/block/{numbers}"));
    let name = link.as_ref().and_then(|link| link.file_name());
    let device = format!("/dev/{}", name.unwrap_or(numbers));
    let of_device = [("device", device.as_str())];
    for (metric, value) in [
        (CONTAINER_FS_READS_BYTES_TOTAL, found.read_bytes),
        (CONTAINER_FS_WRITES_BYTES_TOTAL, found.write_bytes),
        (CONTAINER_FS_READS_TOTAL, found.reads),
        (CONTAINER_FS_WRITES_TOTAL, found.writes),
    ] {
        usage.add_with(metric, &of_device, Some(value));
    }
    for (operation, bytes) in [("Read", found.read_bytes), ("Write", found.write_bytes)] {
        let labels = [
            ("device", device.as_str()),
            ("major", major),
            ("minor", minor),
            ("operation", operation),
        ];
        usage.add_with(CONTAINER_BLKIO_DEVICE_USAGE_TOTAL, &labels, Some(bytes));
    }
}

fn network(files: &Files, pid: u32, usage: &mut Usage) {
    let Ok(Some(text)) = files.text(&format!("/proc/{pid}/net/dev")) else {
        return;
    };
    let interfaces = net_dev::parse(&text).value;
    for interface in interfaces
        .iter()
        .filter(|found| found.name != "lo")
        .take(PARTS_MAX)
    {
        let labels = [("interface", interface.name.as_str())];
        let metrics = [
            (CONTAINER_NETWORK_RECEIVE_BYTES_TOTAL, interface.received[0]),
            (CONTAINER_NETWORK_RECEIVE_PACKETS_TOTAL, interface.received[1]),
            (CONTAINER_NETWORK_RECEIVE_ERRORS_TOTAL, interface.received[2]),
            (
                CONTAINER_NETWORK_RECEIVE_PACKETS_DROPPED_TOTAL,
                interface.received[3],
            ),
            (CONTAINER_NETWORK_TRANSMIT_BYTES_TOTAL, interface.sent[0]),
            (CONTAINER_NETWORK_TRANSMIT_PACKETS_TOTAL, interface.sent[1]),
            (CONTAINER_NETWORK_TRANSMIT_ERRORS_TOTAL, interface.sent[2]),
            (
                CONTAINER_NETWORK_TRANSMIT_PACKETS_DROPPED_TOTAL,
                interface.sent[3],
            ),
        ];
        for (metric, value) in metrics {
            usage.add_with(metric, &labels, Some(value as f64));
        }
    }
}
