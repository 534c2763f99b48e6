//! `[collect]`, `[containers]`, `[filesystem]`, `[smart]`, `[textfile]`, `[zfs]`: what is collected, and how often.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;

use super::Problems;
use crate::collect::{ALL, Descriptor};

mod containers;
pub mod smart;
mod zfs;

pub(in crate::config) use containers::RawContainers;
pub use containers::{Containers, Runtime};
pub(in crate::config) use zfs::RawZfs;
pub use zfs::Zfs;

/// What is collected, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Collectors that do not run.
    pub disabled: Vec<String>,
    /// Cadences that differ from the collector's own.
    pub intervals: BTreeMap<String, Duration>,
    /// Which container engines are read.
    pub containers: Containers,
    /// Which filesystems are told of.
    pub filesystem: Filesystem,
    /// How drives are asked.
    pub smart: Smart,
    /// Where scripts leave their metrics.
    pub textfile: Textfile,
    /// What is expected of ZFS.
    pub zfs: Zfs,
}

impl Settings {
    /// The collectors that run, each with its cadence.
    pub fn enabled(&self) -> impl Iterator<Item = (&'static Descriptor, Duration)> + '_ {
        ALL.iter()
            .filter(|found| !self.disabled.iter().any(|name| name == found.name))
            .map(|found| {
                (
                    found,
                    self.intervals.get(found.name).copied().unwrap_or(found.interval),
                )
            })
    }
}

/// Which filesystems are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Mount points left out.
    pub exclude_mount_points: Vec<PathPattern>,
    /// Filesystem types left out.
    pub exclude_types: Vec<String>,
}

/// A folder and everything below it, or, written `/folder/*`, only what is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    folder: String,
    is_below_only: bool,
}

impl PathPattern {
    /// Reads `/folder` or `/folder/*`.
    ///
    /// # Errors
    /// What is wrong, if it is not such a path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (folder, is_below_only) = match text.strip_suffix("/*") {
            Some(folder) => (folder, true),
            None => (text.trim_end_matches('/'), false),
        };
        if !folder.starts_with('/') || folder.contains('*') {
            return Err(format!("{text:?} is neither /folder nor /folder/*"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            is_below_only,
        })
    }

    /// Whether it takes in a path.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        match path.strip_prefix(&self.folder) {
            Some("") => !self.is_below_only,
            Some(rest) => rest.starts_with('/') && 1 < rest.len(),
            None => false,
        }
    }
}

impl Filesystem {
    /// Mount points that `node_exporter` leaves out.
    pub const EXCLUDE_MOUNT_POINTS_DEFAULT: [&str; 6] = [
        "/dev",
        "/proc",
        "/sys",
        "/run/credentials/*",
        "/var/lib/docker/*",
        "/var/lib/containers/storage/*",
    ];
    /// Types that `node_exporter` leaves out: kernel interfaces and images.
    pub const EXCLUDE_TYPES_DEFAULT: [&str; 25] = [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "erofs",
        "fusectl",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "procfs",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tracefs",
    ];
}

impl Default for Filesystem {
    fn default() -> Self {
        let patterns = Self::EXCLUDE_MOUNT_POINTS_DEFAULT
            .iter()
            .filter_map(|text| PathPattern::parse(text).ok());
        Self {
            exclude_mount_points: patterns.collect(),
            exclude_types: Self::EXCLUDE_TYPES_DEFAULT
                .iter()
                .map(|&word| word.to_owned())
                .collect(),
        }
    }
}

/// How drives are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smart {
    /// Drives asked at once.
    pub concurrency: usize,
    /// When a drive that does not answer is given up.
    pub deadline: Duration,
    /// What is decided about single drives.
    pub devices: smart::Devices,
}

impl Smart {
    /// Drives asked at once unless told otherwise.
    pub const CONCURRENCY_DEFAULT: usize = 4;
    /// Most drives that may be asked at once.
    pub const CONCURRENCY_MAX: usize = 32;
    /// When a drive is given up unless told otherwise.
    pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(60);
    /// The longest that a drive may be waited for.
    pub const DEADLINE_MAX: Duration = Duration::from_secs(300);
}

impl Default for Smart {
    fn default() -> Self {
        Self {
            concurrency: Self::CONCURRENCY_DEFAULT,
            deadline: Self::DEADLINE_DEFAULT,
            devices: smart::Devices::default(),
        }
    }
}

/// Where scripts leave their metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Textfile {
    /// Folders whose `*.prom` files are read.
    pub directories: Vec<String>,
}

impl Textfile {
    /// Where Debian's `node_exporter` looks, and our own.
    pub const DIRECTORIES_DEFAULT: [&str; 2] =
        ["/var/lib/prometheus/node-exporter", "/var/lib/muster/textfile"];
}

impl Default for Textfile {
    fn default() -> Self {
        Self {
            directories: Self::DIRECTORIES_DEFAULT
                .iter()
                .map(|&folder| folder.to_owned())
                .collect(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCollect {
    disabled: Vec<String>,
    intervals: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFilesystem {
    exclude_mount_points: Option<Vec<String>>,
    exclude_types: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSmart {
    concurrency: Option<usize>,
    deadline: Option<String>,
    devices: BTreeMap<String, smart::RawDevice>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTextfile {
    directories: Option<Vec<String>>,
}

pub(super) fn validate(
    collect: RawCollect,
    containers: RawContainers,
    filesystem: RawFilesystem,
    smart: RawSmart,
    textfile: RawTextfile,
    zfs: RawZfs,
    problems: &mut Problems,
) -> Settings {
    for name in collect
        .disabled
        .iter()
        .filter(|name| Descriptor::find(name).is_none())
    {
        problems.note("collect.disabled", &unknown_collector(name));
    }
    let mut intervals = BTreeMap::new();
    for (name, text) in collect.intervals {
        let key = format!("collect.intervals.{name}");
        if let Some(interval) = problems.check(&key, check_interval(&name, &text)) {
            intervals.insert(name, interval);
        }
    }
    Settings {
        disabled: collect.disabled,
        intervals,
        containers: containers::validate(containers, problems),
        filesystem: validate_filesystem(filesystem, problems),
        smart: validate_smart(smart, problems),
        textfile: validate_textfile(textfile, problems),
        zfs: zfs::validate(zfs, problems),
    }
}

fn validate_textfile(raw: RawTextfile, problems: &mut Problems) -> Textfile {
    let Some(directories) = raw.directories else {
        return Textfile::default();
    };
    for folder in directories.iter().filter(|folder| !folder.starts_with('/')) {
        problems.note(
            "textfile.directories",
            &format!("{folder:?} does not begin with a slash"),
        );
    }
    Textfile { directories }
}

fn check_interval(name: &str, text: &str) -> Result<Duration, String> {
    let descriptor = Descriptor::find(name).ok_or_else(|| unknown_collector(name))?;
    let interval = parse_duration(text)?;
    if interval < descriptor.interval_min {
        return Err(format!(
            "must be at least {} s",
            descriptor.interval_min.as_secs()
        ));
    }
    Ok(interval)
}

fn unknown_collector(name: &str) -> String {
    let known: Vec<_> = ALL.iter().map(|descriptor| descriptor.name).collect();
    format!("there is no collector {name:?}; there are {}", known.join(", "))
}

fn validate_filesystem(raw: RawFilesystem, problems: &mut Problems) -> Filesystem {
    let defaults = Filesystem::default();
    let exclude_mount_points = raw.exclude_mount_points.map(|texts| {
        let check =
            |text: &String| problems.check("filesystem.exclude_mount_points", PathPattern::parse(text));
        texts.iter().filter_map(check).collect()
    });
    Filesystem {
        exclude_mount_points: exclude_mount_points.unwrap_or(defaults.exclude_mount_points),
        exclude_types: raw.exclude_types.unwrap_or(defaults.exclude_types),
    }
}

fn validate_smart(raw: RawSmart, problems: &mut Problems) -> Smart {
    let concurrency = raw.concurrency.unwrap_or(Smart::CONCURRENCY_DEFAULT);
    if !(1..=Smart::CONCURRENCY_MAX).contains(&concurrency) {
        problems.note(
            "smart.concurrency",
            &format!("must be from 1 to {}", Smart::CONCURRENCY_MAX),
        );
    }
    let deadline = raw
        .deadline
        .as_deref()
        .and_then(|text| problems.check("smart.deadline", parse_duration(text)));
    let deadline = deadline.unwrap_or(Smart::DEADLINE_DEFAULT);
    if deadline.is_zero() || Smart::DEADLINE_MAX < deadline {
        problems.note(
            "smart.deadline",
            &format!("must be from 1 s to {} s", Smart::DEADLINE_MAX.as_secs()),
        );
    }
    Smart {
        concurrency,
        deadline,
        devices: smart::validate(raw.devices, problems),
    }
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration such as \"30s\": {error}"))
}

pub(super) fn default_text() -> String {
    let quoted = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = String::from(
        "[collect]\n# Collectors that do not run.\n# disabled = []\n\n\
         # How often each collector runs, and what it reads.\n[collect.intervals]\n",
    );
    for descriptor in ALL {
        let interval = humantime::format_duration(descriptor.interval)
            .to_string()
            .replace(' ', "");
        let minimum = humantime::format_duration(descriptor.interval_min)
            .to_string()
            .replace(' ', "");
        let (name, summary) = (descriptor.name, descriptor.summary);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# {name} = \"{interval}\"  # {summary}; at least {minimum}");
    }
    let _ = write!(
        text,
        "\n{}\n[filesystem]\n# Mount points left out: a folder with all below it, or with /* only what is below.\n\
         # exclude_mount_points = [{}]\n# Filesystem types left out.\n# exclude_types = [{}]\n\n\
         [smart]\n# Drives asked at once.\n# concurrency = {}\n\
         # When a drive that does not answer is given up.\n# deadline = \"{}s\"\n\
         # Single drives, by node, serial number or key: what smartctl takes one for (several types for the disks behind\n\
         # one controller, such as [\"megaraid,0\", \"megaraid,1\"]), how often it is asked where that is less often than\n\
         # the collector runs, and whether it is never asked.\n\
         # devices = {{ \"/dev/sdb\" = {{ type = \"sat\", interval = \"6h\", ignore = false }} }}\n\n\
         [textfile]\n# Folders whose *.prom files are read.\n# directories = [{}]\n\n{}",
        containers::default_text(),
        quoted(&Filesystem::EXCLUDE_MOUNT_POINTS_DEFAULT),
        quoted(&Filesystem::EXCLUDE_TYPES_DEFAULT),
        Smart::CONCURRENCY_DEFAULT,
        Smart::DEADLINE_DEFAULT.as_secs(),
        quoted(&Textfile::DIRECTORIES_DEFAULT),
        zfs::default_text(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_in_whole_folders_only() {
        let settings = Filesystem::default();
        let is_excluded = |path: &str| {
            settings
                .exclude_mount_points
                .iter()
                .any(|pattern| pattern.contains(path))
        };
        for path in [
            "/dev",
            "/dev/shm",
            "/proc/x",
            "/var/lib/docker/overlay2/x",
            "/run/credentials/a.service",
        ] {
            assert!(is_excluded(path), "{path}");
        }
        for path in [
            "/",
            "/development",
            "/var/lib/docker",
            "/run",
            "/run/credentials",
            "/home",
        ] {
            assert!(!is_excluded(path), "{path}");
        }
    }

    #[test]
    fn odd_patterns_are_refused() {
        for text in ["", "dev", "/a*b", "*"] {
            assert!(PathPattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn disabled_collectors_do_not_run() {
        let settings = Settings {
            disabled: vec!["smart".to_owned()],
            ..Settings::default()
        };
        assert!(
            settings
                .enabled()
                .all(|(descriptor, _)| descriptor.name != "smart")
        );
        assert_eq!(settings.enabled().count(), ALL.len() - 1);
    }
}
