//! `/sys/fs/btrfs/<fsid>`: Documentation of btrfs(5), "FILESYSTEM SYSFS"; fs/btrfs/sysfs.c.

use crate::host::{Files, HostError};

/// A mounted filesystem. What a kernel does not have is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shown {
    /// Its id, which the folder is named by.
    pub(super) fsid: String,
    /// The id on its devices, if `btrfstune -m` changed the other.
    pub(super) metadata_uuid: Option<String>,
    pub(super) label: Option<String>,
    /// Devices by kernel name; one that was pulled out stays listed.
    pub(super) devices: Vec<Device>,
    /// Devices by number, since Linux 5.6; `None` before.
    pub(super) numbered: Option<Vec<Numbered>>,
    pub(super) groups: Vec<Group>,
    pub(super) global_reserve_bytes: Option<u64>,
    /// Commits, since Linux 5.18.
    pub(super) commits: Option<Commits>,
    /// `none`, `balance`, `device replace`, …
    pub(super) exclusive_operation: Option<String>,
    pub(super) checksum: Option<String>,
}

/// An entry of `devices`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) size_bytes: Option<u64>,
}

/// An entry of `devinfo`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Numbered {
    pub(super) devid: u64,
    pub(super) is_missing: bool,
    pub(super) is_replace_target: bool,
    /// Counters by name, as in `node_exporter`'s label; since Linux 5.14.
    pub(super) errors: Option<Vec<(String, u64)>>,
}

/// Block groups of one type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Group {
    /// `data`, `metadata`, `system`, `mixed`.
    pub(super) kind: String,
    pub(super) used_bytes: Option<u64>,
    pub(super) total_bytes: Option<u64>,
    pub(super) reserved_bytes: Option<u64>,
    pub(super) profiles: Vec<Profile>,
}

/// Block groups of one type and profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Profile {
    /// `single`, `dup`, `raid1`, …
    pub(super) mode: String,
    pub(super) used_bytes: u64,
    pub(super) total_bytes: u64,
}

/// `commit_stats`, times in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Commits {
    pub(super) count: u64,
    pub(super) last_ms: u64,
    pub(super) max_ms: u64,
    pub(super) total_ms: u64,
}

impl Shown {
    /// Whether an id is this filesystem's.
    pub(super) fn is(&self, fsid: &str) -> bool {
        self.fsid == fsid || self.metadata_uuid.as_deref() == Some(fsid)
    }
}

/// Reads all of them.
pub(super) fn read(files: &Files) -> Result<Vec<Shown>, HostError> {
    let names = files.list("/sys/fs/btrfs")?.unwrap_or_default();
    let is_id = |name: &String| name.len() == 36 && name.bytes().filter(|byte| *byte == b'-').count() == 4;
    let ids = names.into_iter().filter(is_id);
    Ok(ids.map(|fsid| read_one(files, fsid)).collect())
}

fn read_one(files: &Files, fsid: String) -> Shown {
    let base = format!("/sys/fs/btrfs/{fsid}");
    let word = |path: &str| files.word(&format!("{base}/{path}"));
    let devices = files.names(&format!("{base}/devices")).into_iter().map(|name| {
        let sectors = files.number(&format!("{base}/devices/{name}/size"));
        let in_block = || files.number(&format!("/sys/class/block/{name}/size"));
        Device {
            size_bytes: sectors
                .or_else(in_block)
                .map(|sectors| sectors.saturating_mul(512)),
            name,
        }
    });
    let numbers = files.names(&format!("{base}/devinfo"));
    let numbered = numbers
        .iter()
        .filter_map(|number| read_numbered(files, &base, number));
    let numbered: Vec<Numbered> = numbered.collect();
    let kinds = ["data", "metadata", "mixed", "system"];
    Shown {
        label: word("label"),
        metadata_uuid: word("metadata_uuid"),
        devices: devices.collect(),
        numbered: (!numbered.is_empty()).then_some(numbered),
        groups: kinds
            .iter()
            .filter_map(|kind| read_group(files, &base, kind))
            .collect(),
        global_reserve_bytes: files.number(&format!("{base}/allocation/global_rsv_size")),
        commits: word("commit_stats").as_deref().and_then(parse_commits),
        exclusive_operation: word("exclusive_operation"),
        checksum: word("checksum"),
        fsid,
    }
}

fn read_numbered(files: &Files, base: &str, number: &str) -> Option<Numbered> {
    let flag = |name: &str| files.number(&format!("{base}/devinfo/{number}/{name}"));
    let errors = files
        .text(&format!("{base}/devinfo/{number}/error_stats"))
        .ok()
        .flatten();
    Some(Numbered {
        devid: number.parse().ok()?,
        is_missing: flag("missing") == Some(1),
        is_replace_target: flag("replace_target") == Some(1),
        errors: errors.as_deref().and_then(parse_errors),
    })
}

/// `write_errs 4` and so on; `None` unless all five are there.
fn parse_errors(text: &str) -> Option<Vec<(String, u64)>> {
    const NAMES: [&str; 5] = ["write", "read", "flush", "corruption", "generation"];
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        let (_, value) = lines.find(|(found, _)| found.strip_suffix("_errs") == Some(name))?;
        value.trim().parse::<u64>().ok()
    };
    NAMES
        .iter()
        .map(|name| Some(((*name).to_owned(), value(name)?)))
        .collect()
}

fn parse_commits(text: &str) -> Option<Commits> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        lines
            .find(|(found, _)| *found == name)?
            .1
            .trim()
            .parse::<u64>()
            .ok()
    };
    Some(Commits {
        count: value("commits")?,
        last_ms: value("last_commit_ms")?,
        max_ms: value("max_commit_ms")?,
        total_ms: value("total_commit_ms")?,
    })
}

fn read_group(files: &Files, base: &str, kind: &str) -> Option<Group> {
    let folder = format!("{base}/allocation/{kind}");
    let names = files.names(&folder);
    if names.is_empty() {
        return None;
    }
    let number = |path: &str| files.number(&format!("{folder}/{path}"));
    let profiles = names.iter().filter_map(|mode| {
        Some(Profile {
            total_bytes: number(&format!("{mode}/total_bytes"))?,
            used_bytes: number(&format!("{mode}/used_bytes"))?,
            mode: mode.clone(),
        })
    });
    Some(Group {
        kind: kind.to_owned(),
        used_bytes: number("bytes_used"),
        total_bytes: number("total_bytes"),
        reserved_bytes: number("bytes_reserved"),
        profiles: profiles.collect(),
    })
}
