//! `btrfs device stats`, as text or with `--format json`: the five error counters of each device.
//!
//! btrfs-device(8). The text is `[/dev/sda].write_io_errs    0`; a device that is gone is `[devid:2]` or
//! `[<missing disk>]`. JSON (btrfs-progs 5.14) gives numbers as texts, later ones as numbers. Counters last until
//! `--reset`, also over reboots.

use serde_json::Value;

use crate::json::Fields;
use crate::problem::{Parsed, Problems, excerpt};

/// The counters of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceStats {
    /// Its path, or whatever stands for it.
    pub device: String,
    /// Its number in the filesystem; JSON only.
    pub devid: Option<u64>,
    /// Writes that failed.
    pub write: Option<u64>,
    /// Reads that failed.
    pub read: Option<u64>,
    /// Flushes that failed.
    pub flush: Option<u64>,
    /// Blocks whose checksum did not match.
    pub corruption: Option<u64>,
    /// Blocks that were older than they should be.
    pub generation: Option<u64>,
}

impl DeviceStats {
    /// Each counter with its name, as far as it is known.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("write", self.write),
            ("read", self.read),
            ("flush", self.flush),
            ("corruption", self.corruption),
            ("generation", self.generation),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    fn counter(&mut self, name: &str) -> Option<&mut Option<u64>> {
        match name {
            "write_io_errs" => Some(&mut self.write),
            "read_io_errs" => Some(&mut self.read),
            "flush_io_errs" => Some(&mut self.flush),
            "corruption_errs" => Some(&mut self.corruption),
            "generation_errs" => Some(&mut self.generation),
            _ => None,
        }
    }
}

/// Reads either form. A counter that is not there is a problem: nobody may take it for zero.
pub fn parse(text: &str) -> Parsed<Vec<DeviceStats>> {
    let mut problems = Problems::default();
    let mut devices = Vec::new();
    if text.trim_start().starts_with('{') {
        parse_json(text, &mut devices, &mut problems);
    } else {
        parse_text(text, &mut devices, &mut problems);
    }
    if devices.is_empty() {
        problems.overall("expected the counters of a device, found none");
    }
    for device in &devices {
        let count = device.counters().count();
        if count < 5 {
            let name = excerpt(&device.device);
            problems.overall(format!("{name}: expected 5 counters, found {count}"));
        }
    }
    problems.with(devices)
}

fn parse_text(text: &str, devices: &mut Vec<DeviceStats>, problems: &mut Problems) {
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let read = || {
            // A path may hold what ends the brackets.
            let (device, rest) = line.trim().strip_prefix('[')?.rsplit_once("].")?;
            let (name, number) = rest.split_once(char::is_whitespace)?;
            Some((device, name, number.trim().parse::<u64>().ok()?))
        };
        let Some((device, name, number)) = read() else {
            let found = excerpt(line);
            problems.at_index(
                index,
                format!("expected [device].counter and a number, found \"{found}\""),
            );
            continue;
        };
        let is_same = devices.last().is_some_and(|last| last.device == device);
        if !is_same {
            devices.push(DeviceStats {
                device: device.to_owned(),
                ..DeviceStats::default()
            });
        }
        match devices.last_mut().and_then(|last| last.counter(name)) {
            Some(counter) => *counter = Some(number),
            None => problems.at_index(index, format!("unknown counter \"{}\"", excerpt(name))),
        }
    }
}

fn parse_json(text: &str, devices: &mut Vec<DeviceStats>, problems: &mut Problems) {
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            problems.at_index(error.line().saturating_sub(1), format!("not valid JSON: {error}"));
            return;
        }
    };
    let Some(list) = document.get("device-stats").and_then(Value::as_array) else {
        problems.overall("expected a list called device-stats");
        return;
    };
    for item in list {
        let name = item.get("device").and_then(Value::as_str);
        let (Value::Object(object), Some(name)) = (item, name) else {
            let found = excerpt(&item.to_string());
            problems.overall(format!("expected a device, found {found}"));
            continue;
        };
        let mut fields = Fields {
            subject: name,
            object,
            problems,
        };
        let device = DeviceStats {
            device: name.to_owned(),
            devid: fields.unsigned("devid"),
            write: fields.unsigned("write_io_errs"),
            read: fields.unsigned("read_io_errs"),
            flush: fields.unsigned("flush_io_errs"),
            corruption: fields.unsigned("corruption_errs"),
            generation: fields.unsigned("generation_errs"),
        };
        devices.push(device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[/dev/sda].write_io_errs    0\n[/dev/sda].read_io_errs     1\n[/dev/sda].flush_io_errs    2\n\
                        [/dev/sda].corruption_errs  14921\n[/dev/sda].generation_errs  3\n";

    #[test]
    fn both_forms_say_the_same() {
        let json = r#"{"__header":{"version":"1"},"device-stats":[{"device":"/dev/sda","devid":"1","write_io_errs":"0",
            "read_io_errs":"1","flush_io_errs":2,"corruption_errs":"14921","generation_errs":3}]}"#;
        let (text, json) = (parse(TEXT), parse(json));
        assert!(
            text.problems.is_empty() && json.problems.is_empty(),
            "{:?}",
            json.problems
        );
        assert_eq!(json.value[0].devid, Some(1));
        let counters = |parsed: &Parsed<Vec<DeviceStats>>| parsed.value[0].counters().collect::<Vec<_>>();
        assert_eq!(counters(&text), counters(&json));
        assert_eq!(text.value[0].corruption, Some(14921));
    }

    #[test]
    fn a_counter_that_is_not_there_is_not_zero() {
        let parsed =
            parse("[/dev/sda].write_io_errs 0\n[<missing disk>].read_io_errs x\n[/dev/sda].new_errs 1\n");
        assert_eq!((parsed.value[0].write, parsed.value[0].read), (Some(0), None));
        assert_eq!(parsed.problems.len(), 3, "{:?}", parsed.problems);
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"device-stats":[1]}"#,
            "ERROR: not a btrfs filesystem: /x\n",
        ] {
            assert!(!parse(text).problems.is_empty(), "{text}");
        }
    }

    #[test]
    fn several_devices_are_kept_apart() {
        let two = TEXT.to_owned() + &TEXT.replace("/dev/sda", "devid:2");
        let parsed = parse(&two);
        assert!(parsed.problems.is_empty());
        assert_eq!(parsed.value[1].device, "devid:2");
    }
}
