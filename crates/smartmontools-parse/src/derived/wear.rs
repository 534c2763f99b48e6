//! How much of its endurance a solid state drive has used.

use crate::report::{Attribute, Report};

/// How an attribute tells wear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The normalised value is the percentage left.
    ValueLeft,
    /// The raw value is the percentage left, whatever the normalised value does.
    RawLeft,
    /// The raw value is the percentage used.
    RawUsed,
    /// The low 16 bits of the raw value are hundredths of a percent used.
    RawUsedHundredths,
}

/// Attributes by name (as in smartmontools' drive database 7.3/5533), best first. Numbers alone say nothing:
/// 233 is Intel's `Media_Wearout_Indicator` and Phison's `Flash_Writes_GiB`, 202 Micron's percentage and Seagate's
/// `Data_Address_Mark_Errs`.
///
/// Micron's 202 is listed by its normalised value because both directions of its name (`…_Used`, `…_Remain`) have
/// the percentage used in the raw and the percentage left in the normalised value. Silicon Motion's 169 keeps its
/// normalised value at 100. SanDisk's and WD's 230 counts hundredths of a percent in the low word.
const ATTRIBUTES: [(&str, Direction); 21] = [
    ("Percent_Lifetime_Remain", Direction::ValueLeft),
    ("Percent_Lifetime_Used", Direction::ValueLeft),
    ("Perc_Rated_Life_Used", Direction::ValueLeft),
    ("Perc_Rated_Life_Remain", Direction::ValueLeft),
    ("PCT_Life_Remaining", Direction::ValueLeft),
    ("Percent_Life_Remaining", Direction::ValueLeft),
    ("Percent_Life_Used", Direction::RawUsed),
    ("Drive_Life_Used%", Direction::RawUsed),
    ("DriveLife_Used%", Direction::RawUsed),
    ("DriveLife_Remaining%", Direction::RawLeft),
    ("Drive_Life_Remaining%", Direction::RawLeft),
    ("Lifetime_Remaining%", Direction::RawLeft),
    ("Remaining_Lifetime_Perc", Direction::RawLeft),
    ("SSD_Life_Left_Perc", Direction::ValueLeft),
    ("SSD_Life_Left", Direction::ValueLeft),
    ("Lifetime_Left", Direction::ValueLeft),
    ("SSD_LifeLeft(0.01%)", Direction::ValueLeft),
    ("Media_Wearout_Indicator", Direction::ValueLeft),
    ("Wear_Leveling_Count", Direction::ValueLeft),
    ("Ave_Block-Erase_Count", Direction::ValueLeft),
    ("Avg_Block-Erase_Count", Direction::ValueLeft),
];

impl Report {
    /// Percentage of the rated endurance **used**: 0 is new, 100 is what the drive was made for, and more is possible.
    ///
    /// NVMe's percentage used; `endurance_used` of smartmontools 7.5; ATA device statistics, page 7 (Percentage Used
    /// Endurance Indicator); SCSI's percentage used endurance indicator; else a vendor's attribute, by name. Absent for
    /// rotating disks and where nothing tells.
    pub fn wear_level_percent(&self) -> Option<f64> {
        if self.rotation_rate.is_some_and(|rate| 0 < rate) {
            return None;
        }
        let standard = self
            .nvme
            .health
            .as_ref()
            .and_then(|health| health.percentage_used)
            .or(self.endurance_used_percent)
            .or_else(|| u64::try_from(self.ata.statistic(7, 8)?).ok())
            .or(self.scsi.percentage_used)
            .filter(|percent| *percent <= 255);
        standard
            .map(|percent| percent as f64)
            .or_else(|| self.wear_attribute())
    }

    /// Whether the rated endurance is used up. Normalised values stop at 1 (Intel's and Samsung's documents say so), so there
    /// 99 percent means all of it.
    pub(crate) fn is_worn_out(&self) -> bool {
        let at_floor = |attribute: &Attribute| {
            direction(attribute) == Some(Direction::ValueLeft) && attribute.value == Some(1)
        };
        self.wear_level_percent().is_some_and(|used| {
            let is_floor = used == 99.0 && self.wear_attribute() == Some(used);
            100.0 <= used || (is_floor && self.ata.attributes.iter().any(at_floor))
        })
    }

    fn wear_attribute(&self) -> Option<f64> {
        ATTRIBUTES.iter().find_map(|(name, _)| {
            self.ata
                .attributes
                .iter()
                .filter(|attribute| attribute.name == *name)
                .find_map(used_percent)
        })
    }
}

/// Whether only solid state drives have this attribute.
pub(super) fn tells_wear(attribute: &Attribute) -> bool {
    direction(attribute).is_some()
}

fn direction(attribute: &Attribute) -> Option<Direction> {
    if attribute.id == 230 && attribute.name == "Media_Wearout_Indicator" {
        return Some(Direction::RawUsedHundredths);
    }
    ATTRIBUTES
        .iter()
        .find(|(name, _)| *name == attribute.name)
        .map(|(_, direction)| *direction)
}

fn used_percent(attribute: &Attribute) -> Option<f64> {
    let value = || attribute.value.map(u64::from);
    let raw = || attribute.raw_number();
    let percent = |number: Option<u64>| number.filter(|number| *number <= 100).map(|number| number as f64);
    match direction(attribute)? {
        // 0 is what drives give that do not keep the value (a worn one stops at 1); above 100 the scale is unknown.
        Direction::ValueLeft => percent(value().filter(|left| 0 < *left)).map(|left| 100.0 - left),
        Direction::RawLeft => percent(raw()).map(|left| 100.0 - left),
        Direction::RawUsed => raw().filter(|used| *used <= 255).map(|used| used as f64),
        Direction::RawUsedHundredths => {
            let hundredths = attribute.raw_value? & 0xffff;
            Some(hundredths as f64 / 100.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(id: u8, name: &str, value: u8, raw: u64) -> Option<f64> {
        used_percent(&Attribute {
            id,
            name: name.to_owned(),
            value: Some(value),
            raw_value: Some(raw),
            raw_string: Some(raw.to_string()),
            ..Attribute::default()
        })
    }

    #[test]
    fn each_vendor_counts_in_its_own_direction() {
        assert_eq!(used(177, "Wear_Leveling_Count", 90, 1773), Some(10.0));
        assert_eq!(used(233, "Media_Wearout_Indicator", 53, 0), Some(47.0));
        assert_eq!(used(202, "Percent_Lifetime_Remain", 99, 1), Some(1.0));
        assert_eq!(used(202, "Percent_Lifetime_Used", 99, 1), Some(1.0));
        assert_eq!(used(231, "SSD_Life_Left", 98, 98), Some(2.0));
        assert_eq!(used(169, "Remaining_Lifetime_Perc", 100, 93), Some(7.0));
        assert_eq!(
            used(230, "Media_Wearout_Indicator", 4, 0x01d0_0116_01d0),
            Some(4.64)
        );
    }

    #[test]
    fn values_that_are_no_percentage_are_absent() {
        assert_eq!(used(177, "Wear_Leveling_Count", 0, 2317), None);
        assert_eq!(used(173, "Wear_Leveling_Count", 192, 2160), None);
        assert_eq!(used(233, "Flash_Writes_GiB", 100, 979), None);
        assert_eq!(used(202, "Data_Address_Mark_Errs", 100, 0), None);
    }
}
