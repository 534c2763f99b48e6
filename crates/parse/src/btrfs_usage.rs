//! `btrfs device usage --raw`: how each device of a filesystem is taken.
//!
//! btrfs-device(8). A block for each device, headed `/dev/sda, ID: 1`; one that is gone is headed `missing, ID: 2`, or
//! keeps its path and has the size 0. What is unallocated belongs to no block group yet.

use crate::problem::{Parsed, Problems, excerpt};

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceUsage {
    /// Its path, or `missing`.
    pub device: String,
    /// Its number in the filesystem.
    pub devid: u64,
    /// Bytes of the device; 0 if it is gone.
    pub size_bytes: Option<u64>,
    /// Bytes that no block group has.
    pub unallocated_bytes: Option<u64>,
}

/// Reads it.
pub fn parse(text: &str) -> Parsed<Vec<DeviceUsage>> {
    let mut problems = Problems::default();
    let mut devices: Vec<DeviceUsage> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            match heading(trimmed) {
                Some(device) => devices.push(device),
                None => {
                    let found = excerpt(trimmed);
                    problems.at_index(index, format!("expected a device, found \"{found}\""));
                }
            }
            continue;
        }
        let bytes = |text: &str| text.trim().parse::<u64>().ok();
        let (Some(device), Some((label, value))) = (devices.last_mut(), trimmed.split_once(':')) else {
            let found = excerpt(trimmed);
            problems.at_index(index, format!("expected a size, found \"{found}\""));
            continue;
        };
        match label {
            "Device size" => device.size_bytes = bytes(value),
            "Unallocated" => device.unallocated_bytes = bytes(value),
            // Slack, and what block groups of each type and profile take.
            _ => {}
        }
    }
    for device in devices.iter().filter(|device| device.unallocated_bytes.is_none()) {
        let name = excerpt(&device.device);
        problems.overall(format!("{name}: what is unallocated is missing"));
    }
    problems.with(devices)
}

fn heading(line: &str) -> Option<DeviceUsage> {
    let (device, devid) = line.rsplit_once(", ID: ")?;
    Some(DeviceUsage {
        device: device.to_owned(),
        devid: devid.trim().parse().ok()?,
        ..DeviceUsage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/dev/sda, ID: 1\n   Device size:           536870912\n   Device slack:                  0\n   \
                        Data,RAID1:            184549376\n   Unallocated:           256704512\n\n\
                        missing, ID: 2\n   Device size:                   0\n   Unallocated:           256704512\n";

    #[test]
    fn each_device_is_read_and_a_cut_one_is_told() {
        let parsed = parse(TEXT);
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        let found: Vec<_> = parsed
            .value
            .iter()
            .map(|device| {
                (
                    device.device.as_str(),
                    device.devid,
                    device.size_bytes,
                    device.unallocated_bytes,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("/dev/sda", 1, Some(536_870_912), Some(256_704_512)),
                ("missing", 2, Some(0), Some(256_704_512))
            ]
        );
        for odd in [
            "ERROR: not a btrfs filesystem: /\n",
            "/dev/sda, ID: 1\n   Device size: 5\n",
            "   Data: 3\n",
        ] {
            assert!(!parse(odd).problems.is_empty(), "{odd:?}");
        }
        assert!(parse("").value.is_empty());
    }
}
