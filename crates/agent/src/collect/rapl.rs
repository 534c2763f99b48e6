//! Energy that processors and memory took.

use std::collections::BTreeMap;

use muster_catalogue::NODE_RAPL_JOULES;
use muster_parse::hwmon::clean;

use super::reading::{FileCollector, Reading, every_15s};
use super::{Descriptor, Place};
use crate::host::HostError;

/// Zones told of.
const ZONES_MAX: usize = 64;
const ROOT: &str = "/sys/class/powercap";

/// The rapl collector. Only root may read the counters, because they tell what others compute.
pub const DESCRIPTOR: Descriptor = Descriptor {
    place: Place::Privileged,
    ..every_15s(
        "rapl",
        "energy that processors and memory took, from /sys/class/powercap",
        |_| Box::new(RAPL),
    )
};

const RAPL: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no energy counters that can be read (a virtual machine, an old processor, or no rights)",
    read,
};

/// Documentation/power/powercap/powercap.rst. The counters start anew at `max_energy_range_uj`.
fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let mut names = reading.files.names(ROOT);
    names.retain(|name| name.starts_with("intel-rapl:"));
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for zone in reading.first(ROOT, names, ZONES_MAX) {
        let path = format!("{ROOT}/{zone}");
        let Some(name) = reading.files.word(&format!("{path}/name")) else {
            continue;
        };
        let (name, index) = numbered(&name, &mut seen);
        if let Some(microjoules) = reading.number(&format!("{path}/energy_uj")) {
            reading.draft.sample_in_with(
                &NODE_RAPL_JOULES,
                &clean(&name).replace(':', "_"),
                &[("index", &index), ("path", &path)],
                microjoules / 1e6,
            );
        }
    }
    Ok(())
}

/// `package-1` is number 1 of the packages; other names are counted.
fn numbered(name: &str, seen: &mut BTreeMap<String, u32>) -> (String, String) {
    if let Some((stem, number)) = name.split_once('-')
        && number.parse::<u32>().is_ok()
    {
        return (stem.to_owned(), number.to_owned());
    }
    let count = seen.entry(name.to_owned()).or_default();
    let index = count.to_string();
    *count += 1;
    (name.to_owned(), index)
}
