//! Errors of memory that the hardware found, and those it could mend.

use muster_catalogue::{
    Metric, NODE_EDAC_CHANNEL_CORRECTABLE_ERRORS_TOTAL, NODE_EDAC_CHANNEL_UNCORRECTABLE_ERRORS_TOTAL,
    NODE_EDAC_CORRECTABLE_ERRORS_TOTAL, NODE_EDAC_CSROW_CORRECTABLE_ERRORS_TOTAL,
    NODE_EDAC_CSROW_UNCORRECTABLE_ERRORS_TOTAL, NODE_EDAC_UNCORRECTABLE_ERRORS_TOTAL,
};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Controllers, and rows of each, told of.
const ITEMS_MAX: usize = 64;

/// The edac collector.
pub const DESCRIPTOR: Descriptor = every_15s("edac", "errors of memory that the hardware found", |_| {
    Box::new(EDAC)
});

const EDAC: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no memory controller tells of errors (no /sys/devices/system/edac/mc)",
    read,
};

const PER_ROW: [(&str, &Metric); 2] = [
    ("ce_count", &NODE_EDAC_CSROW_CORRECTABLE_ERRORS_TOTAL),
    ("ue_count", &NODE_EDAC_CSROW_UNCORRECTABLE_ERRORS_TOTAL),
];

/// Documentation/ABI/testing/sysfs-devices-edac. What cannot be ascribed to a row is counted under `unknown`.
fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let root = "/sys/devices/system/edac/mc";
    for (number, name) in reading.numbered(root, "mc", ITEMS_MAX) {
        let (controller, folder) = (number.to_string(), format!("{root}/{name}"));
        let of_controller = [("controller", controller.as_str())];
        let of_no_row = [("controller", controller.as_str()), ("csrow", "unknown")];
        reading.file(
            &format!("{folder}/ce_count"),
            &NODE_EDAC_CORRECTABLE_ERRORS_TOTAL,
            &of_controller,
        );
        reading.file(
            &format!("{folder}/ue_count"),
            &NODE_EDAC_UNCORRECTABLE_ERRORS_TOTAL,
            &of_controller,
        );
        for (file, metric) in [
            ("ce_noinfo_count", PER_ROW[0].1),
            ("ue_noinfo_count", PER_ROW[1].1),
        ] {
            reading.file(&format!("{folder}/{file}"), metric, &of_no_row);
        }
        for (number, name) in reading.numbered(&folder, "csrow", ITEMS_MAX) {
            row(
                reading,
                &format!("{folder}/{name}"),
                &controller,
                &number.to_string(),
            );
        }
    }
    Ok(())
}

fn row(reading: &mut Reading<'_>, folder: &str, controller: &str, csrow: &str) {
    for (file, metric) in PER_ROW {
        let labels = [("controller", controller), ("csrow", csrow)];
        reading.file(&format!("{folder}/{file}"), metric, &labels);
    }
    let channels: Vec<String> = reading
        .files
        .names(folder)
        .iter()
        .filter_map(|name| Some(name.strip_prefix("ch")?.strip_suffix("_ce_count")?.to_owned()))
        .collect();
    for channel in reading.first(folder, channels, ITEMS_MAX) {
        let label = reading
            .files
            .word(&format!("{folder}/ch{channel}_dimm_label"))
            .unwrap_or_default();
        let labels = [
            ("controller", controller),
            ("csrow", csrow),
            ("channel", &channel),
            ("dimm_label", &label),
        ];
        for (kind, metric) in [
            ("ce", &NODE_EDAC_CHANNEL_CORRECTABLE_ERRORS_TOTAL),
            ("ue", &NODE_EDAC_CHANNEL_UNCORRECTABLE_ERRORS_TOTAL),
        ] {
            reading.file(&format!("{folder}/ch{channel}_{kind}_count"), metric, &labels);
        }
    }
}
