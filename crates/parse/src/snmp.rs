//! `/proc/net/snmp`, `/proc/net/netstat` (a line of names, then one of numbers, for each protocol) and
//! `/proc/net/snmp6` (a name and a number a line).
//!
//! Names are those of RFC 4113, RFC 4022 and of Linux; the set grows with the kernel's version, so all are kept.
//! Numbers may be negative: `MaxConn` of TCP is -1 where there is no limit.

use crate::problem::{Parsed, Problems, excerpt};

/// One counter; its words are those of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counter<'a> {
    /// `Tcp`, `TcpExt`, `Udp6`, …
    pub protocol: &'a str,
    /// As the kernel names it.
    pub name: &'a str,
    /// The number.
    pub value: i64,
}

/// Reads pairs of lines; a pair that does not fit is a problem, and the others are kept.
pub fn parse(text: &str) -> Parsed<Vec<Counter<'_>>> {
    let mut problems = Problems::default();
    let mut counters = Vec::new();
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    while let Some((index, names)) = lines.next() {
        let Some((_, values)) = lines.next() else {
            problems.at_index(index, "names without a line of numbers");
            break;
        };
        let known = counters.len();
        if let Err(message) = parse_table(names, values, &mut counters) {
            counters.truncate(known);
            problems.at_index(index, message);
        }
    }
    if counters.is_empty() {
        problems.overall("no counters found");
    }
    problems.with(counters)
}

fn parse_table<'a>(names: &'a str, values: &'a str, counters: &mut Vec<Counter<'a>>) -> Result<(), String> {
    let odd = |line: &str| format!("expected \"protocol: …\", found \"{}\"", excerpt(line));
    let (protocol, names) = names.split_once(':').ok_or_else(|| odd(names))?;
    let (same, values) = values.split_once(':').ok_or_else(|| odd(values))?;
    let (mut names, mut values) = (names.split_ascii_whitespace(), values.split_ascii_whitespace());
    let count = |words: &std::str::SplitAsciiWhitespace<'_>| words.clone().count();
    let counts = (count(&names), count(&values));
    if same != protocol || counts.0 != counts.1 {
        return Err(format!(
            "{} names of {} and {} numbers of {}",
            counts.0,
            excerpt(protocol),
            counts.1,
            excerpt(same)
        ));
    }
    while let (Some(name), Some(value)) = (names.next(), values.next()) {
        let value = value
            .parse()
            .map_err(|_| format!("{name} is no number: \"{}\"", excerpt(value)))?;
        counters.push(Counter {
            protocol,
            name,
            value,
        });
    }
    Ok(())
}

/// Reads `/proc/net/snmp6`: what stands up to the `6` is the protocol.
pub fn parse_v6(text: &str) -> Parsed<Vec<Counter<'_>>> {
    let mut problems = Problems::default();
    let mut counters = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        let found = name
            .find('6')
            .map(|place| name.split_at(place + 1))
            .zip(words.next().and_then(|word| word.parse().ok()));
        match found {
            Some(((protocol, name), value)) if !name.is_empty() => counters.push(Counter {
                protocol,
                name,
                value,
            }),
            _ => problems.at_index(
                index,
                format!("expected a name and a number, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        let parsed = parse("Tcp: MaxConn InSegs\nTcp: -1 7\nUdp: A B\nUdp: 1\nIp: X\nIp: y\n");
        assert_eq!(parsed.value.len(), 2);
        assert_eq!((parsed.value[0].value, parsed.value[1].value), (-1, 7));
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(3), Some(5)]);
    }

    #[test]
    fn version_six_names_its_protocol_before_the_six() {
        let parsed = parse_v6("Udp6InDatagrams 5\nUdpLite6InErrors 0\nnonsense\n");
        assert_eq!(
            (
                parsed.value[0].protocol,
                parsed.value[0].name,
                parsed.value[0].value
            ),
            ("Udp6", "InDatagrams", 5)
        );
        assert_eq!(parsed.value[1].protocol, "UdpLite6");
        assert_eq!(parsed.problems.len(), 1);
    }
}
