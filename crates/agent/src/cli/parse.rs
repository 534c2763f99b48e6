//! `muster-agent parse KIND FILE`: what the agent makes of a recorded output.

use std::io::Read as _;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use muster_model::Facts;
use muster_parse::{diskstats, mounts};

use super::render::View;
use super::{print_with, usage};
use crate::collect::block::Inventory;
use crate::collect::draft::Draft;
use crate::collect::{
    btrfs, containers, diskstats as diskstats_collector, filesystem, lvm, mdadm, smart, zfs,
};
use crate::config::collect::Filesystem;

#[cfg(test)]
mod elsewhere;
mod lsblk;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Makes facts of a file's name and text.
type Parser = fn(&Utf8Path, &str) -> Facts;

/// The kinds of recorded output, by name.
const KINDS: &[(&str, Parser)] = &[
    ("btrfs-device-stats", parse_btrfs_stats),
    ("btrfs-scrub", parse_btrfs_scrub),
    ("diskstats", parse_diskstats),
    ("docker-inspect", |_, text| {
        containers::describe_recorded("docker", text)
    }),
    ("lsblk", lsblk::parse),
    ("lvm-report", |_, text| facts("lvm", text, lvm::describe_recorded)),
    ("mdadm-detail", parse_mdadm_detail),
    ("mdstat", parse_mdstat),
    ("mounts", parse_mounts),
    ("podman-inspect", |_, text| {
        containers::describe_recorded("podman", text)
    }),
    ("smartctl", parse_smartctl),
    ("zfs-list", |_, text| facts("zfs", text, zfs::describe_datasets)),
    ("zpool-list", |_, text| facts("zfs", text, zfs::describe_list)),
    ("zpool-status", |_, text| facts("zfs", text, zfs::describe_status)),
    ("zpool-status-json", |_, text| {
        facts("zfs", text, zfs::describe_status)
    }),
];

#[derive(Debug, Args)]
pub(super) struct Parse {
    /// What FILE holds: smartctl or lsblk (with --json), mdstat, mdadm-detail, btrfs-device-stats, btrfs-scrub,
    /// zpool-status, zpool-status-json, zpool-list, zfs-list, lvm-report, diskstats, mounts, docker-inspect or
    /// podman-inspect.
    kind: String,
    /// The recorded output.
    file: Utf8PathBuf,
}

impl Parse {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Some((_, parse)) = KINDS.iter().find(|(name, _)| *name == self.kind) else {
            let known: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            return Ok(usage(&format!(
                "no kind {:?}; there are {}",
                self.kind,
                known.join(", ")
            )));
        };
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.file)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Ok(usage(&format!("read {}: {error}", self.file)));
        }
        let facts = parse(&self.file, &String::from_utf8_lossy(&bytes));
        // A recording has no time of its own.
        print_with(|out| View::of(vec![(0, facts)]).write_json(out))
    }
}

fn parse_btrfs_stats(file: &Utf8Path, text: &str) -> Facts {
    btrfs::describe_recorded_stats(text, file.file_stem().unwrap_or("unknown"))
}

fn parse_btrfs_scrub(file: &Utf8Path, text: &str) -> Facts {
    btrfs::describe_recorded_scrub(text, file.file_stem().unwrap_or("unknown"))
}

fn parse_diskstats(_: &Utf8Path, text: &str) -> Facts {
    let mut draft = Draft::new("diskstats");
    let parsed = diskstats::parse(text);
    diskstats_collector::describe(&mut draft, &parsed.value, &Inventory::default());
    draft.parser_problems("diskstats", parsed.problems);
    draft.finish()
}

fn parse_mounts(_: &Utf8Path, text: &str) -> Facts {
    let mut draft = Draft::new("mounts");
    let parsed = mounts::parse(text);
    for mount in filesystem::choose(&parsed.value, &Filesystem::default()) {
        let answer = filesystem::Answer::NotAsked;
        filesystem::describe(&mut draft, mount, &parsed.value, &answer, &Inventory::default());
    }
    draft.parser_problems("mounts", parsed.problems);
    draft.finish()
}

fn parse_mdadm_detail(file: &Utf8Path, text: &str) -> Facts {
    mdadm::describe_recorded_detail(text, file.file_stem().unwrap_or("unknown"))
}

fn parse_mdstat(_: &Utf8Path, text: &str) -> Facts {
    mdadm::describe_recorded(text)
}

fn parse_smartctl(file: &Utf8Path, text: &str) -> Facts {
    let mut draft = Draft::new("smartctl");
    smart::describe_recorded(&mut draft, file.file_stem().unwrap_or("unknown"), text);
    draft.finish()
}

fn facts(collector: &'static str, text: &str, describe: fn(&mut Draft, &str)) -> Facts {
    let mut draft = Draft::new(collector);
    describe(&mut draft, text);
    draft.finish()
}

#[cfg(test)]
mod tests {
    use muster_model::Health;

    use super::*;

    #[test]
    fn kinds_are_sorted_and_none_panics_on_nonsense() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, parse) in KINDS {
            for text in ["", "{", "nonsense\n\0", "[]", "{}", "1 2 3"] {
                let facts = parse(Utf8Path::new("x.json"), text);
                for resource in &facts.resources {
                    assert_ne!(resource.shown_health(), Health::Healthy, "{name} of {text:?}");
                }
            }
        }
    }

    #[test]
    fn a_cut_smartctl_document_is_a_device_of_unknown_health_with_problems() {
        let text = r#"{"smartctl":{"exit_status":0},"serial_number":"Z1","smart_status":{"passed":true"#;
        let facts = parse_smartctl(Utf8Path::new("/tmp/sda.json"), text);
        assert_eq!(facts.resources.len(), 1);
        assert_eq!(facts.resources[0].shown_health(), Health::Unknown);
        assert!(!facts.problems.is_empty());
    }

    #[test]
    fn mounts_are_filesystems_of_unknown_size() {
        let facts = parse_mounts(
            Utf8Path::new("mounts"),
            "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n",
        );
        assert_eq!(facts.resources.len(), 1);
        assert_eq!(facts.resources[0].shown_health(), Health::Unknown);
        assert!(facts.problems.is_empty());
    }
}
