//! What smartctl prints of a SCSI drive (SAS, Fibre Channel, and whatever speaks SCSI through a bridge).

use serde::Serialize;

/// SCSI.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scsi {
    /// Vendor.
    pub vendor: Option<String>,
    /// Product.
    pub product: Option<String>,
    /// Vendor and product together.
    pub model_name: Option<String>,
    /// Revision of the firmware.
    pub revision: Option<String>,
    /// Version of the standard.
    pub version: Option<String>,
    /// Worldwide name of the logical unit, `0x5000…`.
    pub logical_unit_id: Option<String>,
    /// What the device is, `disk`.
    pub device_type: Option<String>,
    /// Transport, `SAS (SPL-4)`.
    pub transport: Option<String>,
    /// Elements in the grown defect list: sectors replaced since the drive was made.
    pub grown_defects: Option<u64>,
    /// Sectors that could not be read and wait for a write.
    pub pending_defects: Option<u64>,
    /// Share of the endurance used, percent; solid state only.
    pub percentage_used: Option<u64>,
    /// Errors while reading.
    pub read: Option<ErrorCounters>,
    /// Errors while writing.
    pub write: Option<ErrorCounters>,
    /// Errors while verifying.
    pub verify: Option<ErrorCounters>,
    /// Errors outside the medium.
    pub non_medium_errors: Option<u64>,
    /// Start-stop and load cycles.
    pub start_stop: Option<StartStop>,
    /// Trip temperature in the older place, degrees Celsius; 0 means unset.
    pub drive_trip: Option<i64>,
    /// Temperature of the first sensor in the environmental reports, degrees Celsius.
    pub environment_temperature: Option<i64>,
    /// Self-tests, newest first.
    pub self_tests: Vec<ScsiSelfTest>,
    /// The drive's own scan of its medium.
    pub background_scan: Option<BackgroundScan>,
}

/// The drive's own scan of its medium, SBC-4, background scan results log.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BackgroundScan {
    /// 0 none is active, 1 one is active, 2 one waits, 3 and more say why none runs.
    pub status: Option<u64>,
    /// In words.
    pub status_text: Option<String>,
    /// How far the scan is, percent.
    pub progress_percent: Option<f64>,
    /// Scans so far.
    pub scans: Option<u64>,
    /// Scans of the medium so far.
    pub medium_scans: Option<u64>,
}

/// One row of the error counter log.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ErrorCounters {
    /// Corrected at once by error-correcting code.
    pub corrected_by_ecc_fast: Option<u64>,
    /// Corrected by error-correcting code after some delay.
    pub corrected_by_ecc_delayed: Option<u64>,
    /// Corrected by reading or writing again.
    pub corrected_by_retry: Option<u64>,
    /// Corrected by any means.
    pub total_corrected: Option<u64>,
    /// Times the correction ran.
    pub correction_invocations: Option<u64>,
    /// Data processed, gigabytes of 10⁹ bytes.
    pub gigabytes_processed: Option<f64>,
    /// Not corrected: data that could not be read or written.
    pub total_uncorrected: Option<u64>,
}

/// Start-stop cycle counter log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StartStop {
    /// Year of manufacture.
    pub year_of_manufacture: Option<String>,
    /// Week of manufacture.
    pub week_of_manufacture: Option<String>,
    /// Start-stop cycles the drive is made for.
    pub specified_cycles: Option<u64>,
    /// Start-stop cycles so far.
    pub accumulated_cycles: Option<u64>,
    /// Head load cycles the drive is made for.
    pub specified_load_cycles: Option<u64>,
    /// Head load cycles so far.
    pub accumulated_load_cycles: Option<u64>,
}

/// One self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScsiSelfTest {
    /// `Background short`, `Background long`…
    pub kind: Option<String>,
    /// 0 good, 1 and 2 broken off, 3 to 7 failed, 15 running (SPC-4, table of self-test results).
    pub result: Option<u64>,
    /// In words.
    pub result_text: Option<String>,
    /// Hours the drive had been on.
    pub power_on_hours: Option<u64>,
}

impl ScsiSelfTest {
    /// Whether the test ended and what it found.
    pub fn outcome(&self) -> Option<bool> {
        match self.result? {
            0 => Some(true),
            3..=7 => Some(false),
            _ => None,
        }
    }
}
