//! How much data the computer has written to and read from a drive.

use crate::report::{Attribute, Report};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const GB: u64 = 1_000_000_000;

/// NVMe counts thousands of 512-byte units.
const NVME_UNIT_BYTES: u64 = 512_000;

/// Names that carry their unit, as in smartmontools' drive database. They come before names that count blocks: some
/// drives have the same number under both (`Host_Writes_32MiB` 129493, `Total_LBAs_Written` 129493), and then
/// only the first is right.
const WRITTEN: [(&str, u64); 8] = [
    ("Host_Writes_32MiB", 32 * MIB),
    ("Host_Writes_MiB", MIB),
    ("Host_Writes_GiB", GIB),
    ("Lifetime_Writes_GiB", GIB),
    ("Total_Writes_GiB", GIB),
    ("Total_Writes_GB", GB),
    ("Lifetime_Wts_Frm_Hst_GB", GB),
    ("Device_Bytes_Written", 1),
];
const READ: [(&str, u64); 9] = [
    ("Host_Reads_32MiB", 32 * MIB),
    ("Host_Reads_MiB", MIB),
    ("Host_Reads_GiB", GIB),
    ("Host_Reades_GiB", GIB),
    ("Lifetime_Reads_GiB", GIB),
    ("Total_Reads_GiB", GIB),
    ("Total_Reads_GB", GB),
    ("Lifetime_Rds_Frm_Hst_GB", GB),
    ("Device_Bytes_Read", 1),
];

/// Names that count logical blocks.
const WRITTEN_BLOCKS: [&str; 4] = [
    "Total_LBAs_Written",
    "Total_Host_Sector_Write",
    "Host_Sector_Write",
    "Device_Sectors_Written",
];
const READ_BLOCKS: [&str; 3] = ["Total_LBAs_Read", "Total_Host_Sector_Read", "Host_Sector_Read"];

impl Report {
    /// Bytes the computer wrote: NVMe data units; ATA device statistics (page 1, logical sectors written); a vendor's
    /// attribute, by name, blocks being logical ones as ACS-4 has them; SCSI gigabytes processed by writing.
    pub fn total_bytes_written(&self) -> Option<u64> {
        let nvme = self
            .nvme
            .health
            .as_ref()
            .and_then(|health| health.data_units_written);
        nvme.map(|units| units.saturating_mul(NVME_UNIT_BYTES))
            .or_else(|| self.statistic_blocks(24))
            .or_else(|| self.by_name(&WRITTEN, &WRITTEN_BLOCKS))
            .or_else(|| gigabytes(self.scsi.write.as_ref()?.gigabytes_processed?))
    }

    /// Bytes the computer read, from the same places.
    pub fn total_bytes_read(&self) -> Option<u64> {
        let nvme = self
            .nvme
            .health
            .as_ref()
            .and_then(|health| health.data_units_read);
        nvme.map(|units| units.saturating_mul(NVME_UNIT_BYTES))
            .or_else(|| self.statistic_blocks(40))
            .or_else(|| self.by_name(&READ, &READ_BLOCKS))
            .or_else(|| gigabytes(self.scsi.read.as_ref()?.gigabytes_processed?))
    }

    fn statistic_blocks(&self, offset: u64) -> Option<u64> {
        let blocks = u64::try_from(self.ata.statistic(1, offset)?).ok()?;
        Some(blocks.saturating_mul(self.logical_block_bytes()))
    }

    fn by_name(&self, with_unit: &[(&str, u64)], in_blocks: &[&str]) -> Option<u64> {
        let named = |name: &str| {
            self.ata
                .attributes
                .iter()
                .find(|attribute| attribute.name == name)
        };
        let count = |name: &str| named(name).and_then(Attribute::raw_long);
        let by_unit = with_unit
            .iter()
            .find_map(|(name, unit)| Some(count(name)?.saturating_mul(*unit)));
        let blocks = || in_blocks.iter().find_map(|name| count(name));
        by_unit.or_else(|| Some(blocks()?.saturating_mul(self.unnamed_unit_bytes())))
    }

    /// What "blocks" are where the name is only smartctl's guess for a model that its database does not know: Intel's and
    /// Solidigm's SATA drives count 32 MiB under 241, 242 and 225 whatever they are called (*SSD DC S3520 Product
    /// Specification*, SMART attributes). Names from the database are right as they are.
    fn unnamed_unit_bytes(&self) -> u64 {
        const COUNT_32_MIB: [&str; 4] = ["INTEL SSDSC", "INTEL SSDSA", "SOLIDIGM SSDSC", "SSDSCK"];
        let is_guess = self.in_database == Some(false);
        let model = self.model_name.as_deref().unwrap_or_default();
        if is_guess && COUNT_32_MIB.iter().any(|start| model.starts_with(start)) {
            32 * MIB
        } else {
            self.logical_block_bytes()
        }
    }

    fn logical_block_bytes(&self) -> u64 {
        self.logical_block_bytes.filter(|bytes| 0 < *bytes).unwrap_or(512)
    }
}

fn gigabytes(amount: f64) -> Option<u64> {
    // The cast saturates; the text has three decimals, so rounding to whole bytes loses nothing.
    (0.0 <= amount).then(|| (amount * 1e9).round() as u64)
}

#[cfg(test)]
mod tests {
    use crate::parse;

    fn written(block: u64, attributes: &[(&str, u64)]) -> Option<u64> {
        let rows: Vec<String> = attributes
            .iter()
            .map(|(name, raw)| {
                format!(r#"{{"id":241,"name":"{name}","raw":{{"value":{raw},"string":"{raw}"}}}}"#)
            })
            .collect();
        let rows = rows.join(",");
        let text = format!(
            r#"{{"smartctl":{{}},"logical_block_size":{block},"ata_smart_attributes":{{"table":[{rows}]}}}}"#
        );
        parse(&text).report.total_bytes_written()
    }

    #[test]
    fn blocks_are_logical_blocks() {
        assert_eq!(
            written(512, &[("Total_LBAs_Written", 385_165_652_077)]),
            Some(385_165_652_077 * 512)
        );
        assert_eq!(written(4096, &[("Total_LBAs_Written", 10)]), Some(40960));
    }

    #[test]
    fn a_name_with_a_unit_comes_before_one_without() {
        let both = [("Total_LBAs_Written", 129_493), ("Host_Writes_32MiB", 129_493)];
        assert_eq!(written(512, &both), Some(129_493 * 32 * 1024 * 1024));
        assert_eq!(written(512, &[("Lifetime_Writes_GiB", 398)]), Some(398 << 30));
        assert_eq!(written(512, &[("Flash_Writes_GiB", 979)]), None);
    }

    #[test]
    fn a_drive_unknown_to_the_database_counts_as_its_maker_does() {
        let of = |model: &str, known: bool| {
            let text = format!(
                r#"{{"smartctl":{{}},"logical_block_size":512,"model_name":"{model}","in_smartctl_database":{known},
                "ata_smart_attributes":{{"table":[{{"id":241,"name":"Total_LBAs_Written","raw":{{"value":10,"string":"10"}}}}]}}}}"#
            );
            parse(&text).report.total_bytes_written()
        };
        assert_eq!(of("INTEL SSDSC2KG960G8", false), Some((10 * 32) << 20));
        assert_eq!(of("INTEL SSDSC2KG960G8", true), Some(5120));
        assert_eq!(of("Samsung SSD 870 EVO", false), Some(5120));
    }

    #[test]
    fn device_statistics_come_before_attributes() {
        let text = r#"{"smartctl":{},"logical_block_size":4096,"ata_device_statistics":{"pages":[{"number":1,"table":[
            {"offset":24,"value":1000,"flags":{"valid":true}}]}]},"ata_smart_attributes":{"table":[
            {"id":241,"name":"Total_LBAs_Written","raw":{"value":7,"string":"7"}}]}}"#;
        assert_eq!(parse(text).report.total_bytes_written(), Some(4_096_000));
    }

    #[test]
    fn scsi_counts_decimal_gigabytes() {
        let text =
            r#"{"smartctl":{},"scsi_error_counter_log":{"write":{"gigabytes_processed":"292086.584"}}}"#;
        assert_eq!(
            parse(text).report.total_bytes_written(),
            Some(292_086_584_000_000)
        );
    }
}
