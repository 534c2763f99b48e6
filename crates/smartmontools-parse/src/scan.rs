//! `smartctl --scan --json` and `--scan-open --json`: which devices there are.

use serde::Serialize;
use serde_json::Value;

use crate::node::Node;
use crate::problem::{Problem, Problems};

/// A device that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScannedDevice {
    /// Device node, `/dev/sda`; several devices behind one RAID controller share one (`/dev/bus/0`).
    pub name: String,
    /// Device node with what was found there.
    pub info_name: Option<String>,
    /// Type to give to `--device`; together with the name it addresses the device.
    pub kind: Option<String>,
    /// `ATA`, `NVMe` or `SCSI`.
    pub protocol: Option<String>,
    /// Why the device could not be opened, from `--scan-open`.
    pub open_error: Option<String>,
}

/// What was found, beside what could not be understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// The devices; none is no problem.
    pub devices: Vec<ScannedDevice>,
    /// Everything that was not understood.
    pub problems: Vec<Problem>,
}

/// Reads the list. Never panics; text that is not one whole JSON object gives no devices and a problem.
pub fn parse(text: &str) -> Scan {
    let problems = Problems::default();
    let devices = match serde_json::from_str::<Value>(text) {
        Err(error) => {
            problems.not_json(&error);
            Vec::new()
        }
        Ok(Value::Object(document)) => {
            let root = Node::root(&document, &problems);
            if !root.has("devices") && !root.has("smartctl") {
                problems.at(
                    "",
                    "expected the output of smartctl --scan --json, found neither devices nor smartctl",
                );
            }
            root.nodes("devices").iter().filter_map(read_device).collect()
        }
        Ok(_) => {
            problems.at(
                "",
                "expected the output of smartctl --scan --json, found JSON that is not an object",
            );
            Vec::new()
        }
    };
    Scan {
        devices,
        problems: problems.into_vec(),
    }
}

fn read_device(node: &Node<'_>) -> Option<ScannedDevice> {
    let Some(name) = node.text("name") else {
        node.problem("name", "expected the name of a device");
        return None;
    };
    Some(ScannedDevice {
        name,
        info_name: node.text("info_name"),
        kind: node.text("type"),
        protocol: node.text("protocol"),
        open_error: node.text("open_error"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_disks_is_no_problem() {
        assert_eq!(parse(r#"{"smartctl":{"exit_status":0}}"#), Scan::default());
    }

    #[test]
    fn one_odd_entry_costs_only_itself() {
        let text = r#"{"devices":[{"name":"/dev/sda","type":"sat"},7,{"type":"scsi"},{"name":"/dev/bus/0","type":"megaraid,1"}]}"#;
        let scan = parse(text);
        let names: Vec<&str> = scan.devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["/dev/sda", "/dev/bus/0"]);
        assert_eq!(scan.problems.len(), 2);
    }

    #[test]
    fn cut_text_is_a_problem() {
        assert_eq!(parse(r#"{"devices":[{"name":"/dev/sda"#).problems.len(), 1);
    }
}
