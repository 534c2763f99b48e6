//! `/proc/self/mountinfo` and `/proc/mounts` (also `/etc/mtab`): what is mounted where.
//!
//! proc(5), Documentation/filesystems/proc.rst 3.5. Both give the same [`Mount`]; only mountinfo knows device
//! numbers, the mounted part of the filesystem and the per-mount options apart from the filesystem's. Space, tab,
//! newline, backslash and `#` are written as octal escapes (`\040`) and are decoded here.

use crate::problem::{Parsed, Problems, excerpt};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mount {
    /// What is mounted: a device path, a dataset, `none`, or whatever the filesystem calls it.
    pub source: String,
    /// Where, as seen by the process whose file was read.
    pub mount_point: String,
    /// Type of the filesystem, with subtype where it has one (`fuse.sshfs`).
    pub fs_type: String,
    /// Options of this mount; from `/proc/mounts` these and the filesystem's together.
    pub options: Vec<String>,
    /// Options of the filesystem, from mountinfo only.
    pub super_options: Vec<String>,
    /// What mountinfo alone tells.
    pub detail: Option<Detail>,
}

/// What mountinfo tells beyond `/proc/mounts`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Detail {
    /// Id of the mount, reused after unmounting.
    pub id: u32,
    /// Id of the mount this one sits in.
    pub parent_id: u32,
    /// Major number of the filesystem's device; 0 for filesystems without one, and also for BTRFS and ZFS.
    pub major: u32,
    /// Minor number of it.
    pub minor: u32,
    /// Which part of the filesystem is mounted: `/`, or the directory or subvolume.
    pub root: String,
    /// Propagation fields such as `shared:2`.
    pub optional: Vec<String>,
}

impl Mount {
    /// Whether writing is refused here, by the mount or by its filesystem.
    pub fn is_read_only(&self) -> bool {
        self.options
            .iter()
            .chain(&self.super_options)
            .any(|option| option == "ro")
    }
}

/// Reads either file, told apart by the separator field that only mountinfo has.
pub fn parse(text: &str) -> Parsed<Vec<Mount>> {
    let is_mountinfo = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| parse_mountinfo_line(line).is_ok());
    if is_mountinfo {
        parse_mountinfo(text)
    } else {
        parse_mounts(text)
    }
}

/// Reads `/proc/self/mountinfo`.
pub fn parse_mountinfo(text: &str) -> Parsed<Vec<Mount>> {
    parse_lines(text, parse_mountinfo_line)
}

/// Reads `/proc/mounts`.
pub fn parse_mounts(text: &str) -> Parsed<Vec<Mount>> {
    parse_lines(text, parse_mounts_line)
}

fn parse_lines(text: &str, parse_line: fn(&str) -> Result<Mount, &'static str>) -> Parsed<Vec<Mount>> {
    let mut problems = Problems::default();
    let mut mounts = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match parse_line(line) {
            Ok(mount) => mounts.push(mount),
            Err(wrong) => problems.at_index(index, format!("{wrong}, found \"{}\"", excerpt(line))),
        }
    }
    problems.with(mounts)
}

/// `id parent major:minor root mount_point options optional… - fs_type source super_options`
fn parse_mountinfo_line(line: &str) -> Result<Mount, &'static str> {
    // An empty source leaves two spaces in a row, so runs of spaces must not be merged.
    let mut words = line.trim_end_matches('\n').split(' ');
    let mut next = |wrong| words.next().filter(|word| !word.is_empty()).ok_or(wrong);
    let id = next("expected a mount id")?
        .parse()
        .map_err(|_| "expected a mount id")?;
    let parent_id = next("expected a parent id")?
        .parse()
        .map_err(|_| "expected a parent id")?;
    let (major, minor) = next("expected major:minor")?
        .split_once(':')
        .ok_or("expected major:minor")?;
    let major = major.parse().map_err(|_| "expected major:minor")?;
    let minor = minor.parse().map_err(|_| "expected major:minor")?;
    let root = unescape(next("expected a root")?);
    let mount_point = unescape(next("expected a mount point")?);
    let options = split_options(next("expected mount options")?);
    let mut optional = Vec::new();
    loop {
        match words.next() {
            Some("-") => break,
            Some(field) => optional.push(field.to_owned()),
            None => return Err("expected the separator \"-\""),
        }
    }
    let fs_type = words
        .next()
        .filter(|word| !word.is_empty())
        .ok_or("expected a filesystem type")?;
    let source = words.next().ok_or("expected a source")?;
    let super_options = words.next().ok_or("expected filesystem options")?;
    Ok(Mount {
        source: unescape(source),
        mount_point,
        fs_type: unescape(fs_type),
        options,
        super_options: split_options(super_options),
        detail: Some(Detail {
            id,
            parent_id,
            major,
            minor,
            root,
            optional,
        }),
    })
}

/// `source mount_point fs_type options dump pass`
fn parse_mounts_line(line: &str) -> Result<Mount, &'static str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [source, mount_point, fs_type, options, numbers @ ..] = words.as_slice() else {
        return Err("expected source, mount point, type and options");
    };
    // The kernel always prints both; a table kept by hand may leave them out.
    if 2 < numbers.len() || numbers.iter().any(|number| number.parse::<u32>().is_err()) {
        return Err("expected two numbers after the options");
    }
    Ok(Mount {
        source: unescape(source),
        mount_point: unescape(mount_point),
        fs_type: unescape(fs_type),
        options: split_options(options),
        super_options: Vec::new(),
        detail: None,
    })
}

fn split_options(text: &str) -> Vec<String> {
    text.split(',')
        .filter(|option| !option.is_empty())
        .map(unescape)
        .collect()
}

/// Decodes `\ooo`; what only looks like an escape stays as it is.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1..at + 4).and_then(octal)) {
            (b'\\', Some(value)) => {
                decoded.push(value);
                at += 4;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_in_both_files() {
        let mounts = parse("tank/with\\040space /srv/a\\011b zfs rw,xattr 0 0\n");
        assert_eq!(mounts.value[0].source, "tank/with space");
        assert_eq!(mounts.value[0].mount_point, "/srv/a\tb");
        let info = parse(
            "36 35 98:0 /mnt1 /mnt\\1342 ro,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue",
        );
        let mount = &info.value[0];
        assert_eq!(mount.mount_point, "/mnt\\2");
        let detail = mount.detail.as_ref().unwrap();
        assert_eq!(
            (detail.id, detail.parent_id, detail.major, detail.minor),
            (36, 35, 98, 0)
        );
        assert_eq!(detail.optional, ["master:1", "shared:7"]);
        assert!(mount.is_read_only());
        assert_eq!(mount.super_options, ["rw", "errors=continue"]);
    }

    #[test]
    fn a_backslash_that_starts_no_escape_stays() {
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("a\\999b\\"), "a\\999b\\");
        assert_eq!(unescape("a\\777"), "a\\777");
    }

    #[test]
    fn a_mount_without_optional_fields_or_source_is_read() {
        let parsed = parse_mountinfo("21 23 0:19 / /proc rw - proc  rw\n");
        assert_eq!(parsed.value[0].source, "");
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn cut_lines_are_located_and_the_others_kept() {
        let parsed = parse(
            "20 23 0:5 / /dev rw shared:2 - devtmpfs dev rw\n23 1 254:0 / / rw shared:1 - ext4\n23 1 25\n",
        );
        assert_eq!(parsed.value.len(), 1);
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3)]);
        let parsed = parse("/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /home\n");
        assert_eq!(parsed.value.len(), 1);
        assert_eq!(parsed.problems[0].line, Some(2));
    }

    #[test]
    fn nothing_mounted_is_no_problem() {
        assert_eq!(parse(""), Parsed::default());
    }
}
