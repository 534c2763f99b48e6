//! ATA attributes against the drive's own thresholds, and the error log.
//!
//! smartctl(8): a *prefail* attribute at or below its threshold foretells failure within a day; an *old age* one says
//! that the drive is past what it was made for.

use crate::baseline::Baseline;
use crate::report::{Attribute, Report};

use super::{Health, Reason};

/// Attributes that tell of heat. Having been too warm once is no damage.
const HEAT: [u8; 3] = [190, 194, 231];

/// Attributes that count damage to data; at their threshold they are urgent whatever their kind.
const DAMAGE: [u8; 6] = [5, 184, 187, 196, 197, 198];

pub(super) fn judge(report: &Report, baseline: Option<&Baseline>) -> Vec<Reason> {
    let accepted = |id: u8| baseline.is_some_and(|baseline| baseline.failed_before.contains(&id));
    let mut reasons: Vec<Reason> = report
        .ata
        .attributes
        .iter()
        .filter_map(|attribute| {
            let reason = against_threshold(attribute, accepted(attribute.id))?;
            Some(reason.of_attribute(Some(attribute.id)))
        })
        .collect();
    reasons.extend(error_log(report));
    reasons
}

fn against_threshold(attribute: &Attribute, is_accepted: bool) -> Option<Reason> {
    let name = name(attribute);
    let is_heat = HEAT.contains(&attribute.id) && attribute.name.contains("Temp");
    let prefail = attribute.flags.prefailure;
    match attribute.when_failed.as_deref()? {
        "now" if is_heat => {
            let text = format!("{name} is beyond its limit now; check cooling and air flow");
            Some(Reason::new("too_warm", Health::Warning, text))
        }
        "past" if is_heat => Some(Reason::note(
            "was_too_warm",
            format!("{name} was beyond its limit in the past"),
        )),
        "now" if prefail => {
            let text = format!(
                "{name} is at or below its threshold: failure is near; back up now and replace the drive"
            );
            Some(Reason::new("prefail_attribute", Health::Failed, text))
        }
        "now" if DAMAGE.contains(&attribute.id) => {
            let text = format!("{name} is at or below its threshold; back up and replace the drive");
            Some(Reason::new("damage_attribute", Health::Critical, text))
        }
        "now" => {
            let text = format!(
                "{name} is at or below its threshold: the drive is past its designed life; plan the replacement"
            );
            Some(Reason::new("old_age_attribute", Health::Warning, text))
        }
        "past" if is_accepted => Some(Reason::note(
            "attribute_failed_before",
            format!("{name} was at or below its threshold in the past; seen and accepted"),
        )),
        // Also words a later smartctl may have: something failed, and "past" is the mildest reading.
        _ => {
            let text =
                format!("{name} was at or below its threshold in the past; watch whether it falls again");
            Some(Reason::new("attribute_failed_before", Health::Warning, text))
        }
    }
}

fn name(attribute: &Attribute) -> String {
    let number = |value: Option<u8>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let (value, worst, thresh) = (
        number(attribute.value),
        number(attribute.worst),
        number(attribute.thresh),
    );
    format!(
        "attribute {} {} (value {value}, worst {worst}, threshold {thresh})",
        attribute.id, attribute.name
    )
}

/// The ATA error log. It never forgets and fills with refused commands and cable errors, so its length says little.
/// Data that could not be read or found in the last 30 days of running does.
fn error_log(report: &Report) -> Option<Reason> {
    const RECENT_HOURS: u64 = 720;
    /// Hours in the log have 16 bits.
    const WRAP: u64 = 1 << 16;
    let count = report
        .ata
        .error_logs
        .iter()
        .filter_map(|log| log.count)
        .max()
        .filter(|count| 0 < *count)?;
    let hours_ago = |logged: u64| {
        let now = report.power_on_hours()? % WRAP;
        Some((now + WRAP - logged % WRAP) % WRAP)
    };
    let entries = report.ata.error_logs.iter().flat_map(|log| &log.entries);
    let latest = entries
        .filter(|entry| entry.description.as_deref().is_some_and(tells_media_error))
        .filter_map(|entry| hours_ago(entry.lifetime_hours?))
        .min();
    match latest.filter(|hours| *hours <= RECENT_HOURS) {
        Some(hours) => {
            let text = format!(
                "data could not be read {hours} running hours ago (ATA error log); check backups and watch the drive"
            );
            Some(Reason::new("recent_media_error", Health::Warning, text))
        }
        None => {
            let text = format!(
                "entries in the ATA error log since the drive was made: {count}, none of lost data lately"
            );
            Some(Reason::note("error_log", text))
        }
    }
}

/// ATA error bits in smartctl's words: uncorrectable data, sector id not found, address mark not found.
fn tells_media_error(description: &str) -> bool {
    let bits = description.strip_prefix("Error: ").unwrap_or(description);
    bits.split([',', ' '])
        .any(|word| matches!(word, "UNC" | "IDNF" | "AMNF"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_medium_count() {
        assert!(tells_media_error("Error: UNC at LBA = 0x00000000 = 0"));
        assert!(tells_media_error("Error: WP, UNC 8 sectors at LBA = 0x0"));
        assert!(!tells_media_error("Error: ICRC, ABRT at LBA = 0x00000000 = 0"));
        assert!(!tells_media_error("Error: ABRT"));
    }
}
