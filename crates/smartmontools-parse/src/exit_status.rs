//! The exit status of smartctl, a bit mask: smartctl(8), section EXIT STATUS.
//!
//! What a verdict makes of each bit: 0 and 1 nothing was read, unknown. 2 by itself nothing; unknown if the drive's
//! values are missing too. 3 failed. 4 and 5 as the attribute table says; where it shows no such attribute, 4 is a
//! warning (failed without any table) and 5 is a warning. 6 a note. 7 as the self-test log says, else a warning.

use serde::{Deserialize, Serialize};

/// What smartctl's exit status says. Not zero is not "failed": a healthy drive asked for a log it lacks gives 4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitStatus(pub u8);

impl ExitStatus {
    /// Bit 1 alone: what smartctl ends with for a disk that it left asleep, and for one that it could not open.
    pub const OPEN_FAILED: Self = Self(1 << 1);

    /// Bit 0: the command line did not parse; nothing was read.
    pub fn command_line_wrong(self) -> bool {
        self.has(0)
    }

    /// Bit 1: the device could not be opened or identified, or is in a low-power mode; nothing was read.
    pub fn open_failed(self) -> bool {
        self.has(1)
    }

    /// Bit 2: some command to the disk failed, or a structure had a wrong checksum; common and harmless.
    pub fn some_command_failed(self) -> bool {
        self.has(2)
    }

    /// Bit 3: the drive says "DISK FAILING".
    pub fn disk_failing(self) -> bool {
        self.has(3)
    }

    /// Bit 4: prefail attributes are at or below their threshold.
    pub fn prefail_now(self) -> bool {
        self.has(4)
    }

    /// Bit 5: attributes (of either kind) were at or below their threshold some time in the past.
    pub fn failed_in_past(self) -> bool {
        self.has(5)
    }

    /// Bit 6: the device error log has records.
    pub fn error_log_not_empty(self) -> bool {
        self.has(6)
    }

    /// Bit 7: the self-test log has errors that no newer extended test outdates (ATA only).
    pub fn self_test_errors(self) -> bool {
        self.has(7)
    }

    /// Whether the status says that no data was read (bit 0 or 1).
    pub fn nothing_read(self) -> bool {
        self.command_line_wrong() || self.open_failed()
    }

    /// Each bit that is set, in words, lowest first.
    pub fn findings(self) -> Vec<&'static str> {
        const WORDS: [&str; 8] = [
            "the command line did not parse",
            "the drive could not be opened or identified, or it sleeps",
            "a command to the drive failed, or a structure has a wrong checksum",
            "the drive says that it is failing",
            "prefail attributes are at or below their threshold",
            "attributes were at or below their threshold in the past",
            "the error log has entries",
            "the self-test log has errors",
        ];
        (0..8_u8)
            .zip(WORDS)
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, words)| words)
            .collect()
    }

    fn has(self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;

    #[test]
    fn each_bit_has_its_words() {
        assert!(ExitStatus(0).findings().is_empty());
        assert_eq!(ExitStatus(0xff).findings().len(), 8);
        assert_eq!(
            ExitStatus(0x48).findings(),
            ["the drive says that it is failing", "the error log has entries"]
        );
    }
}
