//! SCSI vital product data as sysfs gives it: `vpd_pg80` (serial) and `vpd_pg83` (designators), raw bytes.
//!
//! SPC-4 7.8.15 and 7.8.6. A page is a four-byte head (peripheral, page code, length of the rest) and its
//! content. Designators are what names a disk: NAA and EUI-64 are worldwide unique, T10 vendor ids only as good
//! as the vendor.

use crate::problem::{Parsed, Problems};

/// What a designator names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Association {
    /// The disk itself.
    LogicalUnit,
    /// The port the answer came through: differs between two paths to one disk.
    TargetPort,
    /// The enclosure or drive that holds the logical unit.
    TargetDevice,
    /// Reserved value.
    Other(u8),
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum Name {
    /// Network address authority name, lowercase hex without `0x`: 16 digits, or 32 for NAA 6.
    Naa(String),
    /// EUI-64 based name, lowercase hex: 16, 24 or 32 digits.
    Eui64(String),
    /// Vendor and what the vendor added, usually model and serial.
    T10Vendor(String),
    /// SCSI name string such as `naa.5000…` or an iSCSI name.
    ScsiName(String),
    /// Kinds nothing here uses (vendor specific, relative port, groups, MD5, UUID), by their code.
    Other(u8),
}

/// One designator.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Designator {
    /// What it names.
    pub association: Association,
    /// The name.
    pub name: Name,
}

/// Reads page 0x80; absent when the serial is empty.
pub fn unit_serial(bytes: &[u8]) -> Parsed<Option<String>> {
    let mut problems = Problems::default();
    let content = content(bytes, 0x80, &mut problems);
    problems.with(content.and_then(text))
}

/// Reads page 0x83.
pub fn designators(bytes: &[u8]) -> Parsed<Vec<Designator>> {
    let mut problems = Problems::default();
    let mut found = Vec::new();
    let mut rest = content(bytes, 0x83, &mut problems).unwrap_or_default();
    while let [code_set, kind, _, length, tail @ ..] = rest {
        let Some((value, next)) = tail.split_at_checked(usize::from(*length)) else {
            problems.overall(format!("designator of {length} bytes runs past the page"));
            return problems.with(found);
        };
        let association = match (kind >> 4) & 0b11 {
            0 => Association::LogicalUnit,
            1 => Association::TargetPort,
            2 => Association::TargetDevice,
            other => Association::Other(other),
        };
        match name(kind & 0x0f, code_set & 0x0f, value) {
            Some(name) => found.push(Designator { association, name }),
            None => problems.overall(format!("designator of type {} has an odd form", kind & 0x0f)),
        }
        rest = next;
    }
    if !rest.is_empty() {
        problems.overall(format!("{} bytes left after the last designator", rest.len()));
    }
    problems.with(found)
}

/// The disk's best worldwide unique name: NAA (type 6 before others), else EUI-64. Ports and enclosures do not count,
/// nor do names made of zeros only.
pub fn worldwide_name(designators: &[Designator]) -> Option<&str> {
    let of_disk = || {
        designators
            .iter()
            .filter(|designator| designator.association == Association::LogicalUnit)
    };
    let is_real = |digits: &&str| digits.bytes().any(|digit| digit != b'0');
    let naa = || {
        of_disk().filter_map(|d| {
            if let Name::Naa(digits) = &d.name {
                Some(digits.as_str())
            } else {
                None
            }
        })
    };
    let eui = || {
        of_disk().filter_map(|d| {
            if let Name::Eui64(digits) = &d.name {
                Some(digits.as_str())
            } else {
                None
            }
        })
    };
    naa()
        .filter(is_real)
        .max_by_key(|digits| digits.len())
        .or_else(|| eui().filter(is_real).max_by_key(|digits| digits.len()))
}

fn name(kind: u8, code_set: u8, value: &[u8]) -> Option<Name> {
    const BINARY: u8 = 1;
    match kind {
        1 => Some(Name::T10Vendor(text(value)?)),
        2 if code_set == BINARY && matches!(value.len(), 8 | 12 | 16) => Some(Name::Eui64(hex(value))),
        3 if code_set == BINARY && matches!(value.len(), 8 | 16) => Some(Name::Naa(hex(value))),
        2 | 3 => None,
        8 => Some(Name::ScsiName(text(value)?)),
        other => Some(Name::Other(other)),
    }
}

/// What follows the head, no longer than the head says.
fn content<'a>(bytes: &'a [u8], page: u8, problems: &mut Problems) -> Option<&'a [u8]> {
    let [_, code, high, low, rest @ ..] = bytes else {
        problems.overall(format!("page of {} bytes is shorter than its head", bytes.len()));
        return None;
    };
    if *code != page {
        problems.overall(format!("expected page {page:#04x}, found {code:#04x}"));
        return None;
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if rest.len() < length {
        problems.overall(format!("page says {length} bytes and has {}", rest.len()));
    }
    Some(&rest[..length.min(rest.len())])
}

/// Printable text without padding; absent when nothing is left.
fn text(value: &[u8]) -> Option<String> {
    let printable: String = String::from_utf8_lossy(value)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let trimmed = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    (!trimmed.is_empty()).then_some(trimmed)
}

fn hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SAS disk's page: NAA of the disk, NAA of the port, relative port, SCSI name of the target.
    fn sas_page() -> Vec<u8> {
        let mut content = vec![0x01, 0x03, 0, 8, 0x50, 0, 0xc5, 0, 0x12, 0x34, 0x56, 0x78];
        content.extend([0x61, 0x93, 0, 8, 0x50, 0, 0xc5, 0, 0x12, 0x34, 0x56, 0x79]);
        content.extend([0x61, 0x94, 0, 4, 0, 0, 0, 1]);
        content.extend([0x63, 0xa8, 0, 8]);
        content.extend(b"naa.50\0\0");
        let mut page = vec![0, 0x83, 0, u8::try_from(content.len()).unwrap()];
        page.extend(content);
        page
    }

    #[test]
    fn the_disk_is_named_by_its_own_naa_and_not_by_its_port() {
        let parsed = designators(&sas_page());
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        assert_eq!(parsed.value.len(), 4);
        assert_eq!(worldwide_name(&parsed.value), Some("5000c50012345678"));
        assert_eq!(parsed.value[1].association, Association::TargetPort);
        assert_eq!(parsed.value[3].name, Name::ScsiName("naa.50".to_owned()));
    }

    #[test]
    fn a_name_of_zeros_does_not_count_and_eui64_stands_in() {
        let page = [
            0, 0x83, 0, 24, 1, 3, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        assert_eq!(
            worldwide_name(&designators(&page).value),
            Some("0102030405060708")
        );
    }

    #[test]
    fn the_serial_loses_its_padding() {
        let parsed = unit_serial(b"\0\x80\0\x0c    WD-1234 \0");
        assert_eq!(parsed.value.as_deref(), Some("WD-1234"));
        assert!(parsed.problems.is_empty());
        assert_eq!(unit_serial(b"\0\x80\0\x04    ").value, None);
    }

    #[test]
    fn cut_pages_keep_what_is_whole_and_say_so() {
        let page = sas_page();
        for length in 0..page.len() {
            let parsed = designators(&page[..length]);
            assert!(!parsed.problems.is_empty(), "{length}");
        }
        assert_eq!(designators(&page[..20]).value.len(), 1);
        assert_eq!(unit_serial(b"\0\x83\0\x01A").problems.len(), 1);
    }
}
