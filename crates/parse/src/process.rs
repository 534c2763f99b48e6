//! `/proc/[pid]/stat`, `io` and `limits`: what one process is and takes (proc(5)).

/// What is kept of `/proc/[pid]/stat`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Process {
    /// The command, cut to 15 bytes by the kernel; may contain any character.
    pub name: String,
    /// `R`, `S`, `D`, `Z`, …
    pub state: char,
    /// Its parent; 2 makes it a thread of the kernel.
    pub parent: u64,
    /// Ticks it has run, in programs and in the kernel.
    pub cpu_ticks: u64,
    /// Its threads.
    pub threads: u64,
    /// When it began, in ticks since boot; with the number of the process this names it for good.
    pub started_ticks: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Memory in RAM, in pages.
    pub resident_pages: u64,
}

/// Reads one process; `None` if the text is none of a process.
#[must_use]
pub fn parse_stat(text: &str) -> Option<Process> {
    let (before, rest) = text.split_once('(')?;
    before.trim().parse::<u64>().ok()?;
    // The name itself may contain parentheses and spaces: the last closing one ends it.
    let (name, fields) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |number_in_manual: usize| fields.get(number_in_manual - 3)?.parse::<u64>().ok();
    Some(Process {
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: number(4)?,
        cpu_ticks: number(14)?.saturating_add(number(15)?),
        threads: number(20)?,
        started_ticks: number(22)?,
        virtual_bytes: number(23)?,
        resident_pages: number(24)?,
    })
}

/// Bytes that a process had read from and written to storage: `read_bytes` and `write_bytes` of `/proc/[pid]/io`.
#[must_use]
pub fn parse_io(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':')?.trim().parse().ok()
    };
    Some((field("read_bytes")?, field("write_bytes")?))
}

/// The soft limit of this name in `/proc/[pid]/limits`; infinite if there is none.
#[must_use]
pub fn parse_limit(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        word => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1000 9000000 1234 18446744073709551615";
        let process = parse_stat(text).unwrap();
        assert_eq!((process.name.as_str(), process.state), ("a ) b", 'S'));
        assert_eq!((process.cpu_ticks, process.threads), (300, 5));
        assert_eq!(
            (
                process.started_ticks,
                process.virtual_bytes,
                process.resident_pages
            ),
            (1000, 9_000_000, 1234)
        );
        for cut in ["", "42 (a", "42 (a) S 1 2", "x (a) S 1"] {
            assert_eq!(parse_stat(cut), None, "{cut}");
        }
    }

    #[test]
    fn what_reached_the_storage_is_told_from_what_was_only_asked_for() {
        let text = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        assert_eq!(parse_io(text), Some((4096, 8192)));
        assert_eq!(parse_io("read_bytes: x\nwrite_bytes: 1\n"), None);
    }

    #[test]
    fn limits_may_be_missing_or_infinite() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n\
                    Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(parse_limit(text, "Max open files"), Some(1024.0));
        assert_eq!(parse_limit(text, "Max address space"), Some(f64::INFINITY));
        assert_eq!(parse_limit(text, "Max nice priority"), None);
    }
}
