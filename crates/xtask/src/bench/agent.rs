//! The agent of this machine, beside Prometheus's node exporter.

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camino::Utf8Path;

use super::controller::{Controller, cpu_s_of, memory_bytes_of};
use super::{empty_folder, http, program};
use crate::process;

/// How long the agent runs before its memory is looked at: four ticks of most collectors.
const SETTLING: Duration = Duration::from_secs(20);
/// How long its processor time is counted.
const COUNTING: Duration = Duration::from_secs(45);

/// How often both are asked where they collect the same.
const SAME_EVERY: Duration = Duration::from_secs(5);
/// How many collections of the same are counted. Both are counted at the same time: what else the machine does, and what
/// its host takes from it, makes either half as dear again from one minute to the next.
const SAME_COLLECTIONS: u32 = 32;
/// Our names for what `node_exporter` collects by default.
const SAME: [&str; 41] = [
    "arp",
    "bonding",
    "btrfs",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "infiniband",
    "load",
    "mdadm",
    "memory",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "rapl",
    "schedstat",
    "selinux",
    "sockstat",
    "softnet",
    "stat",
    "textfile",
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "vmstat",
    "watchdog",
    "xfs",
    "zfs_kstat",
];
/// What we collect besides.
const BEYOND: [&str; 15] = [
    "block",
    "container",
    "containers",
    "drm",
    "interrupts",
    "kernel_hung",
    "lvm",
    "process",
    "processes",
    "smart",
    "swap",
    "systemd",
    "tcpstat",
    "ups",
    "zfs",
];

/// What was measured.
pub(super) struct Agent {
    /// Proportional set size, summed over its processes.
    pub(super) pss_bytes: u64,
    /// Share of a core at default intervals.
    pub(super) cpu_share: f64,
    /// Processor time of a collection of what `node_exporter` collects by default, delivery included.
    pub(super) same_collection: Duration,
    /// Size of the program.
    pub(super) program_bytes: u64,
    pub(super) node_exporter: Option<NodeExporter>,
}

/// What the peer takes.
pub(super) struct NodeExporter {
    pub(super) rss_bytes: u64,
    pub(super) pss_bytes: u64,
    /// Processor time of a scrape.
    pub(super) scrape: Duration,
}

/// A process that ends with this value.
pub(super) struct Running(Child);

impl Running {
    pub(super) const fn of(process: Child) -> Self {
        Self(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn measure(root: &Utf8Path) -> anyhow::Result<Agent> {
    let folder = empty_folder(root)?;
    let mut controller = Controller::start(root, &folder)?;
    let token = controller.token(root, 1)?;
    let running = start(root, &folder, &controller, &token, None)?;
    std::thread::sleep(SETTLING);
    let before = tree_cpu_s(running.id())?;
    std::thread::sleep(COUNTING);
    let cpu_share = (tree_cpu_s(running.id())? - before) / COUNTING.as_secs_f64();
    let pss_bytes = tree_pss_bytes(running.id())?;
    drop(running);
    controller.stop(root)?;
    let agent = program(root, "muster-agent");
    let (same_collection, node_exporter) = same_collections(root)?;
    Ok(Agent {
        pss_bytes,
        cpu_share,
        same_collection,
        program_bytes: fs::metadata(&agent)
            .with_context(|| format!("look at {agent}"))?
            .len(),
        node_exporter,
    })
}

/// Processor time of a collection, and what the peer takes beside it.
fn same_collections(root: &Utf8Path) -> anyhow::Result<(Duration, Option<NodeExporter>)> {
    let folder = empty_folder(root)?;
    let mut controller = Controller::start(root, &folder)?;
    let token = controller.token(root, 1)?;
    let mut text = format!("[collect]\ndisabled = {BEYOND:?}\n\n[collect.intervals]\n");
    for name in SAME {
        writeln!(text, "{name} = \"{}s\"", SAME_EVERY.as_secs())?;
    }
    let settings = folder.join("same.toml");
    fs::write(&settings, text).with_context(|| format!("write {settings}"))?;
    let running = start(root, &folder, &controller, &token, Some(&settings))?;
    let peer = Peer::start(root)?;
    std::thread::sleep(SETTLING);
    let agent_before_s = tree_cpu_s(running.id())?;
    let peer_before_s = peer.as_ref().map(Peer::cpu_s).transpose()?;
    let begun = Instant::now();
    for round in 1..=SAME_COLLECTIONS {
        if let Some(peer) = &peer {
            peer.scrape()?;
        }
        std::thread::sleep((SAME_EVERY * round).saturating_sub(begun.elapsed()));
    }
    let each = |taken_s: f64| Duration::from_secs_f64(taken_s / f64::from(SAME_COLLECTIONS));
    let same_collection = each(tree_cpu_s(running.id())? - agent_before_s);
    let of_peer = |(peer, before_s): (Peer, f64)| peer.figures(each(peer.cpu_s()? - before_s));
    let node_exporter = peer.zip(peer_before_s).map(of_peer).transpose()?;
    drop(running);
    controller.stop(root)?;
    Ok((same_collection, node_exporter))
}

/// Enrols an agent and starts it.
pub(super) fn start(
    root: &Utf8Path,
    folder: &Utf8Path,
    controller: &Controller,
    token: &Utf8Path,
    settings: Option<&Utf8Path>,
) -> anyhow::Result<Running> {
    let data = folder.join("agent");
    let agent = program(root, "muster-agent");
    check_layout(&agent)?;
    let mut enrol = process::command(agent.as_str(), root);
    enrol
        .args([
            "enroll",
            "--controller",
            &controller.agents,
            "--token-file",
            token.as_str(),
        ])
        .args(["--data-dir", data.as_str()]);
    process::output(&mut enrol)?;
    let mut run = process::command(agent.as_str(), root);
    run.args(["run", "--data-dir", data.as_str()])
        .args(settings.into_iter().flat_map(|path| ["--config", path.as_str()]))
        .env("MUSTER_LOG", "warn")
        .envs(heap_settings(root)?)
        .stdout(Stdio::null());
    Ok(Running(run.spawn().context("start muster-agent")?))
}

/// Refuses a program that was linked without what the agent's build script asks for: it would be measured with more memory
/// than it takes.
fn check_layout(agent: &Utf8Path) -> anyhow::Result<()> {
    let bytes = fs::read(agent).with_context(|| format!("read {agent}"))?;
    let section = b".text_seldom\0";
    let is_there = bytes.windows(section.len()).any(|window| window == section);
    anyhow::ensure!(is_there, "{agent} has no .text_seldom: see crates/agent/build.rs");
    Ok(())
}

/// What the agent's unit says of its heap.
fn heap_settings(root: &Utf8Path) -> anyhow::Result<Vec<(String, String)>> {
    let path = root.join("deploy/muster-agent.service");
    let unit = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let set = set.filter_map(|pair| pair.split_once('='));
    Ok(set
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Prometheus's node exporter.
struct Peer {
    running: Running,
    address: String,
}

impl Peer {
    /// Starts it and has it answer once; `None` if it is not installed.
    fn start(root: &Utf8Path) -> anyhow::Result<Option<Self>> {
        let Some(path) = process::find("prometheus-node-exporter") else {
            println!(
                "bench: prometheus-node-exporter is not installed (apt-get install prometheus-node-exporter)"
            );
            return Ok(None);
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = process::command(&path.to_string_lossy(), root);
        command
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let peer = Self {
            running: Running(command.spawn().context("start prometheus-node-exporter")?),
            address,
        };
        let mut tries = 0;
        while peer.scrape().is_err() {
            tries += 1;
            anyhow::ensure!(tries < 100, "prometheus-node-exporter does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(peer))
    }

    fn scrape(&self) -> anyhow::Result<()> {
        http::request(&self.address, "GET", "/metrics", None, "").map(drop)
    }

    fn cpu_s(&self) -> anyhow::Result<f64> {
        cpu_s_of(self.running.id())
    }

    fn figures(&self, scrape: Duration) -> anyhow::Result<NodeExporter> {
        let id = self.running.id();
        Ok(NodeExporter {
            rss_bytes: memory_bytes_of(id, "VmRSS:")?,
            pss_bytes: tree_pss_bytes(id)?,
            scrape,
        })
    }
}

/// A process and those below it.
fn tree(id: u32) -> anyhow::Result<Vec<u32>> {
    let mut tree = vec![id];
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|id: u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect();
    let mut index = 0;
    while index < tree.len() {
        let parent = tree[index];
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        index += 1;
    }
    Ok(tree)
}

fn tree_cpu_s(id: u32) -> anyhow::Result<f64> {
    tree(id)?.into_iter().map(cpu_s_of).sum()
}

/// Memory of processes, where what is shared counts in parts; bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// All of it.
    pub(super) pss: u64,
    /// What of it are pages of files: the program itself and its libraries. The kernel maps them when they are run, some
    /// around them as well, and takes them back as it likes.
    pub(super) files: u64,
}

/// proc(5), `smaps_rollup`.
pub(super) fn tree_memory(id: u32) -> anyhow::Result<Memory> {
    let mut memory = Memory::default();
    for id in tree(id)? {
        let path = format!("/proc/{id}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            kib.map(|kib| kib * 1024)
                .with_context(|| format!("{path} has no {name}"))
        };
        memory.pss += bytes("Pss:")?;
        memory.files += bytes("Pss_File:")?;
    }
    Ok(memory)
}

fn tree_pss_bytes(id: u32) -> anyhow::Result<u64> {
    tree_memory(id).map(|memory| memory.pss)
}
