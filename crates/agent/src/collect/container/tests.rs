//! Containers as their files show them: with and without lxcfs, of both versions of control groups.

use std::fs;

use camino::Utf8Path;
use muster_model::{Attribute, Facts};

use super::*;
use crate::collect::{Context, os};

const MIB: f64 = 1024.0 * 1024.0;
const MEMINFO: &str =
    "MemTotal: 16384000 kB\nMemAvailable: 8192000 kB\nSwapTotal: 2048000 kB\nSwapFree: 1024000 kB\n";
const STAT: &str = "cpu 4 0 0 4\ncpu0 1 0 0 1\ncpu1 1 0 0 1\ncpu2 1 0 0 1\ncpu3 1 0 0 1\nbtime 1700000000\n";
const MOUNT_V2: &str = "31 23 0:28 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n";

/// A server of four CPUs and 16 GB with these files besides.
struct Server(tempfile::TempDir);

impl Server {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let common = [("proc/meminfo", MEMINFO), ("proc/stat", STAT)];
        for (path, text) in common.iter().chain(files) {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    async fn collect(&self, descriptor: &Descriptor) -> Outcome {
        let host = Host::under(Utf8Path::from_path(self.0.path()).unwrap()).unwrap();
        let mut collector = (descriptor.build)(&Context::default());
        collector.collect(&host).await.unwrap()
    }

    async fn facts(&self) -> Facts {
        match self.collect(&DESCRIPTOR).await {
            Outcome::Facts(facts) => facts,
            Outcome::Absent { reason } => panic!("{reason}"),
        }
    }

    /// What the resource of the server says.
    async fn attribute(&self, name: &str) -> Option<Attribute> {
        match self.collect(&os::DESCRIPTOR).await {
            Outcome::Facts(facts) => facts.resources[0].attributes.get(name).cloned(),
            Outcome::Absent { reason } => panic!("{reason}"),
        }
    }
}

fn value(facts: &Facts, name: &str) -> Option<f64> {
    let found = facts.samples.iter().find(|sample| sample.name == name);
    found.map(|sample| sample.value)
}

fn kind(facts: &Facts) -> Option<&str> {
    let info = facts
        .samples
        .iter()
        .find(|sample| sample.name == MUSTER_SERVER_INFO.name)?;
    info.labels.get("virtualization")
}

#[tokio::test]
async fn a_machine_that_nothing_limits_is_no_container() {
    // The agent's own service is limited; that limits no server.
    let server = Server::with(&[
        ("proc/1/cgroup", "0::/init.scope\n"),
        ("proc/self/mountinfo", MOUNT_V2),
        ("proc/self/cgroup", "0::/system.slice/muster-agent.service\n"),
        (
            "sys/fs/cgroup/system.slice/muster-agent.service/memory.max",
            "67108864\n",
        ),
        ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 5000000\n"),
    ]);
    assert!(matches!(
        server.collect(&DESCRIPTOR).await,
        Outcome::Absent { .. }
    ));
    assert_eq!(server.attribute("virtualization").await, None);
    assert_eq!(server.attribute("cpu_count").await, Some(Attribute::Int(4)));
    assert_eq!(
        server.attribute("memory_bytes").await,
        Some(Attribute::Int(16_384_000 * 1024))
    );
}

#[tokio::test]
async fn docker_with_the_second_version_shows_its_limits() {
    let server = Server::with(&[
        (".dockerenv", ""),
        ("proc/1/cgroup", "0::/\n"),
        ("proc/self/mountinfo", MOUNT_V2),
        ("sys/fs/cgroup/memory.max", "536870912\n"),
        ("sys/fs/cgroup/memory.current", "209715200\n"),
        (
            "sys/fs/cgroup/memory.stat",
            "anon 1\nfile 2\ninactive_file 104857600\n",
        ),
        ("sys/fs/cgroup/memory.swap.max", "0\n"),
        ("sys/fs/cgroup/memory.swap.current", "0\n"),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
        (
            "sys/fs/cgroup/cpu.stat",
            "usage_usec 5000000\nuser_usec 1\nthrottled_usec 250000\n",
        ),
        ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
    ]);
    let facts = server.facts().await;
    assert_eq!(kind(&facts), Some("docker"));
    for (name, wanted) in [
        ("muster_server_memory_total_bytes", 512.0 * MIB),
        ("muster_server_memory_limit_bytes", 512.0 * MIB),
        ("muster_server_memory_used_bytes", 100.0 * MIB),
        ("muster_server_memory_available_bytes", 412.0 * MIB),
        ("muster_server_swap_total_bytes", 0.0),
        ("muster_server_swap_free_bytes", 0.0),
        ("muster_server_cpu_limit", 1.5),
        ("muster_server_cpus", 1.5),
        ("muster_server_cpu_seconds_total", 5.0),
        ("muster_server_cpu_throttled_seconds_total", 0.25),
    ] {
        assert_eq!(value(&facts, name), Some(wanted), "{name}");
    }
    assert_eq!(server.attribute("cpu_count").await, Some(Attribute::Int(2)));
    assert_eq!(
        server.attribute("memory_bytes").await,
        Some(Attribute::Int(512 << 20))
    );
    assert_eq!(
        server.attribute("virtualization").await,
        Some(Attribute::Text("docker".to_owned()))
    );
}

#[tokio::test]
async fn docker_with_the_first_version_shows_its_limits() {
    let group = "/docker/0123abcd";
    let mount = |id: u32, controller: &str| {
        format!("{id} 31 0:{id} {group} /sys/fs/cgroup/{controller} ro - cgroup cgroup rw,{controller}\n")
    };
    let mounts = [mount(40, "memory"), mount(41, "cpu,cpuacct"), mount(42, "cpuset")].concat();
    let server = Server::with(&[
        ("proc/1/environ", "PATH=/bin\0container=docker\0"),
        (
            "proc/1/cgroup",
            &format!(
                "9:memory:{group}\n8:cpu,cpuacct:{group}\n7:cpuset:{group}\n1:name=systemd:{group}\n0::/\n"
            ),
        ),
        ("proc/self/mountinfo", &mounts),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "157286400\n"),
        ("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "402653184\n"),
        ("sys/fs/cgroup/memory/memory.memsw.usage_in_bytes", "167772160\n"),
        (
            "sys/fs/cgroup/memory/memory.stat",
            "inactive_file 1\ntotal_inactive_file 52428800\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "7000000000\n"),
        (
            "sys/fs/cgroup/cpu,cpuacct/cpu.stat",
            "nr_periods 0\nthrottled_time 500000000\n",
        ),
        ("sys/fs/cgroup/cpuset/cpuset.effective_cpus", "2-3\n"),
    ]);
    let facts = server.facts().await;
    assert_eq!(kind(&facts), Some("docker"));
    for (name, wanted) in [
        ("muster_server_memory_total_bytes", 256.0 * MIB),
        ("muster_server_memory_used_bytes", 100.0 * MIB),
        ("muster_server_memory_available_bytes", 156.0 * MIB),
        ("muster_server_swap_total_bytes", 128.0 * MIB),
        ("muster_server_swap_free_bytes", 118.0 * MIB),
        ("muster_server_cpus", 2.0),
        ("muster_server_cpu_seconds_total", 7.0),
        ("muster_server_cpu_throttled_seconds_total", 0.5),
    ] {
        assert_eq!(value(&facts, name), Some(wanted), "{name}");
    }
    assert_eq!(value(&facts, "muster_server_cpu_limit"), None);
}

#[tokio::test]
async fn lxc_without_lxcfs_counts_a_limit_above_its_first_process() {
    let server = Server::with(&[
        ("run/systemd/container", "lxc\n"),
        ("proc/1/cgroup", "0::/init.scope\n"),
        ("proc/self/mountinfo", MOUNT_V2),
        ("sys/fs/cgroup/init.scope/memory.max", "max\n"),
        ("sys/fs/cgroup/init.scope/memory.current", "1048576\n"),
        ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/memory.current", "314572800\n"),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/init.scope/cpuset.cpus.effective", "1\n"),
    ]);
    let facts = server.facts().await;
    assert_eq!(kind(&facts), Some("lxc"));
    for (name, wanted) in [
        ("muster_server_memory_total_bytes", 1024.0 * MIB),
        ("muster_server_memory_available_bytes", 724.0 * MIB),
        ("muster_server_cpus", 1.0),
    ] {
        assert_eq!(value(&facts, name), Some(wanted), "{name}");
    }
    assert_eq!(value(&facts, "muster_server_cpu_limit"), None);
}

#[tokio::test]
async fn lxc_with_lxcfs_is_believed_what_proc_says() {
    let lxcfs = "50 22 0:40 / /proc/meminfo rw - fuse.lxcfs lxcfs rw\n";
    let server = Server::with(&[
        (
            "proc/meminfo",
            "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        ),
        ("proc/stat", "cpu 2 0 0 2\ncpu0 1 0 0 1\ncpu1 1 0 0 1\n"),
        ("proc/1/cgroup", "0::/.lxc\n"),
        ("proc/self/mountinfo", &format!("{MOUNT_V2}{lxcfs}")),
        ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/memory.current", "900000000\n"),
    ]);
    let facts = server.facts().await;
    assert_eq!(kind(&facts), Some("lxc"));
    for (name, wanted) in [
        ("muster_server_memory_total_bytes", 1024.0 * MIB),
        ("muster_server_memory_available_bytes", 512.0 * MIB),
        ("muster_server_cpus", 2.0),
    ] {
        assert_eq!(value(&facts, name), Some(wanted), "{name}");
    }
    assert_eq!(server.attribute("cpu_count").await, Some(Attribute::Int(2)));
}

#[tokio::test]
async fn nonsense_in_every_file_limits_nothing() {
    let server = Server::with(&[
        ("run/systemd/container", "\u{1b}[31m; rm -rf /\n"),
        ("proc/1/cgroup", "0::/../../..\n::\nx\n"),
        ("proc/self/mountinfo", &format!("{MOUNT_V2}garbage\n")),
        ("sys/fs/cgroup/memory.max", "-5\n"),
        ("sys/fs/cgroup/memory.current", "lots\n"),
        ("sys/fs/cgroup/cpu.max", "0 0\n"),
        ("sys/fs/cgroup/cpuset.cpus.effective", "9-1\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec\n"),
    ]);
    assert!(matches!(
        server.collect(&DESCRIPTOR).await,
        Outcome::Absent { .. }
    ));
    assert_eq!(
        server.attribute("memory_bytes").await,
        Some(Attribute::Int(16_384_000 * 1024))
    );
}
