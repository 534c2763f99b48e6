//! `[smart.devices."…"]`: what is decided about single drives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::parse_duration;
use crate::config::Problems;

/// Most drives with settings of their own, and most types of one.
const ENTRIES_MAX: usize = 256;
/// A drive asked less often than this is as good as ignored.
const INTERVAL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Settings of single drives, by what the settings call them: `/dev/…`, a serial number or a resource key.
pub type Devices = BTreeMap<String, Device>;

/// Settings of one drive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// What to give to `--device` of smartctl; several for the disks behind one controller. Empty lets smartctl find out.
    pub types: Vec<String>,
    /// How often it is asked, if less often than the collector runs.
    pub interval: Option<Duration>,
    /// Whether it is never asked.
    pub is_ignored: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawDevice {
    #[serde(rename = "type")]
    types: Option<OneOrMany>,
    interval: Option<String>,
    ignore: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn validate(raw: BTreeMap<String, RawDevice>, problems: &mut Problems) -> Devices {
    if ENTRIES_MAX < raw.len() {
        problems.note(
            "smart.devices",
            &format!("at most {ENTRIES_MAX} drives can have settings"),
        );
    }
    raw.into_iter()
        .map(|(name, raw)| {
            let device = validate_device(&name, raw, problems);
            (name, device)
        })
        .collect()
}

fn validate_device(name: &str, raw: RawDevice, problems: &mut Problems) -> Device {
    let key = |field: &str| format!("smart.devices.{name:?}.{field}");
    if name.trim().is_empty() || (name.starts_with("/dev/") && name.split('/').any(|part| part == "..")) {
        problems.note(
            "smart.devices",
            &format!("{name:?} is no node, serial number or key of a drive"),
        );
    }
    let types = match raw.types {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    };
    if let Some(odd) = types.iter().find(|kind| !is_device_type(kind)) {
        problems.note(
            &key("type"),
            &format!("{odd:?} is no device type of smartctl, such as \"sat\" or \"megaraid,0\""),
        );
    }
    if ENTRIES_MAX < types.len() {
        problems.note(&key("type"), &format!("at most {ENTRIES_MAX} types are possible"));
    }
    if 1 < types.len() && !name.starts_with("/dev/") {
        problems.note(&key("type"), &"several types need a node, such as \"/dev/bus/0\"");
    }
    let interval = raw
        .interval
        .as_deref()
        .and_then(|text| problems.check(&key("interval"), parse_duration(text)));
    if interval.is_some_and(|interval| INTERVAL_MAX < interval) {
        problems.note(
            &key("interval"),
            &"at most 30 days are possible; ignore the drive instead",
        );
    }
    Device {
        types,
        interval,
        is_ignored: raw.ignore,
    }
}

/// Whether this can be a type: smartctl(8) knows words, `word,N`, `word,N/M` and `word+word,N`. Nothing that could be
/// taken for another option.
fn is_device_type(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_,+/.:-".contains(&byte);
    text.len() <= 64
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Devices, String> {
        Config::parse(Utf8Path::new("agent.toml"), text)
            .map(|config| config.collect.smart.devices)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_drive_has_one_type_or_several() {
        let devices = read(
            "[smart.devices.\"/dev/sda\"]\ntype = \"sat\"\ninterval = \"6h\"\n\
             [smart.devices.\"/dev/bus/0\"]\ntype = [\"megaraid,0\", \"megaraid,1\"]\n[smart.devices.S1]\nignore = true\n",
        )
        .unwrap();
        assert_eq!(devices["/dev/sda"].types, ["sat"]);
        assert_eq!(devices["/dev/sda"].interval, Some(Duration::from_secs(6 * 3600)));
        assert_eq!(devices["/dev/bus/0"].types.len(), 2);
        assert!(devices["S1"].is_ignored);
    }

    #[test]
    fn what_could_be_another_option_is_no_type() {
        for odd in ["--scan", "-s off", "sat /dev/sdb", "", "sat\u{0}", ",1"] {
            let text = format!(
                "[smart.devices.\"/dev/sda\"]\ntype = {:?}\n",
                odd.replace('\u{0}', "\u{1}")
            );
            assert!(read(&text).is_err(), "{odd:?}");
        }
        for good in [
            "sat",
            "sat,12",
            "megaraid,4",
            "sat+megaraid,4",
            "areca,3/1",
            "cciss,0",
            "nvme,0x1",
            "sntjmicron",
        ] {
            assert!(is_device_type(good), "{good}");
        }
    }

    #[test]
    fn mistakes_name_the_drive() {
        let error =
            read("[smart.devices.S1]\ntype = [\"sat\", \"scsi\"]\ninterval = \"soon\"\n").unwrap_err();
        assert!(
            error.contains("S1") && error.contains("several types") && error.contains("soon"),
            "{error}"
        );
        assert!(read("[smart.devices.S1]\ntyp = \"sat\"\n").is_err());
    }
}
