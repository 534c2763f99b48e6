//! Network interfaces that are bonded, and how many of them work.

use muster_catalogue::{NODE_BONDING_ACTIVE, NODE_BONDING_SLAVES};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Bonds, and members of each, told of.
const ITEMS_MAX: usize = 128;
const ROOT: &str = "/sys/class/net";

/// The bonding collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "bonding",
    "bonded network interfaces, and how many of each bond work",
    |_| Box::new(BONDING),
);

const BONDING: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no interface is bonded",
    read,
};

/// Documentation/networking/bonding.rst.
fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let Some(text) = reading.text(&format!("{ROOT}/bonding_masters"))? else {
        return Ok(());
    };
    let bonds = text.split_ascii_whitespace().collect();
    for bond in reading.first("bonding_masters", bonds, ITEMS_MAX) {
        let folder = format!("{ROOT}/{bond}");
        let members = reading
            .files
            .word(&format!("{folder}/bonding/slaves"))
            .unwrap_or_default();
        let members: Vec<&str> = members.split_ascii_whitespace().collect();
        let is_active = |member: &&str| {
            // The folder was named slave_… before Linux 3.17.
            ["lower", "slave"].iter().any(|stem| {
                let path = format!("{folder}/{stem}_{member}/bonding_slave/mii_status");
                reading.files.word(&path).as_deref() == Some("up")
            })
        };
        let active = members
            .iter()
            .take(ITEMS_MAX)
            .filter(|member| is_active(member))
            .count();
        let labels = [("master", bond)];
        reading
            .draft
            .sample(&NODE_BONDING_SLAVES, &labels, members.len() as f64);
        reading.draft.sample(&NODE_BONDING_ACTIVE, &labels, active as f64);
    }
    Ok(())
}
