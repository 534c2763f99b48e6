//! `/proc/net/snmp`, `/proc/net/netstat` (a line of names, then one of numbers, for each protocol) and
//! `/proc/net/snmp6` (a name and a number a line).
//!
//! Names are those of RFC 4113, RFC 4022 and of Linux; the set grows with the kernel's version, so all are kept.
//! Numbers may be negative: `MaxConn` of TCP is -1 where there is no limit.

use crate::problem::{Parsed, Problems, excerpt};

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Counter {
    /// `Tcp`, `TcpExt`, `Udp6`, …
    pub protocol: String,
    /// As the kernel names it.
    pub name: String,
    /// The number.
    pub value: i64,
}

/// Reads pairs of lines; a pair that does not fit is a problem, and the others are kept.
pub fn parse(text: &str) -> Parsed<Vec<Counter>> {
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
        match parse_table(names, values) {
            Ok(found) => counters.extend(found),
            Err(message) => problems.at_index(index, message),
        }
    }
    if counters.is_empty() {
        problems.overall("no counters found");
    }
    problems.with(counters)
}

fn parse_table(names: &str, values: &str) -> Result<Vec<Counter>, String> {
    let split = |line: &'_ str| -> Option<(String, Vec<String>)> {
        let (protocol, rest) = line.split_once(':')?;
        let words = rest.split_ascii_whitespace().map(str::to_owned).collect();
        Some((protocol.to_owned(), words))
    };
    let odd = |line: &str| format!("expected \"protocol: …\", found \"{}\"", excerpt(line));
    let (protocol, names) = split(names).ok_or_else(|| odd(names))?;
    let (same, values) = split(values).ok_or_else(|| odd(values))?;
    if same != protocol || names.len() != values.len() {
        return Err(format!(
            "{} names of {} and {} numbers of {}",
            names.len(),
            excerpt(&protocol),
            values.len(),
            excerpt(&same)
        ));
    }
    names
        .into_iter()
        .zip(values)
        .map(|(name, value)| {
            let value = value
                .parse()
                .map_err(|_| format!("{name} is no number: \"{}\"", excerpt(&value)))?;
            Ok(Counter {
                protocol: protocol.clone(),
                name,
                value,
            })
        })
        .collect()
}

/// Reads `/proc/net/snmp6`: what stands up to the `6` is the protocol.
pub fn parse_v6(text: &str) -> Parsed<Vec<Counter>> {
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
                protocol: protocol.to_owned(),
                name: name.to_owned(),
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
                parsed.value[0].protocol.as_str(),
                parsed.value[0].name.as_str(),
                parsed.value[0].value
            ),
            ("Udp6", "InDatagrams", 5)
        );
        assert_eq!(parsed.value[1].protocol, "UdpLite6");
        assert_eq!(parsed.problems.len(), 1);
    }
}
