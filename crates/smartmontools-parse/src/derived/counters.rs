//! Counts of damage, wherever a drive keeps them.
//!
//! The same attribute number means different things at different vendors (198 is `Offline_Uncorrectable` or
//! `Host_Reads_GiB`), so a count is taken only under a name that fits.

use crate::baseline::Counter;
use crate::derived::is_named;
use crate::report::{ErrorCounters, Report};

impl Report {
    /// A count of damage; `None` where the drive does not keep it.
    pub fn counter(&self, counter: Counter) -> Option<u64> {
        match counter {
            Counter::Reallocated => self.reallocated_sectors(),
            Counter::Pending => self.pending_sectors(),
            Counter::OfflineUncorrectable => self.offline_uncorrectable(),
            Counter::ReportedUncorrectable => self.reported_uncorrectable(),
            Counter::EndToEnd => self.attribute_count(184, &["end_to_end"]),
            Counter::CommandTimeout => self.attribute_count(188, &["timeout"]),
            Counter::Crc => self
                .attribute_count(199, &["crc"])
                .or_else(|| self.statistic_count(6, 24)),
            Counter::MediaErrors => self.nvme.health.as_ref().and_then(|health| health.media_errors),
            Counter::ScsiUncorrected => self.scsi_uncorrected(),
            Counter::SpinRetry => self.attribute_count(10, &["spin_retry"]),
            Counter::ReallocationEvents => self.attribute_count(196, &["reallocat"]),
            Counter::SoftReadErrors => self.attribute_count(201, &["soft_read"]),
        }
    }

    /// Sectors (in SSDs: blocks) replaced by spare ones: ATA attribute 5, else device statistics page 3, else a SCSI
    /// drive's grown defects.
    pub fn reallocated_sectors(&self) -> Option<u64> {
        let attribute = self.ata.attribute(5).and_then(|attribute| attribute.raw_number());
        attribute
            .or_else(|| self.statistic_count(3, 32))
            .or(self.scsi.grown_defects)
    }

    /// Sectors that could not be read and wait to be written or replaced: ATA attribute 197, else the ATA pending defects
    /// log, else the SCSI one.
    pub fn pending_sectors(&self) -> Option<u64> {
        let attribute = self.attribute_count(197, &["pending"]);
        attribute
            .or(self.ata.pending_defects)
            .or(self.scsi.pending_defects)
    }

    /// Sectors the drive's own scan could not read: ATA attribute 198.
    pub fn offline_uncorrectable(&self) -> Option<u64> {
        self.attribute_count(198, &["uncor"])
    }

    /// Errors reported to the computer because correction failed: ATA attribute 187, else device statistics page 4.
    pub fn reported_uncorrectable(&self) -> Option<u64> {
        self.attribute_count(187, &["uncorrect", "reported_ue"])
            .or_else(|| self.statistic_count(4, 8))
    }

    /// Errors that correction could not mend, in one number: for ATA the larger of attributes 198 and 187 (they count
    /// different things, and either above 0 matters), for NVMe media errors, for SCSI the uncorrected errors of
    /// reading, writing and verifying.
    pub fn uncorrectable_errors(&self) -> Option<u64> {
        let ata = self.offline_uncorrectable().max(self.reported_uncorrectable());
        ata.or_else(|| self.counter(Counter::MediaErrors))
            .or_else(|| self.scsi_uncorrected())
    }

    fn scsi_uncorrected(&self) -> Option<u64> {
        let rows: [&Option<ErrorCounters>; 3] = [&self.scsi.read, &self.scsi.write, &self.scsi.verify];
        rows.into_iter()
            .flatten()
            .filter_map(|row| row.total_uncorrected)
            .reduce(u64::saturating_add)
    }

    fn attribute_count(&self, id: u8, words: &[&str]) -> Option<u64> {
        self.ata
            .attribute(id)
            .filter(|attribute| is_named(attribute, words))?
            .raw_number()
    }

    fn statistic_count(&self, page: u64, offset: u64) -> Option<u64> {
        u64::try_from(self.ata.statistic(page, offset)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn with_attribute(id: u8, name: &str, raw: u64) -> Report {
        let text = format!(
            r#"{{"smartctl":{{}},"ata_smart_attributes":{{"table":[{{"id":{id},"name":"{name}","raw":{{"value":{raw},"string":"{raw}"}}}}]}}}}"#
        );
        parse(&text).report
    }

    #[test]
    fn a_number_under_another_name_is_no_damage() {
        assert_eq!(
            with_attribute(198, "Host_Reads_GiB", 900).uncorrectable_errors(),
            None
        );
        assert_eq!(with_attribute(197, "Not_In_Use", 900).pending_sectors(), None);
        assert_eq!(
            with_attribute(184, "Initial_Bad_Block_Count", 9).counter(Counter::EndToEnd),
            None
        );
        assert_eq!(
            with_attribute(199, "Host_Writes_GiB", 9).counter(Counter::Crc),
            None
        );
    }

    #[test]
    fn a_number_without_a_name_is_taken_at_its_usual_meaning() {
        assert_eq!(
            with_attribute(198, "Unknown_Attribute", 3).uncorrectable_errors(),
            Some(3)
        );
        assert_eq!(
            with_attribute(187, "Unknown_SSD_Attribute", 2).uncorrectable_errors(),
            Some(2)
        );
    }

    #[test]
    fn device_statistics_stand_in_for_missing_attributes() {
        let text = r#"{"smartctl":{},"ata_device_statistics":{"pages":[{"number":3,"table":[
            {"offset":32,"value":7,"flags":{"valid":true}}]},{"number":4,"table":[
            {"offset":8,"value":9,"flags":{"valid":false}}]}]}}"#;
        let report = parse(text).report;
        assert_eq!(report.reallocated_sectors(), Some(7));
        assert_eq!(report.reported_uncorrectable(), None);
    }
}
