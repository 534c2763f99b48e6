//! `/proc/diskstats`: one block device a line, counters since boot.
//!
//! Documentation/admin-guide/iostats.rst of the kernel. Eleven counters after major, minor and name; Linux 4.18
//! added four for discards, 5.5 two for flushes. Later columns are passed over. A sector here is always 512 bytes,
//! whatever the device says. The four-counter lines that partitions had before Linux 2.6.25 are refused, as
//! their columns mean something else.

use crate::problem::{Parsed, Problems, excerpt};

/// Bytes of a sector as the kernel counts them.
pub const SECTOR_BYTES: u64 = 512;

/// Counters of one block device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DiskStat {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Kernel name, for example `sda` or `nvme0n1p1`.
    pub name: String,
    /// Reads completed.
    pub reads: u64,
    /// Reads merged into others before they were queued.
    pub reads_merged: u64,
    /// Sectors of 512 bytes read.
    pub sectors_read: u64,
    /// Time spent reading, milliseconds, summed over requests.
    pub read_ms: u64,
    /// Writes completed.
    pub writes: u64,
    /// Writes merged into others before they were queued.
    pub writes_merged: u64,
    /// Sectors of 512 bytes written.
    pub sectors_written: u64,
    /// Time spent writing, milliseconds, summed over requests.
    pub write_ms: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Time during which anything was in flight, milliseconds.
    pub io_ms: u64,
    /// Time in flight weighted by the number of requests, milliseconds.
    pub weighted_io_ms: u64,
    /// Discards, since Linux 4.18.
    pub discards: Option<Discards>,
    /// Flushes, since Linux 5.5; counted for whole devices only.
    pub flushes: Option<Flushes>,
}

/// Counters of discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Discards {
    /// Discards completed.
    pub completed: u64,
    /// Discards merged into others.
    pub merged: u64,
    /// Sectors of 512 bytes discarded.
    pub sectors: u64,
    /// Time spent discarding, milliseconds.
    pub ms: u64,
}

/// Counters of flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Flushes {
    /// Flushes completed.
    pub completed: u64,
    /// Time spent flushing, milliseconds.
    pub ms: u64,
}

/// Reads every line. An empty text is an empty list: a container may have no block devices.
pub fn parse(text: &str) -> Parsed<Vec<DiskStat>> {
    let mut problems = Problems::default();
    let mut devices = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match parse_line(line) {
            Ok(device) => devices.push(device),
            Err(wrong) => problems.at_index(index, format!("{wrong}, found \"{}\"", excerpt(line))),
        }
    }
    problems.with(devices)
}

fn parse_line(line: &str) -> Result<DiskStat, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let mut device_number = || words.next().and_then(|word| word.parse().ok());
    let (Some(major), Some(minor)) = (device_number(), device_number()) else {
        return Err("expected major and minor number");
    };
    let name = words.next().ok_or("expected a device name")?.to_owned();
    // Seventeen are known; a later kernel's extra columns must not cost us those.
    let counters: Vec<u64> = words
        .take(17)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| "expected only numbers after the name")?;
    let [
        reads,
        reads_merged,
        sectors_read,
        read_ms,
        writes,
        writes_merged,
        sectors_written,
        write_ms,
        in_flight,
        io_ms,
        weighted_io_ms,
        more @ ..,
    ] = counters.as_slice()
    else {
        return Err("expected at least eleven counters");
    };
    let discards = match more {
        &[completed, merged, sectors, ms, ..] => Some(Discards {
            completed,
            merged,
            sectors,
            ms,
        }),
        _ => None,
    };
    let flushes = match more {
        &[_, _, _, _, completed, ms, ..] => Some(Flushes { completed, ms }),
        _ => None,
    };
    Ok(DiskStat {
        major,
        minor,
        name,
        reads: *reads,
        reads_merged: *reads_merged,
        sectors_read: *sectors_read,
        read_ms: *read_ms,
        writes: *writes,
        writes_merged: *writes_merged,
        sectors_written: *sectors_written,
        write_ms: *write_ms,
        in_flight: *in_flight,
        io_ms: *io_ms,
        weighted_io_ms: *weighted_io_ms,
        discards,
        flushes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEVEN: &str = "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11";

    #[test]
    fn kernels_before_4_18_have_no_discards_and_before_5_5_no_flushes() {
        let old = parse(ELEVEN);
        assert_eq!((old.value[0].discards, old.value[0].flushes), (None, None));
        let middle = parse(&format!("{ELEVEN} 12 13 14 15"));
        assert_eq!(middle.value[0].discards.map(|discards| discards.ms), Some(15));
        assert_eq!(middle.value[0].flushes, None);
        let new = parse(&format!("{ELEVEN} 12 13 14 15 16 17"));
        assert_eq!(
            new.value[0].flushes,
            Some(Flushes {
                completed: 16,
                ms: 17
            })
        );
        assert!(new.problems.is_empty());
    }

    #[test]
    fn columns_of_a_later_kernel_are_passed_over() {
        let parsed = parse(&format!("{ELEVEN} 12 13 14 15 16 17 18 later"));
        assert_eq!(parsed.value.len(), 1);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn short_and_odd_lines_are_located_and_the_others_kept() {
        let parsed = parse(&format!(
            "8 1 sda1 1 2 3 4\n{ELEVEN}\n8 x sdb 1\n8 16 sdb 1 2 3 4 5 6 7 -8 9 10 11\n"
        ));
        assert_eq!(parsed.value.len(), 1);
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(1), Some(3), Some(4)]);
    }

    #[test]
    fn a_machine_without_block_devices_is_no_problem() {
        assert_eq!(parse(""), Parsed::default());
    }
}
