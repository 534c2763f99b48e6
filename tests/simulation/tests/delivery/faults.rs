//! What goes wrong in a run, how often, and how big everything is: drawn from the seed.

use muster_agent::spool::Options;
use nix::errno::Errno;

use crate::agent::Sizes;
use crate::disk::Faults;
use crate::world::{Event, World};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    KillAgent,
    StopAgent,
    PowerLoss,
    PowerLossInWrite,
    DiskFails,
    DiskFull,
    Damage,
    Cut,
    Dark,
    Unreachable,
    AgentClock,
    ControllerClock,
    KillController,
    Backup,
    Restore,
}

const ALL: [Fault; 15] = [
    Fault::KillAgent,
    Fault::StopAgent,
    Fault::PowerLoss,
    Fault::PowerLossInWrite,
    Fault::DiskFails,
    Fault::DiskFull,
    Fault::Damage,
    Fault::Cut,
    Fault::Dark,
    Fault::Unreachable,
    Fault::AgentClock,
    Fault::ControllerClock,
    Fault::KillController,
    Fault::Backup,
    Fault::Restore,
];

/// A run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) agents: usize,
    pub(crate) storm_ms: u64,
    pub(crate) interval_ms: u64,
    pub(crate) series: usize,
    pub(crate) sizes: Sizes,
    pub(crate) faults: Vec<Fault>,
    fault_every_ms: u64,
    pub(crate) commit_faults: bool,
    pub(crate) controller_skew_ms: i64,
}

impl Plan {
    /// Each run knows only some faults: one that hides another would otherwise hide it always.
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let mut faults: Vec<_> = ALL.into_iter().filter(|_| random.u8(..5) < 2).collect();
        if faults.is_empty() {
            faults.push(Fault::KillAgent);
        }
        let is_small = random.bool();
        let segment_bytes = if is_small {
            random.u64(2_048..16_384)
        } else {
            65_536
        };
        let spool = Options {
            segment_bytes,
            size_bytes_max: segment_bytes * random.u64(2..12),
            ..Options::default()
        };
        Self {
            agents: random.usize(1..=2),
            storm_ms: random.u64(10..40) * 60_000,
            interval_ms: [5_000, 15_000, 15_000, 60_000][random.usize(..4)],
            series: random.usize(1..20),
            sizes: Sizes {
                outbox_bytes_max: if is_small {
                    random.usize(4_000..40_000)
                } else {
                    4 << 20
                },
                spool,
            },
            faults,
            fault_every_ms: random.u64(10_000..240_000),
            commit_faults: random.u8(..3) == 0,
            controller_skew_ms: 0,
        }
    }

    pub(crate) fn next_fault(&self, random: &mut fastrand::Rng) -> u64 {
        random.u64(1..2 * self.fault_every_ms)
    }
}

impl World<'_> {
    pub(crate) async fn fault(&mut self) {
        if self.plan.faults.is_empty() {
            return;
        }
        let fault = self.plan.faults[self.random.usize(..self.plan.faults.len())];
        let agent = self.random.usize(..self.agents.len());
        self.oracle.faults += 1;
        self.say(format_args!("FAULT {fault:?}, agent {agent}"));
        match fault {
            Fault::KillAgent if self.running[agent].is_some() => self.kill_agent(agent),
            Fault::StopAgent if !self.stopping[agent] => self.stop_agent(agent),
            Fault::PowerLoss if self.running[agent].is_some() => self.power_loss(agent),
            Fault::KillAgent | Fault::StopAgent | Fault::PowerLoss => {}
            Fault::PowerLossInWrite => {
                let ops = self.random.u32(..40);
                self.agents[agent].disk.die_after(ops);
            }
            Fault::DiskFails | Fault::DiskFull => self.disk_fault(agent, fault),
            Fault::Damage => self.damage(agent),
            Fault::Cut => self.cut(agent),
            Fault::Dark => {
                let for_ms = self.random.u64(1_000..120_000);
                self.links[agent].dark_until_ms = self.now_ms + for_ms;
            }
            Fault::Unreachable => {
                let for_ms = self.random.u64(10_000..900_000);
                self.links[agent].unreachable_until_ms = self.now_ms + for_ms;
                self.cut(agent);
            }
            Fault::AgentClock => {
                let skew_ms = self.jump();
                self.agents[agent].clocks.set_skew(skew_ms);
            }
            Fault::ControllerClock => {
                self.plan.controller_skew_ms = self.random.i64(-400_000..400_000);
                self.set_controller_clock();
            }
            Fault::KillController if self.is_controller_up => self.kill_controller(None),
            Fault::Restore if self.is_controller_up && !self.backups.is_empty() => {
                let index = self.random.usize(..self.backups.len());
                self.kill_controller(Some(index));
            }
            Fault::Backup if self.is_controller_up => self.back_up(),
            Fault::Restore if self.is_controller_up => self.back_up(),
            Fault::KillController | Fault::Restore | Fault::Backup => {}
        }
        let next = self.plan.next_fault(&mut self.random);
        self.later(next, Event::Fault);
    }

    fn back_up(&mut self) {
        let snapshot = self.oracle.snapshot();
        let backup = self.controller.as_ref().expect("it runs").back_up(snapshot);
        self.backups.push(backup);
    }

    /// Both ends learn of it, each at its time.
    fn cut(&mut self, agent: usize) {
        let link = self.links[agent].id;
        let (one_ms, other_ms) = (self.random.u64(..3_000), self.random.u64(..3_000));
        self.later(one_ms, Event::AgentCut(agent, link));
        self.later(other_ms, Event::ControllerCut(agent, link));
    }

    fn jump(&mut self) -> i64 {
        let hour_ms = 3_600_000;
        match self.random.u8(..6) {
            0 => 0,
            1 => self.random.i64(-600_000..600_000),
            2 => hour_ms,
            3 => -hour_ms,
            4 => 24 * hour_ms,
            _ => -24 * hour_ms,
        }
    }

    fn disk_fault(&mut self, agent: usize, fault: Fault) {
        let mut faults = Faults {
            is_full: fault == Fault::DiskFull,
            ..Faults::default()
        };
        if fault == Fault::DiskFails {
            match self.random.u8(..4) {
                0 => faults.write = Some(Errno::EIO),
                1 => faults.sync = Some(Errno::EIO),
                2 => faults.create = Some(Errno::EIO),
                _ => {
                    faults.write = Some(Errno::ENOSPC);
                    faults.create = Some(Errno::ENOSPC);
                }
            }
        }
        self.agents[agent].disk.set_faults(faults);
        let for_ms = self.random.u64(1_000..180_000);
        self.later(for_ms, Event::Heal(agent));
    }

    /// A bit flips in what is on disk.
    fn damage(&mut self, agent: usize) {
        let is_record = |path: &camino::Utf8Path| path.starts_with("/data/spool");
        if self.agents[agent].disk.flip(is_record) {
            self.oracle.damaged(agent);
        }
    }
}
