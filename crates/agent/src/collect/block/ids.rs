//! Ids that drives carry: worldwide names and serial numbers, in one form each, placeholders sorted out.
//!
//! Makers ship drives and USB bridges whose ids are zeros, ones, counting digits or a single digit in zeros; two such
//! disks in one server would become one. What looks like that counts as absent.

/// Worldwide names of a drive or namespace, lower-case hex without prefix. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worldwide {
    /// NVMe namespace globally unique identifier, 32 digits.
    pub nguid: Option<String>,
    /// IEEE extended unique identifier of an NVMe namespace, 16 digits.
    pub eui64: Option<String>,
    /// UUID of an NVMe namespace, 32 digits.
    pub uuid: Option<String>,
    /// SCSI or ATA worldwide name, 16 or 32 digits.
    pub wwn: Option<String>,
}

impl Worldwide {
    /// From what an NVMe namespace's folder in sysfs has; `wwid` is a combined form that older kernels have alone.
    pub(crate) fn of_nvme(
        nguid: Option<&str>,
        eui64: Option<&str>,
        uuid: Option<&str>,
        wwid: Option<&str>,
    ) -> Self {
        let from_wwid = |prefix: &str, digits: usize| {
            hex(wwid.and_then(|text| text.strip_prefix(prefix))?).filter(|name| name.len() == digits)
        };
        Self {
            nguid: nguid
                .and_then(hex)
                .filter(|name| name.len() == 32)
                .or_else(|| from_wwid("eui.", 32)),
            eui64: eui64
                .and_then(hex)
                .filter(|name| name.len() == 16)
                .or_else(|| from_wwid("eui.", 16)),
            uuid: uuid
                .and_then(hex)
                .filter(|name| name.len() == 32)
                .or_else(|| from_wwid("uuid.", 32)),
            wwn: None,
        }
    }

    /// From texts that may hold a SCSI worldwide name (`naa.5000…`, `eui.…`, `0x5000…`), the best first.
    pub(crate) fn of_scsi<'a>(mut texts: impl Iterator<Item = &'a str>) -> Self {
        let wwn = texts.find_map(|text| {
            let digits = text
                .strip_prefix("naa.")
                .or_else(|| text.strip_prefix("eui."))
                .or_else(|| text.strip_prefix("0x"))
                .unwrap_or(text);
            hex(digits).filter(|name| matches!(name.len(), 16 | 24 | 32))
        });
        Self {
            wwn,
            ..Self::default()
        }
    }

    /// From what smartctl shows of a drive.
    #[must_use]
    pub fn of_report(eui64: Option<&str>, wwn: Option<&str>) -> Self {
        Self {
            eui64: eui64.and_then(hex).filter(|name| name.len() == 16),
            ..Self::of_scsi(wwn.into_iter())
        }
    }

    /// The name to know the drive by: its kind and digits, best first.
    #[must_use]
    pub fn best(&self) -> Option<(&'static str, &str)> {
        match self {
            Self {
                nguid: Some(digits), ..
            } => Some(("nguid", digits)),
            Self {
                eui64: Some(digits), ..
            } => Some(("eui64", digits)),
            Self {
                uuid: Some(digits), ..
            } => Some(("uuid", digits)),
            Self {
                wwn: Some(digits), ..
            } => Some(("wwn", digits)),
            _ => None,
        }
    }
}

/// Hex digits in lower case, without the separators of UUIDs and sysfs; `None` for anything else and placeholders.
pub(super) fn hex(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ' | ':')).collect();
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = digits.to_ascii_lowercase();
    (is_hex && !is_placeholder_hex(&digits)).then_some(digits)
}

/// A name with at most one digit that is not 0 (`5000000000000000`, `0000000001000000`), one digit repeated, or
/// counting digits was never given out by anyone.
fn is_placeholder_hex(digits: &str) -> bool {
    let telling = digits.bytes().filter(|digit| *digit != b'0').count();
    telling <= 1 || is_repeated(digits) || is_counting(digits)
}

/// Whether a serial number is none.
#[must_use]
pub fn is_placeholder_serial(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "none",
        "n/a",
        "na",
        "null",
        "unknown",
        "default",
        "serial",
        "serialnumber",
        "invalid",
        "tobefilledbyo.e.m.",
    ];
    let word: String = text
        .to_ascii_lowercase()
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    // One or two characters tell nobody apart.
    word.len() < 3 || WORDS.contains(&word.as_str()) || is_repeated(&word) || is_counting(&word)
}

fn is_repeated(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next();
    bytes.all(|byte| Some(byte) == first || matches!(byte, b'-' | b'.' | b' '))
}

/// `0123456789abcdef`, `1234567890`, `12345678`, also several times over.
fn is_counting(text: &str) -> bool {
    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef1234567890abcdef";
    const DECIMAL: &str = "0123456789012345678901234567890123456789012345678901234567890";
    const SHORTEST: usize = 6;
    let text = text.to_ascii_lowercase();
    SHORTEST <= text.len() && (HEX.contains(&text) || DECIMAL.contains(&text))
}

/// Trimmed, with runs of spaces made one.
#[must_use]
pub fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text as udev encodes it: `\x20` for a space.
pub(super) fn decode_udev(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at..at + 4).filter(|escape| escape.starts_with(b"\\x"));
        let value = escape
            .and_then(|escape| std::str::from_utf8(&escape[2..]).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 4 } else { 1 };
    }
    tidy(&String::from_utf8_lossy(&decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_names_are_kept_in_one_form() {
        let nvme = Worldwide::of_nvme(
            Some("00000000-0000-0000-0000-000000000000"),
            Some("00 25 38 b1 71 c0 1a 2f"),
            None,
            None,
        );
        assert_eq!(nvme.best(), Some(("eui64", "002538b171c01a2f")));
        let scsi = Worldwide::of_scsi(["t10.ATA WDC", "naa.5000C500A1B2C3D4"].into_iter());
        assert_eq!(scsi.best(), Some(("wwn", "5000c500a1b2c3d4")));
        let udev = Worldwide::of_scsi(["0x5000c500a1b2c3d4"].into_iter());
        assert_eq!(udev, scsi);
    }

    #[test]
    fn an_old_kernels_combined_name_is_taken_apart() {
        let long = Worldwide::of_nvme(None, None, None, Some("eui.36344730528000640025384100000001"));
        assert_eq!(long.best(), Some(("nguid", "36344730528000640025384100000001")));
        let short = Worldwide::of_nvme(None, None, None, Some("eui.002538b171c01a2f"));
        assert_eq!(short.best(), Some(("eui64", "002538b171c01a2f")));
        let serial = Worldwide::of_nvme(None, None, None, Some("nvme.1b36-64656164-51454d55-00000001"));
        assert_eq!(serial.best(), None);
    }

    #[test]
    fn placeholder_names_count_as_absent() {
        for text in [
            "0000000000000000",
            "ffffffffffffffff",
            "5000000000000000",
            "0000000001000000",
            "0123456789abcdef",
            "1234567890123456",
            "1234567890abcdef",
            "",
            "not hex",
        ] {
            assert_eq!(hex(text), None, "{text}");
        }
    }

    #[test]
    fn placeholder_serials_are_told_from_real_ones() {
        for text in [
            "",
            "0",
            "000000000000",
            "0123456789ABCDEF",
            "123456789012",
            "None",
            "To be filled by O.E.M.",
            "FFFFFFFF",
        ] {
            assert!(is_placeholder_serial(text), "{text}");
        }
        for text in [
            "WD-WCC4M0123456",
            "S3Z8NB0K123456A",
            "QM00001",
            "12345X",
            "deadbeef",
        ] {
            assert!(!is_placeholder_serial(text), "{text}");
        }
    }

    #[test]
    fn udevs_escapes_are_decoded() {
        assert_eq!(
            decode_udev("WDC\\x20WD20EFRX-68EUZN0\\x20\\x20"),
            "WDC WD20EFRX-68EUZN0"
        );
        assert_eq!(decode_udev("a\\xZZb\\x2"), "a\\xZZb\\x2");
    }
}
