//! Interrupts by CPU.
//!
//! Interrupts times CPUs is the largest product on a server, so what is told of is bounded: when there are more series
//! than that, those that never moved are left out first, and then whole interrupts from the end of the list.

use muster_catalogue::NODE_INTERRUPTS_TOTAL;
use muster_parse::interrupts::{self, Interrupts};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_minute};
use crate::host::HostError;

/// Series told of.
const SERIES_MAX: usize = 1_000;

/// The interrupts collector.
pub const DESCRIPTOR: Descriptor =
    every_minute("interrupts", "interrupts by CPU, from /proc/interrupts", |_| {
        Box::new(INTERRUPTS)
    });

const INTERRUPTS: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/interrupts does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/interrupts";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let parsed = interrupts::parse(&text);
    describe(reading, &parsed.value);
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}

fn describe(reading: &mut Reading<'_>, found: &Interrupts) {
    let is_over = SERIES_MAX < found.interrupts.len() * found.cpus.len();
    let (mut room, mut left_out) = (SERIES_MAX, 0_usize);
    for interrupt in &found.interrupts {
        let counts = found.cpus.iter().zip(&interrupt.counts);
        let wanted: Vec<_> = counts.filter(|(_, count)| !is_over || 0 < **count).collect();
        if room < wanted.len() {
            left_out += wanted.len();
            continue;
        }
        room -= wanted.len();
        for (cpu, count) in wanted {
            let cpu = cpu.to_string();
            let labels = [
                ("cpu", cpu.as_str()),
                ("type", &interrupt.name),
                ("info", &interrupt.info),
                ("devices", &interrupt.devices),
            ];
            reading
                .draft
                .sample(&NODE_INTERRUPTS_TOTAL, &labels, *count as f64);
        }
    }
    if 0 < left_out {
        reading.draft.problem(format!(
            "/proc/interrupts: {left_out} counters are left out, more than {SERIES_MAX} move"
        ));
    }
}

#[cfg(test)]
mod tests {
    use muster_parse::interrupts::Interrupt;

    use super::*;
    use crate::collect::draft::Draft;
    use crate::host::Files;

    #[test]
    fn of_a_large_machine_only_what_moves_is_told_and_never_more_than_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::under(camino::Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        let told = |interrupts| {
            let mut reading = Reading {
                files: &files,
                draft: Draft::new(DESCRIPTOR.name),
            };
            let cpus = (0..100).collect();
            describe(&mut reading, &Interrupts { cpus, interrupts });
            let facts = reading.draft.finish();
            (facts.samples.len(), facts.problems.len())
        };
        let interrupt = |name: u32, count| Interrupt {
            name: name.to_string(),
            info: "PCI-MSI".to_owned(),
            devices: String::new(),
            counts: vec![count; 100],
        };
        let idle = (9..30).map(|name| interrupt(name, 0));
        assert_eq!(
            told((0..9).map(|name| interrupt(name, 1)).chain(idle).collect()),
            (900, 0)
        );
        assert_eq!(
            told((0..30).map(|name| interrupt(name, 1)).collect()),
            (SERIES_MAX, 1)
        );
    }
}
