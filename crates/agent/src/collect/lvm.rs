//! LVM: volume groups, what they lie on, and their logical volumes, through `lvm fullreport`.
//!
//! The block collector tells of active volumes by name and link; this one adds what only LVM knows, under the same keys:
//! how full thin pools are, how RAID is, what is missing. Inner volumes are followed and not told of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_model::ResourceKey;
use muster_parse::Parsed;
use muster_parse::lvm::{self, LogicalVolume, Report};

use super::block::{Inventory, Shared};
use super::draft::{Draft, bounded_key};
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::{Host, ProgramCall, ProgramError};

mod group;
mod verdict;
mod volume;

/// The LVM collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "lvm",
    summary: "LVM volume groups and logical volumes: thin pools, RAID, snapshots, caches, through lvm",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(15),
    timeout: Duration::from_secs(60),
    place: Place::Privileged,
    build: |context| {
        Box::new(Lvm {
            shared: Arc::clone(&context.inventory),
            form: 0,
        })
    },
};

/// When a report is given up. A suspended device makes LVM wait.
const DEADLINE: Duration = Duration::from_secs(25);
/// How LVM ends when it does not know an option (tools/errors.h).
const USAGE: i32 = 3;
/// How LVM ends when something of what was asked for could not be had (tools/errors.h).
const FAILED: i32 = 5;
/// Longest chain of volumes that lie on one another: thin on cache on RAID and so on.
const LAYERS_MAX: usize = 16;

/// Forms of the report, best first: only the fields that are used, a quarter of all, which is what lets the report of some
/// 3,500 volumes, inner ones included, stay within what is taken of a program's output; every field, for releases that do
/// not know one of these; and, before 2.03, waiting for the lock of another command (lvmreport(7)).
const FORMS: [&[&str]; 3] = [
    &[
        "fullreport",
        "--all",
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
        "--nolocking",
        "--configreport",
        "vg",
        "-o",
        "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,pv_count,vg_missing_pv_count,lv_count,snap_count,vg_attr",
        "--configreport",
        "pv",
        "-o",
        "pv_name,pv_uuid,pv_size,pv_free,pv_major,pv_minor,pv_attr,pv_missing,pv_duplicate",
        "--configreport",
        "lv",
        "-o",
        "lv_uuid,lv_name,lv_attr,lv_layout,lv_role,lv_size,lv_metadata_size,data_percent,metadata_percent,snap_percent,\
         copy_percent,sync_percent,lv_health_status,raid_mismatch_count,raid_sync_action,integritymismatches,\
         cache_total_blocks,cache_used_blocks,cache_dirty_blocks,writecache_total_blocks,writecache_free_blocks,\
         writecache_error,vdo_operating_mode,vdo_saving_percent,origin,pool_lv,lv_when_full,lv_path,lv_dm_path,lv_check_needed,\
         lv_merge_failed,lv_snapshot_invalid",
        "--configreport",
        "seg",
        "-o",
        "lv_uuid,segtype,devices,metadata_devices,cache_mode",
        "--configreport",
        "pvseg",
        "-o",
        "pvseg_start",
    ],
    &[
        "fullreport",
        "--all",
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
        "--nolocking",
    ],
    &[
        "fullreport",
        "--all",
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
    ],
];

/// What LVM says of a field that it does not know, or not in this part of the report (lib/report of LVM, libdm-report.c).
const NOT_A_FIELD: [&str; 3] = [
    "Unrecognised field",
    "Unrecognized field",
    "change of report type",
];

struct Lvm {
    shared: Arc<Shared>,
    /// Which form the installed release understands.
    form: usize,
}

#[async_trait]
impl Collector for Lvm {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let mut draft = Draft::new(DESCRIPTOR.name);
        let Some(parsed) = self.ask(host).await? else {
            return Ok(Outcome::absent("lvm is not installed: apt install lvm2"));
        };
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let report = &parsed.value;
        if report.pvs.is_empty()
            && report.vgs.is_empty()
            && report.lvs.is_empty()
            && parsed.problems.is_empty()
        {
            return Ok(Outcome::absent("there is no physical volume"));
        }
        describe(&mut draft, parsed, &inventory);
        Ok(Outcome::Facts(draft.finish()))
    }
}

impl Lvm {
    async fn ask(&mut self, host: &Host) -> Result<Option<Parsed<Report>>, CollectError> {
        loop {
            let call = ProgramCall {
                program: "lvm",
                args: FORMS[self.form].to_vec(),
                record: "lvm/report",
                deadline: DEADLINE,
            };
            let output = match host.run(&call).await {
                Ok(output) => output,
                Err(ProgramError::NotInstalled { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let stderr = String::from_utf8_lossy(&output.stderr);
            let lacks_field =
                output.status != Some(0) && NOT_A_FIELD.iter().any(|words| stderr.contains(words));
            if (lacks_field || output.status == Some(USAGE)) && self.form + 1 < FORMS.len() {
                self.form += 1;
                continue;
            }
            let text = String::from_utf8_lossy(&output.stdout);
            if text.trim().is_empty() {
                let said: String = stderr.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                let status = output
                    .status
                    .map_or("a signal".to_owned(), |status| status.to_string());
                return Err(CollectError::Unusable {
                    what: "lvm fullreport".to_owned(),
                    message: format!("ended with {status} and said nothing: {said:.300}"),
                });
            }
            let mut parsed = lvm::parse(&text);
            let report = &parsed.value;
            let is_empty = report.pvs.is_empty() && report.vgs.is_empty() && report.lvs.is_empty();
            let is_refused = stderr.contains("non-root user") || stderr.contains("ermission denied");
            // Without rights LVM sees no disk, and calls that nothing.
            if is_empty && is_refused {
                return Err(CollectError::Unusable {
                    what: "lvm fullreport".to_owned(),
                    message: "sees nothing without the rights of root".to_owned(),
                });
            }
            if is_empty && output.status != Some(0) && parsed.problems.is_empty() {
                let said: String = stderr.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                return Err(CollectError::Unusable {
                    what: "lvm fullreport".to_owned(),
                    message: format!("failed and reported nothing: {said:.300}"),
                });
            }
            if !matches!(output.status, Some(0 | FAILED)) {
                let status = output
                    .status
                    .map_or("a signal".to_owned(), |status| status.to_string());
                parsed.problems.push(muster_parse::Problem {
                    line: None,
                    message: format!("ended with {status}: what it said may not be all"),
                });
            }
            return Ok(Some(parsed));
        }
    }
}

/// `lvm fullreport`, or `pvs`, `vgs` and `lvs`, as recorded.
pub(crate) fn describe_recorded(draft: &mut Draft, text: &str) {
    describe(draft, lvm::parse(text), &Inventory::default());
}

fn describe(draft: &mut Draft, parsed: Parsed<Report>, inventory: &Inventory) {
    let report = Indexed::of(&parsed.value, inventory);
    let groups = group::describe(draft, &report);
    volume::describe(draft, &report, &groups);
    draft.parser_problems("lvm", parsed.problems);
}

/// A report with what is looked up in it.
struct Indexed<'a> {
    report: &'a Report,
    inventory: &'a Inventory,
    by_name: BTreeMap<(&'a str, &'a str), &'a LogicalVolume>,
}

impl<'a> Indexed<'a> {
    fn of(report: &'a Report, inventory: &'a Inventory) -> Self {
        let by_name = report
            .lvs
            .iter()
            .map(|volume| ((volume.vg_name.as_str(), volume.name.as_str()), volume))
            .collect();
        Self {
            report,
            inventory,
            by_name,
        }
    }

    /// A volume of the same group.
    fn volume(&self, vg_name: &str, name: &str) -> Option<&'a LogicalVolume> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        self.by_name.get(&(vg_name, bare)).copied()
    }

    /// The key of the device of a physical volume.
    fn carrier(&self, name: &str) -> Option<&'a ResourceKey> {
        if !name.starts_with('/') {
            return None;
        }
        let by_path = self.inventory.key_of_path(name);
        by_path.or_else(|| {
            let pv = self.report.pvs.iter().find(|pv| pv.name == name)?;
            let (major, minor) = pv.numbers?;
            self.inventory.key_of(self.inventory.name_of((major, minor))?)
        })
    }
}

/// The key of a volume, by its UUID, as the block collector makes it; else by its names.
fn volume_key(volume: &LogicalVolume) -> ResourceKey {
    match &volume.uuid {
        Some(uuid) => bounded_key(format!("volume:lvm:{uuid}")),
        None => bounded_key(format!("volume:lvm:name/{}", volume.full_name())),
    }
}

#[cfg(test)]
mod tests;
