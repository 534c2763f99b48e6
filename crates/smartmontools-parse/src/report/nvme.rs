//! What smartctl prints of an NVMe drive.

use serde::Serialize;

/// NVMe.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Nvme {
    /// PCI vendor.
    pub pci_vendor_id: Option<u64>,
    /// PCI subsystem vendor.
    pub pci_subsystem_id: Option<u64>,
    /// Organisation of the maker.
    pub ieee_oui: Option<u64>,
    /// Number of the controller in its subsystem.
    pub controller_id: Option<u64>,
    /// Version of the standard.
    pub version: Option<String>,
    /// Namespaces the controller can have.
    pub namespace_count: Option<u64>,
    /// Namespaces that were printed.
    pub namespaces: Vec<NvmeNamespace>,
    /// Bytes of the whole drive.
    pub total_capacity_bytes: Option<u64>,
    /// Bytes in no namespace.
    pub unallocated_capacity_bytes: Option<u64>,
    /// SMART / Health Information log.
    pub health: Option<NvmeHealthLog>,
    /// Composite temperature at which the drive warns, degrees Celsius.
    pub warning_temperature: Option<i64>,
    /// Composite temperature that is critical, degrees Celsius.
    pub critical_temperature: Option<i64>,
    /// How much of the error log was read.
    pub error_log: Option<NvmeErrorLog>,
    /// Self-tests, newest first.
    pub self_tests: Vec<NvmeSelfTest>,
    /// Code of the self-test that runs now; 0 for none.
    pub self_test_running: Option<u64>,
    /// How much of it is done, percent.
    pub self_test_completion_percent: Option<u64>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NvmeNamespace {
    /// Number.
    pub id: u64,
    /// Bytes that can be addressed.
    pub size_bytes: Option<u64>,
    /// Bytes that can be allocated.
    pub capacity_bytes: Option<u64>,
    /// Bytes allocated.
    pub utilization_bytes: Option<u64>,
    /// Bytes of a block.
    pub lba_bytes: Option<u64>,
    /// EUI-64, 16 lowercase hex digits.
    pub eui64: Option<String>,
}

/// SMART / Health Information log, NVMe base specification, log page 2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NvmeHealthLog {
    /// Critical warning bits.
    pub critical_warning: Option<u64>,
    /// Composite temperature, degrees Celsius.
    pub temperature: Option<i64>,
    /// Spare capacity left, percent.
    pub available_spare: Option<u64>,
    /// Spare capacity below which the drive warns, percent.
    pub available_spare_threshold: Option<u64>,
    /// Share of the endurance used, percent; may go past 100, ends at 255.
    pub percentage_used: Option<u64>,
    /// Thousands of 512-byte units read.
    pub data_units_read: Option<u64>,
    /// Thousands of 512-byte units written.
    pub data_units_written: Option<u64>,
    /// Read commands.
    pub host_reads: Option<u64>,
    /// Write commands.
    pub host_writes: Option<u64>,
    /// Minutes busy.
    pub controller_busy_minutes: Option<u64>,
    /// Power cycles.
    pub power_cycles: Option<u64>,
    /// Hours on; may leave out time in low power.
    pub power_on_hours: Option<u64>,
    /// Power lost without warning.
    pub unsafe_shutdowns: Option<u64>,
    /// Times data could not be recovered.
    pub media_errors: Option<u64>,
    /// Entries ever made in the error log; counts harmless refusals of commands too.
    pub error_log_entries: Option<u64>,
    /// Minutes above the warning temperature.
    pub warning_temperature_minutes: Option<u64>,
    /// Minutes above the critical temperature.
    pub critical_temperature_minutes: Option<u64>,
    /// Further temperature sensors, degrees Celsius.
    pub temperature_sensors: Vec<i64>,
}

/// How much of the error log was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NvmeErrorLog {
    /// Entries the log can hold.
    pub size: Option<u64>,
    /// Entries read.
    pub read: Option<u64>,
    /// Entries left unread.
    pub unread: Option<u64>,
}

/// One self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NvmeSelfTest {
    /// `Short` or `Extended`.
    pub kind: Option<String>,
    /// 0 good, 1 to 4, 8 and 9 broken off, 5 to 7 failed.
    pub result: Option<u64>,
    /// In words.
    pub result_text: Option<String>,
    /// Hours the drive had been on.
    pub power_on_hours: Option<u64>,
}

impl NvmeSelfTest {
    /// Whether the test ended and what it found.
    pub fn outcome(&self) -> Option<bool> {
        match self.result? {
            0 => Some(true),
            5..=7 => Some(false),
            _ => None,
        }
    }
}
