//! Collectors: each reads one part of the server and returns [`Facts`].
//!
//! A collector owns its state between ticks and nothing else; cadence, timeouts, panics and self-metrics are the
//! [`runner`]'s. Hardware that is not there is [`Outcome::Absent`], a thing that cannot be read is a problem
//! among the facts, and only a collection that cannot say anything is a [`CollectError`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_model::{Facts, RunOutcome, Sample};
use thiserror::Error;

use crate::config::collect::Settings;
use crate::host::{Host, HostError, ProgramError};
use crate::privileged::Privileged;

pub mod arp;
pub mod block;
pub mod bonding;
pub mod btrfs;
pub mod conntrack;
pub mod container;
pub mod containers;
pub mod cpu;
pub mod cpufreq;
pub mod diskstats;
pub mod dmi;
pub mod draft;
pub mod drm;
pub mod due;
pub mod edac;
pub mod entropy;
pub mod filefd;
pub mod filesystem;
pub mod hwmon;
pub mod infiniband;
pub mod interrupts;
pub mod kernel_hung;
pub mod load;
pub mod lvm;
pub mod mdadm;
pub mod memory;
pub mod netclass;
pub mod netdev;
pub mod netstat;
pub mod nfs;
pub mod nfsd;
pub mod nvme;
pub mod os;
pub mod powersupplyclass;
pub mod pressure;
pub mod process;
pub mod processes;
pub mod rapl;
mod reading;
pub mod runner;
pub mod schedstat;
pub mod selinux;
pub mod smart;
pub mod sockstat;
pub mod softnet;
pub mod stat;
pub mod swap;
pub mod systemd;
pub mod tcpstat;
pub mod textfile;
pub mod thermal_zone;
pub mod time;
pub mod timex;
pub mod udp_queues;
pub mod ups;
pub mod vmstat;
pub mod watchdog;
pub mod xfs;
pub mod zfs;

/// Every collector, by name; `the_registry_is_sorted_and_documented` keeps it so.
pub const ALL: &[Descriptor] = &[
    arp::DESCRIPTOR,
    block::DESCRIPTOR,
    bonding::DESCRIPTOR,
    btrfs::DESCRIPTOR,
    conntrack::DESCRIPTOR,
    container::DESCRIPTOR,
    containers::DESCRIPTOR,
    cpu::DESCRIPTOR,
    cpufreq::DESCRIPTOR,
    diskstats::DESCRIPTOR,
    dmi::DESCRIPTOR,
    drm::DESCRIPTOR,
    edac::DESCRIPTOR,
    entropy::DESCRIPTOR,
    filefd::DESCRIPTOR,
    filesystem::DESCRIPTOR,
    hwmon::DESCRIPTOR,
    infiniband::DESCRIPTOR,
    interrupts::DESCRIPTOR,
    kernel_hung::DESCRIPTOR,
    load::DESCRIPTOR,
    lvm::DESCRIPTOR,
    mdadm::DESCRIPTOR,
    memory::DESCRIPTOR,
    netclass::DESCRIPTOR,
    netdev::DESCRIPTOR,
    netstat::DESCRIPTOR,
    nfs::DESCRIPTOR,
    nfsd::DESCRIPTOR,
    nvme::DESCRIPTOR,
    os::DESCRIPTOR,
    powersupplyclass::DESCRIPTOR,
    pressure::DESCRIPTOR,
    process::DESCRIPTOR,
    processes::DESCRIPTOR,
    rapl::DESCRIPTOR,
    schedstat::DESCRIPTOR,
    selinux::DESCRIPTOR,
    smart::DESCRIPTOR,
    sockstat::DESCRIPTOR,
    softnet::DESCRIPTOR,
    stat::DESCRIPTOR,
    swap::DESCRIPTOR,
    systemd::DESCRIPTOR,
    tcpstat::DESCRIPTOR,
    textfile::DESCRIPTOR,
    thermal_zone::DESCRIPTOR,
    time::DESCRIPTOR,
    timex::DESCRIPTOR,
    udp_queues::DESCRIPTOR,
    ups::DESCRIPTOR,
    vmstat::DESCRIPTOR,
    watchdog::DESCRIPTOR,
    xfs::DESCRIPTOR,
    zfs::DESCRIPTOR,
    zfs::KSTAT_DESCRIPTOR,
];

/// Where a collector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the part that talks to the network and needs no rights.
    Net,
    /// In the part that may open devices and talks to nobody: a child process with a network of its own, in which
    /// there is nothing, so that `/proc/net` says nothing there.
    Privileged,
}

/// What is known of a collector without building it.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// Its name in reports, settings and metrics.
    pub name: &'static str,
    /// What it reads, in a line.
    pub summary: &'static str,
    /// How often it runs unless told otherwise.
    pub interval: Duration,
    /// The shortest interval anyone may ask for, the controller included.
    pub interval_min: Duration,
    /// When a run is given up.
    pub timeout: Duration,
    /// Where it runs.
    pub place: Place,
    /// Makes one, with nothing remembered.
    pub build: fn(&Context) -> Box<dyn Collector>,
}

impl Descriptor {
    /// The descriptor of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|descriptor| descriptor.name == name)
    }
}

/// What collectors are built from.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The validated settings.
    pub settings: Arc<Settings>,
    /// The block devices as last read; several collectors name their resources by it.
    pub inventory: Arc<block::Shared>,
    /// The process in which [`Place::Privileged`] collectors run; `None`: they run here.
    pub privileged: Option<Privileged>,
    /// Where collectors tell that they have something new to find.
    pub due: due::Due,
}

impl Context {
    /// A context in which nothing was read yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            inventory: Arc::default(),
            privileged: None,
            due: due::Due::default(),
        }
    }

    /// The same, with the collectors that need rights run by another process.
    #[must_use]
    pub fn with_privileged(self, privileged: Privileged) -> Self {
        Self {
            due: privileged.due(),
            privileged: Some(privileged),
            ..self
        }
    }
}

/// Reads one part of the server.
#[async_trait]
pub trait Collector: Send {
    /// Reads it once.
    ///
    /// # Errors
    /// [`CollectError`] if nothing at all can be said; whatever concerns a single item is a problem in the facts.
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError>;
}

/// How a collection went that did what it should.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server does not have what is looked for.
    Absent {
        /// Why, in words a person can act on.
        reason: String,
    },
    /// What was found.
    Facts(Facts),
}

impl Outcome {
    /// Absent, for this reason.
    #[must_use]
    pub fn absent(reason: impl Into<String>) -> Self {
        Self::Absent {
            reason: reason.into(),
        }
    }
}

/// Why a collection could not say anything.
#[derive(Debug, Error)]
pub enum CollectError {
    /// What everything rests on could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A program that everything rests on did not answer.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// What was read makes no sense.
    #[error("{what}: {message}")]
    Unusable {
        /// The file or program.
        what: String,
        /// What is wrong with it.
        message: String,
    },
}

/// One run of a collector, as the reporter takes it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The collector's name.
    pub collector: &'static str,
    /// When it began, Unix milliseconds.
    pub started_ms: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// How often it runs now, in milliseconds.
    pub interval_ms: u32,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or what is absent; empty for facts.
    pub message: String,
    /// What it found; `None` unless the outcome is [`RunOutcome::Facts`].
    pub facts: Option<Facts>,
    /// What the runner measured of the run itself; there whatever the outcome.
    pub self_samples: Vec<Sample>,
}

/// A run in short, for whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The collector's name.
    pub collector: &'static str,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or what is absent; empty for facts.
    pub message: String,
    /// How many problems there were.
    pub problem_count: usize,
}

impl Tick {
    /// The run in short.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            collector: self.collector,
            outcome: self.outcome,
            message: self.message.clone(),
            problem_count: self.facts.as_ref().map_or(0, |facts| facts.problems.len()),
        }
    }
}

#[cfg(test)]
mod tests;
