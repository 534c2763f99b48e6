//! What the firmware says the machine is.

use muster_catalogue::NODE_DMI_INFO;

use super::reading::{FileCollector, Reading, every_minute};
use super::{Descriptor, Place};
use crate::host::HostError;

/// The dmi collector. Only root may read the serial numbers.
pub const DESCRIPTOR: Descriptor = Descriptor {
    place: Place::Privileged,
    ..every_minute("dmi", "what the firmware says the machine is", |_| Box::new(DMI))
};

const DMI: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the firmware says nothing (no /sys/class/dmi/id)",
    read,
};

/// Label and file. Serial numbers and the UUID can be read by root only.
const FIELDS: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let values: Vec<(&'static str, String)> = FIELDS
        .into_iter()
        .filter_map(|(label, file)| {
            let text = reading.files.text(&format!("/sys/class/dmi/id/{file}")).ok()??;
            Some((label, text.trim().to_owned()))
        })
        .collect();
    if !values.is_empty() {
        let labels: Vec<_> = values
            .iter()
            .map(|(label, value)| (*label, value.as_str()))
            .collect();
        reading.sample(&NODE_DMI_INFO, &labels, 1.0);
    }
    Ok(())
}
