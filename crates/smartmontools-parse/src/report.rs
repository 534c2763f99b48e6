//! What one run of smartctl said, field by field, as printed.
//!
//! Absent fields are `None` or empty: smartctl prints only what it was asked for and what the drive has. Nothing is
//! interpreted here; what the values mean is in the methods of [`Report`] and in [`crate::verdict`].

mod ata;
mod nvme;
mod scsi;

use serde::Serialize;

pub use ata::{
    Ata, Attribute, AttributeFlags, ErrorLog, ErrorLogEntry, InterfaceSpeed, PhyEvent, SctErc, SctStatus,
    SelfTest, SelfTestLog, SelfTestStatus, Statistic, StatisticsPage,
};
pub use nvme::{Nvme, NvmeErrorLog, NvmeHealthLog, NvmeNamespace, NvmeSelfTest};
pub use scsi::{BackgroundScan, ErrorCounters, Scsi, ScsiSelfTest, StartStop};

use crate::exit_status::ExitStatus;

/// Everything read of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Version of the JSON format, `(1, 0)` so far.
    pub json_format_version: Option<(u32, u32)>,
    /// The program that was run.
    pub smartctl: Smartctl,
    /// Time of the reading by the machine's clock, Unix seconds.
    pub local_time_s: Option<i64>,
    /// The device as smartctl addressed it.
    pub device: Device,
    /// Family in smartctl's drive database.
    pub model_family: Option<String>,
    /// Model; for SCSI vendor and product.
    pub model_name: Option<String>,
    /// Serial number.
    pub serial_number: Option<String>,
    /// Firmware version; for SCSI the revision.
    pub firmware_version: Option<String>,
    /// Worldwide name of an ATA drive.
    pub wwn: Option<Wwn>,
    /// Capacity in bytes.
    pub capacity_bytes: Option<u64>,
    /// Capacity in logical blocks.
    pub capacity_blocks: Option<u64>,
    /// Bytes of a logical block.
    pub logical_block_bytes: Option<u64>,
    /// Bytes of a physical block.
    pub physical_block_bytes: Option<u64>,
    /// Rotations a minute; 0 for a drive that says it does not rotate.
    pub rotation_rate: Option<u64>,
    /// Form factor in words.
    pub form_factor: Option<String>,
    /// Whether the model is in smartctl's drive database, so that vendor attributes have their right names.
    pub in_database: Option<bool>,
    /// Whether TRIM is supported.
    pub trim_supported: Option<bool>,
    /// Whether the drive has SMART.
    pub smart_available: Option<bool>,
    /// Whether SMART is switched on.
    pub smart_enabled: Option<bool>,
    /// The drive's own verdict.
    pub smart_status: Option<SmartStatus>,
    /// Temperatures.
    pub temperature: Temperature,
    /// Time switched on.
    pub power_on_time: Option<PowerOnTime>,
    /// Times switched on; for SCSI see [`StartStop`].
    pub power_cycles: Option<u64>,
    /// Share of the rated endurance used, percent; printed since smartmontools 7.5.
    pub endurance_used_percent: Option<u64>,
    /// Spare blocks left, percent; printed since smartmontools 7.5.
    pub spare_available_percent: Option<u64>,
    /// What of ATA was printed.
    pub ata: Ata,
    /// What of NVMe was printed.
    pub nvme: Nvme,
    /// What of SCSI was printed.
    pub scsi: Scsi,
    /// Fields a verdict rests on that were there and could not be read; while there are any, nothing is healthy.
    pub unread: Vec<String>,
}

/// The program and how its run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Smartctl {
    /// Major and minor version.
    pub version: Option<(u32, u32)>,
    /// Source revision.
    pub svn_revision: Option<String>,
    /// Who built it.
    pub build_info: Option<String>,
    /// What it was built for, and the running kernel.
    pub platform_info: Option<String>,
    /// Version of the drive database.
    pub database_version: Option<String>,
    /// The command line.
    pub argv: Vec<String>,
    /// Exit status. A caller that knows the process's own status may set it, for output without one.
    pub exit_status: Option<ExitStatus>,
    /// What it had to say besides.
    pub messages: Vec<Message>,
}

/// A message of smartctl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `error`, `warning` or `information`.
    pub severity: Option<String>,
    /// The words.
    pub text: String,
}

/// The device as smartctl addressed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Device node.
    pub name: Option<String>,
    /// Device node with what smartctl found there, `/dev/sda [SAT]`.
    pub info_name: Option<String>,
    /// Type for `--device`: `sat`, `nvme`, `scsi`, `megaraid,1`…
    pub kind: Option<String>,
    /// `ATA`, `NVMe` or `SCSI`.
    pub protocol: Option<String>,
}

/// Worldwide name of an ATA drive, as its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Wwn {
    /// Network address authority, 4 bits.
    pub naa: u64,
    /// Organisation, 24 bits.
    pub oui: u64,
    /// The organisation's number, 36 bits.
    pub id: u64,
}

impl Wwn {
    /// 16 lowercase hex digits, as the kernel and udev write it behind `0x`; absent for parts that do not fit or a
    /// name of zeros.
    pub fn hex(&self) -> Option<String> {
        let fits = self.naa < 1 << 4 && self.oui < 1 << 24 && self.id < 1 << 36;
        (fits && (self.oui, self.id) != (0, 0))
            .then(|| format!("{:x}{:06x}{:09x}", self.naa, self.oui, self.id))
    }
}

/// The drive's own verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SmartStatus {
    /// Whether the drive calls itself good.
    pub passed: Option<bool>,
    /// Critical warning bits of an NVMe drive.
    pub nvme_value: Option<u64>,
    /// Additional sense code of a SCSI drive's informational exception.
    pub scsi_asc: Option<u64>,
    /// Its qualifier.
    pub scsi_ascq: Option<u64>,
    /// The exception in words.
    pub scsi_text: Option<String>,
}

/// Temperatures in degrees Celsius, as printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Temperature {
    /// Now. Use [`Report::temperature_celsius`], which knows what is no temperature.
    pub current: Option<i64>,
    /// Highest of the drive's life.
    pub lifetime_max: Option<i64>,
    /// Lowest of the drive's life.
    pub lifetime_min: Option<i64>,
    /// Highest recommended continuous temperature.
    pub op_limit_max: Option<i64>,
    /// Highest allowed temperature (ATA: beyond is damage).
    pub limit_max: Option<i64>,
    /// Critical temperature (NVMe, since smartmontools 7.4).
    pub critical_limit_max: Option<i64>,
    /// Temperature at which a SCSI drive reports an exception; 0 means unset.
    pub drive_trip: Option<i64>,
}

/// Time switched on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PowerOnTime {
    /// Whole hours.
    pub hours: Option<u64>,
    /// Minutes beyond them.
    pub minutes: Option<u64>,
}

impl Report {
    /// Whether smartctl said anything of a device at all.
    pub fn is_of_document(&self) -> bool {
        self.smartctl.version.is_some() || self.device != Device::default() || self.serial_number.is_some()
    }

    /// Whether anything was read that tells of health besides the drive's own verdict.
    pub(crate) fn has_health_data(&self) -> bool {
        !self.ata.attributes.is_empty()
            || self.nvme.health.is_some()
            || self.scsi.grown_defects.is_some()
            || self.scsi.read.is_some()
            || self.scsi.write.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wwn_is_written_as_the_kernel_writes_it() {
        let wwn = Wwn {
            naa: 5,
            oui: 0x0014ee,
            id: 0x2_0a1b_2c3d,
        };
        assert_eq!(wwn.hex().as_deref(), Some("50014ee20a1b2c3d"));
        assert_eq!(
            Wwn {
                naa: 5,
                oui: 0,
                id: 0
            }
            .hex(),
            None
        );
        assert_eq!(
            Wwn {
                naa: 16,
                oui: 1,
                id: 1
            }
            .hex(),
            None
        );
    }
}
