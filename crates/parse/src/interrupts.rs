//! `/proc/interrupts`: a line for each interrupt with a count for each CPU, below a heading of the CPUs.
//!
//! proc(5). After the counts an interrupt with a number names its controller, hardware number and devices; one with a
//! name has a description. `ERR` and `MIS` count for the whole machine and are passed over.

use crate::problem::{Parsed, Problems, excerpt};

/// One interrupt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Interrupt {
    /// `24`, `NMI`, …
    pub name: String,
    /// Its controller, or what it is for.
    pub info: String,
    /// Hardware number and devices; empty if it has a name.
    pub devices: String,
    /// How often, in the order of [`Interrupts::cpus`].
    pub counts: Vec<u64>,
}

/// All interrupts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Interrupts {
    /// The CPUs that are online, by number.
    pub cpus: Vec<u32>,
    /// In the kernel's order.
    pub interrupts: Vec<Interrupt>,
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<Interrupts> {
    let mut problems = Problems::default();
    let mut lines = text.lines().enumerate();
    let cpus: Option<Vec<u32>> = lines
        .next()
        .map(|(_, heading)| heading.split_ascii_whitespace())
        .and_then(|words| words.map(|word| word.strip_prefix("CPU")?.parse().ok()).collect());
    let Some(cpus) = cpus.filter(|cpus| !cpus.is_empty()) else {
        problems.overall("no heading of CPUs found");
        return problems.with(Interrupts::default());
    };
    let mut interrupts = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        match parse_line(line, cpus.len()) {
            Line::Interrupt(interrupt) => interrupts.push(interrupt),
            Line::WholeMachine => {}
            Line::Odd => problems.at_index(
                index,
                format!("expected a count for each CPU, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(Interrupts { cpus, interrupts })
}

enum Line {
    Interrupt(Interrupt),
    WholeMachine,
    Odd,
}

fn parse_line(line: &str, cpu_count: usize) -> Line {
    let Some((name, rest)) = line.split_once(':') else {
        return Line::Odd;
    };
    let name = name.trim();
    let mut words = rest.split_ascii_whitespace();
    let counts: Option<Vec<u64>> = words
        .by_ref()
        .take(cpu_count)
        .map(|word| word.parse().ok())
        .collect();
    let Some(counts) = counts.filter(|_| !name.is_empty()) else {
        return Line::Odd;
    };
    if counts.len() < cpu_count {
        // Errors and spurious interrupts are counted once for all.
        return if matches!(name, "ERR" | "MIS") {
            Line::WholeMachine
        } else {
            Line::Odd
        };
    }
    let rest: Vec<&str> = words.collect();
    let (info, devices) = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let (info, devices) = rest.split_first().unwrap_or((&"", &[]));
        ((*info).to_owned(), devices.join(" "))
    } else if matches!(name, "ERR" | "MIS") {
        return Line::WholeMachine;
    } else {
        (rest.join(" "), String::new())
    };
    Line::Interrupt(Interrupt {
        name: name.to_owned(),
        info,
        devices,
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_devices_and_names_have_descriptions() {
        let text = "           CPU0       CPU2\n 24:  1  2  PCI-MSI-edge  0-edge  ahci, usb\nNMI:  3  4  Non-maskable interrupts\n\
                    ERR:  0\nMIS:  0\n25: 1\nodd\n";
        let parsed = parse(text);
        assert_eq!(parsed.value.cpus, [0, 2]);
        let first = &parsed.value.interrupts[0];
        assert_eq!(
            (first.name.as_str(), first.info.as_str(), first.devices.as_str()),
            ("24", "PCI-MSI-edge", "0-edge ahci, usb")
        );
        assert_eq!(parsed.value.interrupts[1].info, "Non-maskable interrupts");
        assert_eq!(parsed.value.interrupts.len(), 2);
        assert_eq!(parsed.problems.len(), 2);
    }
}
