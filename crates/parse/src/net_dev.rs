//! `/proc/net/dev`: sixteen counters of each network interface, below two lines of headings.
//!
//! proc(5), and `dev_seq_printf_stats` of the kernel: `drop` received contains what the device missed, `frame` sums
//! the errors of length, overrun, checksum and framing, `carrier` those of aborted, carrier, window and heartbeat.

use crate::problem::{Parsed, Problems, excerpt};

/// One interface; all since it appeared.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Bytes, packets, errors, dropped, fifo, frame, compressed, multicast.
    pub received: [u64; 8],
    /// Bytes, packets, errors, dropped, fifo, collisions, carrier, compressed.
    pub sent: [u64; 8],
}

/// Reads every line with a colon; the headings have none.
pub fn parse(text: &str) -> Parsed<Vec<Interface>> {
    let mut problems = Problems::default();
    let mut interfaces = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match parse_line(line) {
            Some(interface) => interfaces.push(interface),
            None if line.contains('|') || line.trim().is_empty() => {}
            None => problems.at_index(
                index,
                format!(
                    "expected an interface with 16 numbers, found \"{}\"",
                    excerpt(line)
                ),
            ),
        }
    }
    problems.with(interfaces)
}

/// A name may contain a colon (an alias), numbers cannot.
fn parse_line(line: &str) -> Option<Interface> {
    let (name, rest) = line.rsplit_once(':')?;
    let mut interface = Interface {
        name: name.trim().to_owned(),
        ..Interface::default()
    };
    let mut words = rest.split_ascii_whitespace();
    for place in interface.received.iter_mut().chain(&mut interface.sent) {
        *place = words.next()?.parse().ok()?;
    }
    (!interface.name.is_empty()).then_some(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_no_problem_and_a_cut_line_is() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n\
                    eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  br0:1: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7\nlo: 1 2 3\n";
        let parsed = parse(text);
        assert_eq!(parsed.value.len(), 2);
        assert_eq!((parsed.value[0].received[7], parsed.value[0].sent[0]), (8, 9));
        assert_eq!(parsed.value[1].name, "br0:1");
        assert_eq!(parsed.problems[0].line, Some(5));
    }
}
