//! The self-test that runs, and how the last one ended, whatever the protocol.

use serde::Serialize;

use crate::report::{Report, SelfTestLog};

/// A self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelfTestState {
    /// `Short offline`, `Extended`…, as the drive calls it.
    pub kind: Option<String>,
    /// In the drive's words.
    pub text: Option<String>,
    /// What it found; absent while it runs and when it was broken off.
    pub passed: Option<bool>,
    /// Whether it runs now.
    pub is_running: bool,
    /// Percent still to do while it runs, where the drive tells.
    pub remaining_percent: Option<u64>,
    /// Hours the drive had been on when it ended; on ATA 16 bits, so it wraps after 65,535.
    pub power_on_hours: Option<u64>,
}

impl Report {
    /// The self-test that runs now, else the last one of the log, whether it came to an end or not.
    pub fn self_test(&self) -> Option<SelfTestState> {
        self.ata_running()
            .or_else(|| self.nvme_running())
            .or_else(|| self.ata_last())
            .or_else(|| self.nvme_last())
            .or_else(|| self.scsi_last())
    }

    /// Self-tests that failed and that no newer extended one outdates; only ATA drives count them.
    pub(crate) fn self_test_errors(&self) -> Option<u64> {
        let log = self.ata_log()?;
        let outdated = log.error_count_outdated.unwrap_or(0);
        Some(log.error_count?.saturating_sub(outdated))
    }

    /// The extended log holds what the standard one does, and more.
    pub(crate) fn ata_log(&self) -> Option<&SelfTestLog> {
        let logs = self.ata.self_test_logs.iter();
        logs.max_by_key(|log| (log.tests.len(), log.kind == "extended"))
    }

    fn ata_running(&self) -> Option<SelfTestState> {
        /// High four bits of the status byte while a test runs (ATA8-ACS, self-test execution status).
        const RUNNING: u8 = 15;
        let status = self.ata.self_test_status.as_ref()?;
        // Some bridges leave the byte out and print the share alone.
        let is_running = status.value.map(|value| value >> 4) == Some(RUNNING)
            || (status.value.is_none() && status.remaining_percent.is_some());
        is_running.then(|| SelfTestState {
            kind: None,
            text: status.text.clone(),
            passed: None,
            is_running: true,
            // The low four bits are tenths still to do.
            remaining_percent: status
                .remaining_percent
                .or(status.value.map(|value| u64::from(value & 0x0f) * 10))
                .filter(|percent| *percent <= 100),
            power_on_hours: None,
        })
    }

    fn ata_last(&self) -> Option<SelfTestState> {
        let test = self.ata_log()?.tests.first()?;
        Some(SelfTestState {
            kind: test.kind.clone(),
            text: test.status.text.clone(),
            passed: test.status.outcome(),
            is_running: false,
            remaining_percent: None,
            power_on_hours: test.lifetime_hours,
        })
    }

    fn nvme_running(&self) -> Option<SelfTestState> {
        let code = self.nvme.self_test_running.filter(|code| *code != 0)?;
        let kind = match code {
            1 => Some("Short".to_owned()),
            2 => Some("Extended".to_owned()),
            _ => None,
        };
        Some(SelfTestState {
            kind,
            text: None,
            passed: None,
            is_running: true,
            remaining_percent: self
                .nvme
                .self_test_completion_percent
                .filter(|done| *done <= 100)
                .map(|done| 100 - done),
            power_on_hours: None,
        })
    }

    fn nvme_last(&self) -> Option<SelfTestState> {
        let test = self.nvme.self_tests.first()?;
        Some(SelfTestState {
            kind: test.kind.clone(),
            text: test.result_text.clone(),
            passed: test.outcome(),
            is_running: false,
            remaining_percent: None,
            power_on_hours: test.power_on_hours,
        })
    }

    fn scsi_last(&self) -> Option<SelfTestState> {
        /// SPC-4: the self-test is in progress.
        const RUNNING: u64 = 15;
        let test = self.scsi.self_tests.first()?;
        Some(SelfTestState {
            kind: test.kind.clone(),
            text: test.result_text.clone(),
            passed: test.outcome(),
            is_running: test.result == Some(RUNNING),
            remaining_percent: None,
            power_on_hours: test.power_on_hours,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn a_running_test_says_how_much_is_left() {
        let text = r#"{"smartctl":{},"ata_smart_data":{"self_test":{"status":{"value":249,
            "string":"in progress, 90% remaining","remaining_percent":90}}}}"#;
        let test = parse(text).report.self_test().unwrap();
        assert!(test.is_running && test.passed.is_none());
        assert_eq!(test.remaining_percent, Some(90));
        let without = text.replace(r#","remaining_percent":90"#, "");
        assert_eq!(
            parse(&without).report.self_test().unwrap().remaining_percent,
            Some(90)
        );
    }

    #[test]
    fn nvme_tells_what_is_done_and_not_what_is_left() {
        let text = r#"{"smartctl":{},"nvme_self_test_log":{"current_self_test_operation":{"value":2},
            "current_self_test_completion_percent":30}}"#;
        let test = parse(text).report.self_test().unwrap();
        assert_eq!(
            (test.kind.as_deref(), test.remaining_percent),
            (Some("Extended"), Some(70))
        );
    }

    #[test]
    fn the_last_test_is_told_when_none_runs() {
        let text = r#"{"smartctl":{},"ata_smart_data":{"self_test":{"status":{"value":0,"passed":true}}},
            "ata_smart_self_test_log":{"standard":{"count":1,"table":[{"type":{"string":"Short offline"},
            "status":{"value":0,"string":"Completed without error","passed":true},"lifetime_hours":17}]}}}"#;
        let test = parse(text).report.self_test().unwrap();
        assert_eq!(
            (test.passed, test.power_on_hours, test.is_running),
            (Some(true), Some(17), false)
        );
        assert_eq!(parse("{}").report.self_test(), None);
    }
}
