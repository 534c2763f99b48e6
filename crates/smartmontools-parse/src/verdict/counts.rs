//! Counts of damage.
//!
//! **One is enough for a warning.** Pinheiro, Weber, Barroso, *Failure Trends in a Large Disk Drive Population* (FAST 2007,
//! over 100,000 disks): in the 60 days after its first scan error a disk is 39 times as likely to fail as one without,
//! after the first offline reallocation 21 times, the first reallocation 14 times, the first pending sector 16 times.
//! Backblaze, *What SMART Stats Tell Us About Hard Drives* (2016): of the disks that failed, 76.7 % had attribute 5,
//! 187, 188, 197 or 198 above 0; of those that worked, 4.2 %. Both also say that a good part of the disks that fail
//! had none of it: no damage is no promise.
//!
//! **Most drives with one live on**, so one is not critical. Neither source gives a count at which a drive must go; the
//! second levels here are ours, two to three orders of magnitude past the first error: what a drive reaches by
//! damage that spreads, not by a scratch. A drive that replaces sectors without end also nears its own threshold, so
//! a normalised value past half of the way there is critical at any count. In an SSD attribute 5 counts blocks,
//! whose number says little without their share; there only the normalised value makes it critical.
//!
//! **Not damage**: `Command_Timeout` (188) counts power and cable trouble too, `CRC` (199) only cable trouble, spin
//! retries (10) weak power supplies, and attributes 196 and 201 repeat what others say better. They are notes,
//! whatever their count, until somebody has accepted one: then its growth is a warning.

use crate::baseline::{Baseline, Counter};
use crate::derived::DeviceType;
use crate::report::Report;

use super::{Health, Reason, rates};

/// How one count is judged.
struct Rule {
    counter: Counter,
    code: &'static str,
    /// Count from which the drive should go; `None` if no count says so.
    critical: Option<u64>,
    /// What is counted, for one and for several.
    what: (&'static str, &'static str),
    advice: &'static str,
}

const RULES: [Rule; 7] = [
    Rule {
        counter: Counter::Reallocated,
        code: "reallocated_sectors",
        critical: Some(1000),
        what: (
            "bad sector was replaced by a spare one",
            "bad sectors were replaced by spare ones",
        ),
        advice: "watch whether the count grows, and replace the drive if it does",
    },
    Rule {
        counter: Counter::Pending,
        code: "pending_sectors",
        critical: Some(100),
        what: (
            "sector cannot be read and waits to be rewritten",
            "sectors cannot be read and wait to be rewritten",
        ),
        advice: "data there may be lost; scrub or restore it, and watch the count",
    },
    Rule {
        counter: Counter::OfflineUncorrectable,
        code: "offline_uncorrectable",
        critical: Some(100),
        what: (
            "sector could not be read in the drive's own scan",
            "sectors could not be read in the drive's own scan",
        ),
        advice: "run an extended self-test and check backups",
    },
    Rule {
        counter: Counter::ReportedUncorrectable,
        code: "reported_uncorrectable",
        critical: Some(100),
        what: ("error could not be corrected", "errors could not be corrected"),
        advice: "check backups and watch whether the count grows",
    },
    Rule {
        counter: Counter::EndToEnd,
        code: "end_to_end_errors",
        critical: Some(10),
        what: (
            "time data changed on its way through the drive",
            "times data changed on its way through the drive",
        ),
        advice: "data may have been altered unnoticed; verify it and plan the replacement",
    },
    Rule {
        counter: Counter::MediaErrors,
        code: "media_errors",
        critical: Some(100),
        what: (
            "time data could not be recovered",
            "times data could not be recovered",
        ),
        advice: "verify the data and watch whether the count grows",
    },
    Rule {
        counter: Counter::ScsiUncorrected,
        code: "uncorrected_errors",
        critical: Some(100),
        what: ("error could not be corrected", "errors could not be corrected"),
        advice: "check backups and watch whether the count grows",
    },
];

pub(super) fn judge(report: &Report, baseline: Option<&Baseline>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = RULES
        .iter()
        .filter_map(|rule| judge_count(rule, report, baseline))
        .collect();
    reasons.extend(near_threshold(report, baseline));
    reasons.extend(without_count(report));
    reasons.extend(NOTES.iter().filter_map(|note| judge_note(note, report, baseline)));
    reasons
}

fn judge_count(rule: &Rule, report: &Report, baseline: Option<&Baseline>) -> Option<Reason> {
    let count = report.counter(rule.counter).filter(|count| 0 < *count)?;
    let accepted = baseline.map_or(0, |baseline| baseline.get(rule.counter));
    let what = if count == 1 { rule.what.0 } else { rule.what.1 };
    let growth = count.saturating_sub(accepted);
    if growth == 0 {
        return Some(
            Reason::note(
                rule.code,
                format!("{count} {what}; seen and accepted at {accepted}"),
            )
            .of_attribute(attribute_of(rule.counter, report)),
        );
    }
    let counts_blocks = rule.counter == Counter::Reallocated && report.device_type() != DeviceType::Hdd;
    let is_critical =
        rule.critical.is_some_and(|critical| critical <= growth) && (!counts_blocks || is_scsi(report));
    let health = if is_critical {
        Health::Critical
    } else {
        Health::Warning
    };
    let advice = if is_critical {
        "back up and replace the drive"
    } else {
        rule.advice
    };
    let grown = if 0 < accepted {
        format!(", {growth} more than accepted")
    } else {
        String::new()
    };
    let counted = counted_by(rule.counter, report)
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    // The statistics are of rotating disks.
    let observed = if report.device_type() == DeviceType::Hdd && !is_scsi(report) {
        rates::words(rule.counter, count)
    } else {
        String::new()
    };
    Some(
        Reason::new(
            rule.code,
            health,
            format!("{count} {what}{counted}{grown}{observed}; {advice}"),
        )
        .of_attribute(attribute_of(rule.counter, report)),
    )
}

/// The attribute that the count was read from, if it was one.
fn attribute_of(counter: Counter, report: &Report) -> Option<u8> {
    counter
        .attribute()
        .filter(|id| report.ata.attribute(*id).is_some())
}

/// Whether the replaced sectors are a SCSI drive's, which counts sectors in SSDs too.
fn is_scsi(report: &Report) -> bool {
    report.scsi.grown_defects.is_some()
}

/// Where the count comes from, for drives that count more than one way.
fn counted_by(counter: Counter, report: &Report) -> Option<String> {
    let id = counter.attribute()?;
    report
        .ata
        .attribute(id)
        .map(|attribute| format!("attribute {id} {}", attribute.name))
}

/// Replaced sectors that have used more than half of what the maker allows.
fn near_threshold(report: &Report, baseline: Option<&Baseline>) -> Option<Reason> {
    let attribute = report.ata.attribute(5)?;
    let count = report.reallocated_sectors().filter(|count| 0 < *count)?;
    let (value, thresh) = (attribute.value?, attribute.thresh?);
    // Values start at 100, or at 200 and more where the worst has been seen above 100.
    let start = if attribute.worst.is_some_and(|worst| 100 < worst) || 100 < value || 100 < thresh {
        200
    } else {
        100
    };
    let is_accepted = baseline.is_some_and(|baseline| count <= baseline.get(Counter::Reallocated));
    let half = u16::midpoint(start, u16::from(thresh));
    // Without a threshold the maker sets no limit, and values follow a scale of their own (Intel's and Solidigm's
    // start anywhere).
    if thresh == 0 || value == 0 || half <= u16::from(value) || attribute.when_failed.is_some() || is_accepted
    {
        return None;
    }
    let text = format!(
        "replaced sectors have used more than half of what the maker allows (attribute 5: value {value}, from {start}, \
         threshold {thresh}); back up and replace the drive"
    );
    Some(Reason::new("reallocation_near_threshold", Health::Critical, text).of_attribute(Some(5)))
}

/// Attributes that count damage and whose count could not be read.
fn without_count(report: &Report) -> Option<Reason> {
    const DAMAGE: [u8; 5] = [5, 184, 187, 197, 198];
    let uncounted = |id: u8| {
        report
            .ata
            .attribute(id)
            .filter(|attribute| attribute.raw_number().is_none())
    };
    let attribute = DAMAGE.into_iter().find_map(uncounted)?;
    let text = format!(
        "the count of attribute {} {} could not be read",
        attribute.id, attribute.name
    );
    Some(Reason::new("unreadable_fields", Health::Unknown, text))
}

/// A count that is no damage by itself: age, power and cables make it too.
struct Note {
    counter: Counter,
    code: &'static str,
    what: &'static str,
    advice: &'static str,
}

const NOTES: [Note; 5] = [
    Note {
        counter: Counter::Crc,
        code: "crc_errors",
        what: "transfer errors on the cable",
        advice: "change the cable",
    },
    Note {
        counter: Counter::CommandTimeout,
        code: "command_timeouts",
        what: "commands that took too long",
        advice: "check power and cable",
    },
    Note {
        counter: Counter::SpinRetry,
        code: "spin_retries",
        what: "starts of the spindle that needed another try",
        advice: "check the power supply, and plan the replacement if that is good",
    },
    Note {
        counter: Counter::ReallocationEvents,
        code: "reallocation_events",
        what: "attempts to replace a sector",
        advice: "watch the reallocated and pending sectors",
    },
    Note {
        counter: Counter::SoftReadErrors,
        code: "soft_read_errors",
        what: "reads that succeeded only off track",
        advice: "watch the pending sectors",
    },
];

/// Once somebody has accepted such a count, its growth is news; before, nobody knows whether it still grows.
fn judge_note(note: &Note, report: &Report, baseline: Option<&Baseline>) -> Option<Reason> {
    let count = report.counter(note.counter).filter(|count| 0 < *count)?;
    let (what, advice) = (note.what, note.advice);
    let accepted = baseline
        .and_then(|baseline| baseline.counts.get(&note.counter))
        .copied();
    let reason = match accepted {
        Some(accepted) if accepted < count => {
            let growth = count - accepted;
            let text = format!("{what}: {growth} more than the {accepted} that were accepted; {advice}");
            Reason::new(note.code, Health::Warning, text)
        }
        Some(accepted) => Reason::note(
            note.code,
            format!("{what}: {count}; seen and accepted at {accepted}"),
        ),
        None => {
            let text = format!("{what} since the drive was made: {count}; if the count grows, {advice}");
            Reason::note(note.code, text)
        }
    };
    Some(reason.of_attribute(attribute_of(note.counter, report)))
}
