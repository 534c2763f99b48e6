//! Time each CPU spent in each mode.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{NODE_CPU_GUEST_SECONDS_TOTAL, NODE_CPU_SECONDS_TOTAL};
use muster_parse::stat::{self, CpuTicks, seconds};

use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::Host;

/// The CPU collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "cpu",
    summary: "time each CPU spent in each mode",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(1),
    timeout: Duration::from_secs(10),
    place: Place::Net,
    build: |_| Box::<Cpu>::default(),
};

/// Idle time that goes back by more than this means that the CPU was taken away and came back: counters start anew.
const IDLE_RESET_TICKS: u64 = 3 * stat::USER_HZ;

#[derive(Default)]
struct Cpu {
    /// What was last told of each CPU.
    told: HashMap<u32, CpuTicks>,
}

#[async_trait]
impl Collector for Cpu {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("stat").await? else {
            return Ok(Outcome::absent("/proc/stat does not exist"));
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        let parsed = stat::parse(&text);
        for cpu in &parsed.value.cpus {
            let ticks = match self.told.get(&cpu.number) {
                Some(told) => never_backwards(told, &cpu.ticks),
                None => cpu.ticks,
            };
            add(&mut draft, &cpu.number.to_string(), &ticks);
            self.told.insert(cpu.number, ticks);
        }
        self.told
            .retain(|number, _| parsed.value.cpus.iter().any(|cpu| cpu.number == *number));
        draft.parser_problems("/proc/stat", parsed.problems);
        Ok(Outcome::Facts(draft.finish()))
    }
}

fn add(draft: &mut Draft, cpu: &str, ticks: &CpuTicks) {
    let modes = [
        ("user", ticks.user),
        ("nice", ticks.nice),
        ("system", ticks.system),
        ("idle", ticks.idle),
        ("iowait", ticks.iowait),
        ("irq", ticks.irq),
        ("softirq", ticks.softirq),
        ("steal", ticks.steal),
    ];
    for (mode, ticks) in modes {
        draft.sample(
            &NODE_CPU_SECONDS_TOTAL,
            &[("cpu", cpu), ("mode", mode)],
            seconds(ticks),
        );
    }
    for (mode, ticks) in [("user", ticks.guest), ("nice", ticks.guest_nice)] {
        draft.sample(
            &NODE_CPU_GUEST_SECONDS_TOTAL,
            &[("cpu", cpu), ("mode", mode)],
            seconds(ticks),
        );
    }
}

/// The kernel lets iowait and idle time go back a little (proc(5)); as a counter that would be read as a restart, so
/// the last value is held instead.
fn never_backwards(told: &CpuTicks, now: &CpuTicks) -> CpuTicks {
    if now.idle + IDLE_RESET_TICKS < told.idle {
        return *now;
    }
    CpuTicks {
        user: now.user.max(told.user),
        nice: now.nice.max(told.nice),
        system: now.system.max(told.system),
        idle: now.idle.max(told.idle),
        iowait: now.iowait.max(told.iowait),
        irq: now.irq.max(told.irq),
        softirq: now.softirq.max(told.softirq),
        steal: now.steal.max(told.steal),
        guest: now.guest.max(told.guest),
        guest_nice: now.guest_nice.max(told.guest_nice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_step_back_is_held_and_a_replugged_cpu_starts_anew() {
        let told = CpuTicks {
            idle: 1_000,
            iowait: 50,
            user: 7,
            ..CpuTicks::default()
        };
        let jitter = CpuTicks {
            idle: 999,
            iowait: 40,
            user: 8,
            ..CpuTicks::default()
        };
        let held = never_backwards(&told, &jitter);
        assert_eq!((held.idle, held.iowait, held.user), (1_000, 50, 8));
        let replugged = CpuTicks {
            idle: 5,
            ..CpuTicks::default()
        };
        assert_eq!(never_backwards(&told, &replugged), replugged);
    }

    #[test]
    fn each_cpu_has_eight_modes_and_two_guest_modes() {
        let mut draft = Draft::new("cpu");
        add(
            &mut draft,
            "0",
            &CpuTicks {
                user: 250,
                guest: 100,
                ..CpuTicks::default()
            },
        );
        let samples = draft.finish().samples;
        assert_eq!(samples.len(), 10);
        assert_eq!(
            (samples[0].labels.get("mode"), samples[0].value),
            (Some("user"), 2.5)
        );
        assert_eq!(
            (&*samples[8].name, samples[8].value),
            ("node_cpu_guest_seconds_total", 1.0)
        );
    }
}
