//! How well a logical volume is. Pure: from the letters of lvs(8), its fields, and its inner volumes.
//!
//! A letter or word that is unknown makes the volume unknown at best.

use muster_model::Health;
use muster_parse::lvm::LogicalVolume;

use super::Indexed;
use super::volume::{data_percent, is_active, snapshot_percent, sync_percent};

/// From here on room that fills up is a warning, percent.
const FULL_WARNING: f64 = 80.0;
/// From here on it is critical, percent.
const FULL_CRITICAL: f64 = 95.0;

/// Health and what it rests on.
struct Verdict {
    health: Health,
    reasons: Vec<String>,
}

impl Verdict {
    fn add(&mut self, health: Health, reason: impl Into<String>) {
        self.health = self.health.max(health);
        self.reasons.push(reason.into());
    }
}

/// Judges a volume of this kind.
pub(super) fn judge(volume: &LogicalVolume, kind: &str, report: &Indexed<'_>) -> (Health, Vec<String>) {
    let mut verdict = Verdict {
        health: Health::Healthy,
        reasons: Vec::new(),
    };
    judge_known(volume, &mut verdict);
    judge_state(volume, kind, &mut verdict);
    judge_health(volume, kind, report, &mut verdict);
    judge_origin(volume, kind, report, &mut verdict);
    judge_room(volume, kind, &mut verdict);
    judge_pool(volume, kind, report, &mut verdict);
    judge_sync(volume, kind, &mut verdict);
    judge_words(volume, &mut verdict);
    if verdict.reasons.is_empty() {
        verdict.reasons.push(match is_active(volume) {
            Some(true) => "active, nothing wrong is reported".to_owned(),
            _ => "not active, nothing wrong is reported".to_owned(),
        });
    }
    (verdict.health, verdict.reasons)
}

/// Without the letters nothing is known of the state.
fn judge_known(volume: &LogicalVolume, verdict: &mut Verdict) {
    let letters = volume.attr.as_deref().map_or(0, |attr| attr.chars().count());
    if letters < 9 {
        verdict.add(Health::Unknown, "its state (lv_attr) is not reported");
    }
    let is_broken = volume
        .segments
        .iter()
        .any(|segment| segment.kind.as_deref() == Some("error"));
    if is_broken {
        verdict.add(
            Health::Failed,
            "a piece of it answers every request with an error: it was on a physical volume that is gone",
        );
    }
}

/// The fifth letter.
fn judge_state(volume: &LogicalVolume, kind: &str, verdict: &mut Verdict) {
    match volume.letter(5) {
        Some('a' | 'h') => {}
        None => {
            let tells_when_active =
                matches!(kind, "thin_pool" | "vdo_pool" | "mirror" | "snapshot") || kind.starts_with("raid");
            if volume.attr.is_some() && tells_when_active {
                verdict.add(
                    Health::Unknown,
                    "not active: how it is shows only when it is (lvchange -ay)",
                );
            }
        }
        Some('s') => verdict.add(
            Health::Warning,
            "suspended: whoever uses it waits; see dmsetup info",
        ),
        Some('I' | 'S') => verdict.add(
            Health::Failed,
            "the snapshot is invalid, its room was used up: remove it with lvremove",
        ),
        Some('m' | 'M') => verdict.add(Health::Critical, "merging the snapshot failed"),
        Some('c' | 'C') => verdict.add(
            Health::Critical,
            "the pool needs to be checked: deactivate it and run lvconvert --repair",
        ),
        Some('d') => verdict.add(
            Health::Critical,
            "its device is there without a table: it cannot be read",
        ),
        Some('i') => verdict.add(Health::Warning, "its device has a table that is not in use yet"),
        Some('X') => verdict.add(Health::Unknown, "LVM does not know its state"),
        Some(other) => verdict.add(
            Health::Unknown,
            format!("the letter {other:?} of its state is unknown"),
        ),
    }
}

/// The ninth letter, or the word for it.
fn judge_health(volume: &LogicalVolume, kind: &str, report: &Indexed<'_>, verdict: &mut Verdict) {
    let word = volume.text("lv_health_status").unwrap_or_default();
    match (volume.letter(9), word) {
        (Some('p'), _) | (_, "partial") => judge_partial(volume, kind, report, verdict),
        (Some('r'), _) | (_, "refresh needed") => {
            let health = if tolerance(volume, kind) < 2 {
                Health::Critical
            } else {
                Health::Warning
            };
            verdict.add(
                health,
                "a member failed and is left out: check the disk, then run lvchange --refresh or lvconvert --repair",
            );
        }
        (Some('m'), _) | (_, "mismatches exist") => verdict.add(
            Health::Warning,
            "its copies differ: run lvchange --syncaction repair",
        ),
        (Some('F'), _) | (_, "failed") => verdict.add(
            Health::Failed,
            "failed: its metadata cannot be used; run lvconvert --repair",
        ),
        (Some('D'), _) | (_, "out_of_data") => verdict.add(
            Health::Failed,
            "the pool has no room left: writing to its volumes fails or waits; lvextend it",
        ),
        (Some('M'), _) | (_, "metadata_read_only") => verdict.add(
            Health::Critical,
            "the pool's metadata can only be read: nothing new can be written; lvextend --poolmetadatasize, then check it",
        ),
        (Some('E'), _) | (_, "error") => verdict.add(
            Health::Critical,
            "the cache before it met errors: what was not written back may be lost",
        ),
        (None, "" | "unknown") if volume.attr.is_some() => {}
        (Some('w' | 's' | 'R'), _) | (_, "writemostly" | "reshaping" | "removed after reshape") => {}
        (Some('X'), _) | (_, "unknown") => verdict.add(Health::Unknown, "LVM does not know its health"),
        (None, "") => {}
        (Some(other), _) => verdict.add(
            Health::Unknown,
            format!("the letter {other:?} of its health is unknown"),
        ),
        (None, other) => verdict.add(
            Health::Unknown,
            format!("the word {other:.60?} of its health is unknown"),
        ),
    }
}

/// A physical volume is missing under a part of it.
fn judge_partial(volume: &LogicalVolume, kind: &str, report: &Indexed<'_>, verdict: &mut Verdict) {
    let tolerance = tolerance(volume, kind);
    let lost = volume
        .devices()
        .into_iter()
        .filter_map(|name| report.volume(&volume.vg_name, name))
        .filter(|part| part.name.contains("_rimage_") || part.name.contains("_mimage_"))
        .filter(|part| part.letter(9) == Some('p') || part.text("lv_health_status") == Some("partial"))
        .count();
    // A volume that only says so, without its members, has lost at least one.
    match (tolerance, lost.max(1)) {
        (0, _) => verdict.add(
            Health::Failed,
            "a physical volume under it is missing: what was there cannot be read",
        ),
        (tolerance, lost) if tolerance < lost => verdict.add(
            Health::Failed,
            format!("{lost} members are missing, more than it can lose: bring the disks back"),
        ),
        (tolerance, lost) if tolerance == lost => verdict.add(
            Health::Critical,
            format!("{lost} members are missing and no redundancy is left: bring the disk back or run lvconvert --repair"),
        ),
        (tolerance, lost) => verdict.add(
            Health::Warning,
            format!(
                "{lost} of its members is missing, {} more may be lost: bring the disk back or run lvconvert --repair",
                tolerance - lost
            ),
        ),
    }
}

/// A snapshot holds only what differs: without what it is of, it cannot be read.
fn judge_origin(volume: &LogicalVolume, kind: &str, report: &Indexed<'_>, verdict: &mut Verdict) {
    let origin = volume.text("origin").filter(|_| kind == "snapshot");
    let origin = origin.and_then(|name| report.volume(&volume.vg_name, name));
    let has_redundancy =
        origin.is_some_and(|origin| 0 < tolerance(origin, &super::volume::volume_type(origin)));
    if origin.is_some_and(|origin| origin.letter(9) == Some('p')) && !has_redundancy {
        verdict.add(
            Health::Failed,
            "what it is a snapshot of lies on a physical volume that is missing",
        );
    }
}

/// How many members it may lose for certain.
fn tolerance(volume: &LogicalVolume, kind: &str) -> usize {
    match kind {
        "raid1" | "mirror" => {
            let images = volume
                .devices()
                .into_iter()
                .filter(|name| name.contains("_rimage_") || name.contains("_mimage_"))
                .count();
            images.max(2) - 1
        }
        "raid4" | "raid5" | "raid10" | "raid01" => 1,
        "raid6" => 2,
        _ => 0,
    }
}

/// What fills up.
fn judge_room(volume: &LogicalVolume, kind: &str, verdict: &mut Verdict) {
    let grows = "lvextend it, or delete what is not needed and run fstrim";
    match kind {
        "thin_pool" => {
            fill(verdict, "data", data_percent(volume), grows);
            let metadata = "lvextend --poolmetadatasize";
            fill(verdict, "metadata", volume.percent("metadata_percent"), metadata);
            if is_active(volume) == Some(true) && data_percent(volume).is_none() {
                verdict.add(Health::Unknown, "how full it is, is not reported");
            }
        }
        "vdo_pool" => fill(verdict, "data", data_percent(volume), grows),
        "snapshot" => {
            let used = snapshot_percent(volume);
            fill(
                verdict,
                "room for changes",
                used,
                "lvextend it, or remove it: full, it becomes invalid",
            );
        }
        _ => {}
    }
}

/// A volume takes its room from a pool, and is no better off than that: once it is full, what was written before can be
/// read and written over, and nothing else (lvmthin(7), "Data space exhaustion").
fn judge_pool(volume: &LogicalVolume, kind: &str, report: &Indexed<'_>, verdict: &mut Verdict) {
    let name = volume.text("pool_lv").filter(|_| matches!(kind, "thin" | "vdo"));
    let Some(pool) = name.and_then(|name| report.volume(&volume.vg_name, name)) else {
        return;
    };
    // Nobody writes to one that is not active.
    if is_active(volume) != Some(true) {
        return;
    }
    let word = pool.text("lv_health_status").unwrap_or_default();
    let is_full = pool.letter(9) == Some('D')
        || word == "out_of_data"
        || data_percent(pool).is_some_and(|percent| 100.0 <= percent);
    let is_fixed = pool.letter(9) == Some('M')
        || word == "metadata_read_only"
        || pool
            .percent("metadata_percent")
            .is_some_and(|percent| 100.0 <= percent);
    let name = pool.full_name();
    // All of it has its place already, unless a snapshot shares it.
    let is_whole = data_percent(volume).is_some_and(|percent| 100.0 <= percent);
    let health = if is_whole {
        Health::Warning
    } else {
        Health::Critical
    };
    if pool.letter(9) == Some('F') || word == "failed" {
        verdict.add(Health::Failed, format!("its pool {name} has failed: see there"));
    } else if is_fixed {
        verdict.add(
            health,
            format!(
                "the metadata of its pool {name} is full or can only be read: writing anything new fails"
            ),
        );
    } else if is_full {
        let what = match pool.text("lv_when_full") {
            Some("queue") => "waits, and fails after a minute if the pool does not grow",
            _ => "fails",
        };
        verdict.add(
            health,
            format!("its pool {name} has no room left: writing anything new {what}"),
        );
    }
}

fn fill(verdict: &mut Verdict, what: &str, percent: Option<f64>, what_to_do: &str) {
    let Some(percent) = percent else { return };
    let health = match percent {
        _ if 100.0 <= percent => Health::Failed,
        _ if FULL_CRITICAL <= percent => Health::Critical,
        _ if FULL_WARNING <= percent => Health::Warning,
        _ => return,
    };
    verdict.add(health, format!("its {what} is {percent:.2} % full: {what_to_do}"));
}

/// Whether all copies are in step. A check that someone asked for reads everything and takes nothing away.
fn judge_sync(volume: &LogicalVolume, kind: &str, verdict: &mut Verdict) {
    let is_redundant = kind == "mirror" || (kind.starts_with("raid") && kind != "raid0");
    if !is_redundant {
        return;
    }
    let action = volume.text("raid_sync_action").unwrap_or_default();
    match sync_percent(volume) {
        Some(percent) if percent < 100.0 && !matches!(action, "check" | "repair" | "reshape") => verdict.add(
            Health::Warning,
            format!("its copies are {percent:.2} % in step: wait until all are"),
        ),
        None if is_active(volume) == Some(true) && volume.letter(9) != Some('X') => {
            verdict.add(Health::Unknown, "whether its copies are in step is not reported");
        }
        _ => {}
    }
    let mismatches = volume.count("raid_mismatch_count").unwrap_or(0);
    if 0 < mismatches && action != "check" && volume.letter(9) != Some('m') {
        verdict.add(
            Health::Warning,
            format!("its copies differ in {mismatches} places: run lvchange --syncaction repair"),
        );
    }
}

/// Fields that say with words what the letters may not.
fn judge_words(volume: &LogicalVolume, verdict: &mut Verdict) {
    if volume.is_set("lv_check_needed") && !matches!(volume.letter(5), Some('c' | 'C')) {
        verdict.add(
            Health::Critical,
            "its metadata needs to be checked: deactivate it and run lvconvert --repair",
        );
    }
    if volume.is_set("lv_snapshot_invalid") && !matches!(volume.letter(5), Some('I' | 'S')) {
        verdict.add(
            Health::Failed,
            "the snapshot is invalid, its room was used up: remove it with lvremove",
        );
    }
    if volume.is_set("lv_merge_failed") && !matches!(volume.letter(5), Some('m' | 'M')) {
        verdict.add(Health::Critical, "merging the snapshot failed");
    }
    if volume.is_set("writecache_error") && volume.letter(9) != Some('E') {
        verdict.add(
            Health::Critical,
            "the cache before it met errors: what was not written back may be lost",
        );
    }
    if volume.count("integritymismatches").is_some_and(|count| 0 < count) {
        verdict.add(
            Health::Warning,
            "blocks did not match their checksums: check the disks below it",
        );
    }
    match volume.text("vdo_operating_mode") {
        None | Some("normal") => {}
        Some("recovering") => verdict.add(Health::Warning, "the VDO pool recovers from an unclean end"),
        Some(mode) => verdict.add(
            Health::Failed,
            format!("the VDO pool is in mode {mode:.40}: nothing can be written"),
        ),
    }
}
