//! What smartctl prints of an ATA drive.

use serde::Serialize;

/// ATA and SATA.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ata {
    /// What a computer maker added to the model (`DELL(tm)`).
    pub additional_product_id: Option<String>,
    /// ATA standard in words.
    pub version: Option<String>,
    /// SATA standard in words.
    pub sata_version: Option<String>,
    /// Fastest speed of drive and link.
    pub interface_speed_max: Option<InterfaceSpeed>,
    /// Speed agreed on.
    pub interface_speed_current: Option<InterfaceSpeed>,
    /// SMART attributes.
    pub attributes: Vec<Attribute>,
    /// Error logs that were printed, summary and extended.
    pub error_logs: Vec<ErrorLog>,
    /// Self-test logs that were printed, standard and extended.
    pub self_test_logs: Vec<SelfTestLog>,
    /// The self-test that runs now, or how the last one ended.
    pub self_test_status: Option<SelfTestStatus>,
    /// SMART Command Transport status.
    pub sct_status: Option<SctStatus>,
    /// Error recovery time limits.
    pub sct_erc: Option<SctErc>,
    /// Device statistics, the standard's successor of attributes.
    pub statistics: Vec<StatisticsPage>,
    /// Sectors in the pending defects log.
    pub pending_defects: Option<u64>,
    /// Counters of the SATA link.
    pub phy_events: Vec<PhyEvent>,
}

/// Speed of the SATA link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceSpeed {
    /// In words, `6.0 Gb/s`.
    pub text: Option<String>,
    /// Bits a second.
    pub bits_per_second: Option<u64>,
}

/// One SMART attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// Number.
    pub id: u8,
    /// Name in the drive database; `Unknown_Attribute` where nobody knows.
    pub name: String,
    /// Normalised value, by convention falling from 100, 200 or 253.
    pub value: Option<u8>,
    /// Worst normalised value so far.
    pub worst: Option<u8>,
    /// Value at or below which the attribute fails; 0 never fails.
    pub thresh: Option<u8>,
    /// `now`, `past` or absent.
    pub when_failed: Option<String>,
    /// Flags.
    pub flags: AttributeFlags,
    /// 48 (some vendors 56 or 64) raw bits as one number. Often not one: see [`Attribute::raw_number`].
    pub raw_value: Option<u64>,
    /// The raw bits as smartctl understands them, `26 (Min/Max 13/41)`.
    pub raw_string: Option<String>,
}

/// Flags of an attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AttributeFlags {
    /// As a number.
    pub value: Option<u64>,
    /// Short form, `PO-R--`.
    pub text: Option<String>,
    /// Failing means imminent failure, not just age.
    pub prefailure: bool,
    /// Updated while the drive works.
    pub updated_online: bool,
    /// Tells of performance.
    pub performance: bool,
    /// Tells of an error rate.
    pub error_rate: bool,
    /// Counts events.
    pub event_count: bool,
    /// Kept by the drive itself.
    pub auto_keep: bool,
}

/// An error log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorLog {
    /// `summary` or `extended`.
    pub kind: String,
    /// Errors since the drive was made.
    pub count: Option<u64>,
    /// The latest of them.
    pub entries: Vec<ErrorLogEntry>,
}

/// One error in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorLogEntry {
    /// Number of the error.
    pub number: Option<u64>,
    /// Hours the drive had been on; 16 bits, so it wraps after 65,535.
    pub lifetime_hours: Option<u64>,
    /// In words, `Error: UNC at LBA = 0x0…`.
    pub description: Option<String>,
}

/// A self-test log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelfTestLog {
    /// `standard` or `extended`.
    pub kind: String,
    /// Tests in the log.
    pub count: Option<u64>,
    /// Tests that found errors.
    pub error_count: Option<u64>,
    /// Of these, tests that a newer successful extended test outdates.
    pub error_count_outdated: Option<u64>,
    /// The tests, newest first.
    pub tests: Vec<SelfTest>,
}

/// One self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelfTest {
    /// `Short offline`, `Extended offline`…
    pub kind: Option<String>,
    /// How it ended.
    pub status: SelfTestStatus,
    /// Hours the drive had been on; 16 bits, so it wraps after 65,535.
    pub lifetime_hours: Option<u64>,
    /// First block that could not be read.
    pub lba: Option<u64>,
}

/// How a self-test ended, or how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SelfTestStatus {
    /// Status byte: high four bits say how (0 good, 1 to 2 broken off, 3 to 8 failed, 15 running).
    pub value: Option<u8>,
    /// In words.
    pub text: Option<String>,
    /// Whether it found the drive good; absent when it did not come to an end.
    pub passed: Option<bool>,
    /// Percent still to do while it runs.
    pub remaining_percent: Option<u64>,
}

impl SelfTestStatus {
    /// Whether the test ended and what it found; `None` for one that was broken off or still runs.
    pub fn outcome(&self) -> Option<bool> {
        match self.value.map(|value| value >> 4) {
            Some(0) => Some(true),
            Some(3..=8) => Some(false),
            Some(_) => None,
            None => self.passed,
        }
    }
}

/// SMART Command Transport status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SctStatus {
    /// 0 active, 1 standby, 2 sleep, 3 self-test in background, 4 offline data collection, 5 executing an SCT command.
    pub state: Option<u64>,
    /// In words.
    pub state_text: Option<String>,
    /// Times the temperature limit was exceeded.
    pub over_limit_count: Option<u64>,
}

/// Error recovery control: time limits, tenths of a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SctErc {
    /// For reads; absent when off.
    pub read_deciseconds: Option<u64>,
    /// For writes; absent when off.
    pub write_deciseconds: Option<u64>,
}

/// A page of device statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatisticsPage {
    /// 1 general, 3 rotating media, 4 general errors, 5 temperature, 6 transport, 7 solid state, 255 vendor.
    pub number: u64,
    /// In words.
    pub name: Option<String>,
    /// Its entries.
    pub entries: Vec<Statistic>,
}

/// One device statistic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statistic {
    /// Offset in the page; with the page number it says what the entry is.
    pub offset: u64,
    /// In words.
    pub name: Option<String>,
    /// The value.
    pub value: Option<i64>,
    /// Short form of the flags, `V---`.
    pub flags: Option<String>,
    /// Whether the drive calls the value valid.
    pub is_valid: bool,
}

/// A counter of the SATA link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhyEvent {
    /// Number of the event.
    pub id: u64,
    /// In words.
    pub name: Option<String>,
    /// How often.
    pub value: Option<u64>,
}

impl Ata {
    /// The attribute with this number.
    pub fn attribute(&self, id: u8) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.id == id)
    }

    /// A device statistic the drive calls valid.
    pub fn statistic(&self, page: u64, offset: u64) -> Option<i64> {
        let page = self
            .statistics
            .iter()
            .find(|candidate| candidate.number == page)?;
        page.entries
            .iter()
            .find(|entry| entry.offset == offset && entry.is_valid)?
            .value
    }
}
