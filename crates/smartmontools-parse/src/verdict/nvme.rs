//! NVMe: critical warning bits, spare capacity, endurance. NVMe base specification, SMART / Health Information log.

use crate::report::{NvmeHealthLog, Report};

use super::{Health, Reason};

pub(super) fn judge(report: &Report) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let status_bits = report.smart_status.as_ref().and_then(|status| status.nvme_value);
    let health = report.nvme.health.as_ref();
    let bits = health
        .and_then(|health| health.critical_warning)
        .or(status_bits)
        .unwrap_or(0);
    reasons.extend(critical_warning(bits));
    if let Some(health) = health {
        reasons.extend(spare(health));
    }
    reasons.extend(wear(report));
    reasons
}

/// Each bit in words. Read-only media and degraded reliability are the end of a drive; lost power backup risks the
/// data in its cache only.
fn critical_warning(bits: u64) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |bit: u32, code, health, text: &str| {
        if bits & (1 << bit) != 0 {
            reasons.push(Reason::new(code, health, text));
        }
    };
    let failed = Health::Failed;
    let critical = Health::Critical;
    add(
        0,
        "spare_below_threshold",
        critical,
        "the spare capacity is used up below the drive's threshold; replace the drive",
    );
    add(
        1,
        "temperature_warning",
        critical,
        "the temperature is beyond the drive's threshold; check cooling and air flow",
    );
    add(
        2,
        "reliability_degraded",
        failed,
        "the drive reports degraded reliability from media or internal errors; back up and replace it",
    );
    add(
        3,
        "media_read_only",
        failed,
        "the drive has made itself read-only; copy the data and replace it",
    );
    add(
        4,
        "backup_failed",
        critical,
        "the power-loss protection of the drive's cache has failed; writes may be lost on power loss, replace the drive",
    );
    add(
        5,
        "persistent_memory_unreliable",
        critical,
        "the drive's persistent memory region is read-only or unreliable; replace the drive",
    );
    if bits & !0x3f != 0 {
        let text = format!(
            "the drive sets a critical warning nobody knows yet ({:#04x}); ask its maker",
            bits & !0x3f
        );
        reasons.push(Reason::new("unknown_critical_warning", critical, text));
    }
    reasons
}

fn spare(health: &NvmeHealthLog) -> Option<Reason> {
    let spare = health.available_spare?;
    let threshold = health.available_spare_threshold?;
    let is_warned = health.critical_warning.is_some_and(|bits| bits & 1 != 0);
    if threshold <= spare || is_warned {
        return None;
    }
    let text = format!(
        "spare capacity is {spare} %, below the drive's threshold of {threshold} %; replace the drive"
    );
    Some(Reason::new("spare_below_threshold", Health::Critical, text))
}

/// Endurance used, for every kind of solid state drive. Past 100 % drives often go on for long, but nobody vouches for
/// them, so it is a warning; from 90 % on it is a note, in time for an order.
fn wear(report: &Report) -> Option<Reason> {
    const NEAR_PERCENT: f64 = 90.0;
    let used = report.wear_level_percent()?;
    if report.is_worn_out() {
        let text = format!("{used:.0} % of the rated write endurance is used; plan the replacement");
        return Some(Reason::new("worn_out", Health::Warning, text));
    }
    let text = || format!("{used:.0} % of the rated write endurance is used");
    (NEAR_PERCENT <= used).then(|| Reason::note("nearly_worn_out", text()))
}
