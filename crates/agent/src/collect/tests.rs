//! What every collector must survive: nothing there, nonsense, half a file, a read that hangs.

use std::os::unix::fs::FileTypeExt as _;

use camino::Utf8Path;
use muster_model::Health;

use super::runner::Runner;
use super::*;

async fn run(descriptor: &'static Descriptor, host: &Host) -> Tick {
    Runner::new(descriptor, host.clone(), Context::default())
        .run_once(descriptor.interval)
        .await
}

fn host_under(folder: &tempfile::TempDir) -> Host {
    Host::under(Utf8Path::from_path(folder.path()).unwrap()).unwrap()
}

const INPUTS: [&str; 34] = [
    "proc/stat",
    "proc/swaps",
    "proc/meminfo",
    "proc/loadavg",
    "proc/diskstats",
    "proc/mdstat",
    "proc/interrupts",
    "proc/1/cgroup",
    "run/systemd/container",
    "proc/net/arp",
    "proc/net/rpc/nfs",
    "proc/net/rpc/nfsd",
    "proc/net/dev",
    "proc/net/netstat",
    "proc/net/snmp",
    "proc/net/snmp6",
    "proc/net/sockstat",
    "proc/net/softnet_stat",
    "proc/net/stat/nf_conntrack",
    "proc/net/tcp",
    "proc/net/udp",
    "proc/pressure/cpu",
    "proc/schedstat",
    "proc/self/mountinfo",
    "sys/class/hwmon/hwmon0/temp1_input",
    "sys/class/thermal/thermal_zone0/temp",
    "sys/devices/system/edac/mc/mc0/ce_count",
    "sys/fs/xfs/sda1/stats/stats",
    "proc/sys/fs/file-nr",
    "proc/sys/kernel/random/entropy_avail",
    "etc/localtime",
    "var/lib/prometheus/node-exporter/x.prom",
    "etc/os-release",
    "muster/run/smartctl/scan",
];

#[test]
fn the_registry_is_sorted_and_documented() {
    assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    for descriptor in ALL {
        assert!(!descriptor.summary.is_empty(), "{}", descriptor.name);
        assert!(
            descriptor.interval_min <= descriptor.interval,
            "{}",
            descriptor.name
        );
        assert!(Duration::ZERO < descriptor.timeout, "{}", descriptor.name);
        assert!(Descriptor::find(descriptor.name).is_some());
    }
}

#[tokio::test]
async fn an_empty_server_fails_no_collector() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_under(&folder);
    for descriptor in ALL {
        let tick = run(descriptor, &host).await;
        assert!(tick.outcome.is_success(), "{}: {}", descriptor.name, tick.message);
        if tick.outcome == RunOutcome::Absent {
            assert!(!tick.message.is_empty(), "{}", descriptor.name);
        }
    }
}

#[tokio::test]
async fn nonsense_is_told_as_problems_and_makes_nothing_healthy() {
    let folder = tempfile::tempdir().unwrap();
    for path in INPUTS {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"\xff\xfe nonsense\n\n= = =\n").unwrap();
    }
    let host = host_under(&folder);
    let mut with_problems = 0;
    for descriptor in ALL {
        let tick = run(descriptor, &host).await;
        let Some(facts) = tick.facts else { continue };
        with_problems += usize::from(!facts.problems.is_empty());
        assert!(
            facts
                .resources
                .iter()
                .all(|resource| resource.shown_health() != Health::Healthy)
        );
    }
    assert!(28 <= with_problems, "{with_problems}");
}

#[tokio::test]
async fn what_is_there_and_cannot_be_read_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("proc/loadavg")).unwrap();
    let tick = run(&load::DESCRIPTOR, &host_under(&folder)).await;
    assert_eq!(tick.outcome, RunOutcome::Failed);
    assert!(
        tick.message.starts_with("read /proc/loadavg: "),
        "{}",
        tick.message
    );
}

#[tokio::test]
async fn a_hung_read_is_given_up_and_the_others_go_on() {
    const HASTY: Descriptor = Descriptor {
        timeout: Duration::from_millis(100),
        ..load::DESCRIPTOR
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("proc")).unwrap();
    let pipe = folder.path().join("proc/loadavg");
    // Opening a pipe for reading waits for a writer, as a read from a dead device waits.
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    std::fs::write(folder.path().join("proc/meminfo"), "MemTotal: 1 kB\n").unwrap();
    let host = host_under(&folder);
    assert_eq!(run(&HASTY, &host).await.outcome, RunOutcome::TimedOut);
    assert_eq!(run(&memory::DESCRIPTOR, &host).await.outcome, RunOutcome::Facts);
    // Lets the sleeping thread go, which the runtime would wait for at its end.
    drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
}
