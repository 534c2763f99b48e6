//! Whether the drive was asleep, so that nothing was read on purpose.

use serde::Serialize;

use crate::report::Report;

/// Power mode as far as the output tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerMode {
    /// Data was read, so the drive was awake.
    Active,
    /// Skipped because of `--nocheck`: in standby, disks stopped.
    Standby,
    /// Skipped because of `--nocheck`: asleep, needs a reset to wake.
    Sleep,
    /// Skipped because of `--nocheck=idle`: idle, but spinning.
    Idle,
    /// Cannot be told.
    Unknown,
}

impl Report {
    /// The power mode. smartctl says `Device is in STANDBY mode, exit(2)`, also with `STANDBY (OS)`, `STANDBY_Y`,
    /// `SLEEP`, `IDLE`, `IDLE_A` or, for SCSI, `LOW POWER`; the status can be changed by the caller of
    /// smartctl (`--nocheck=standby,0`), so only the words count.
    pub fn power_mode(&self) -> PowerMode {
        for message in &self.smartctl.messages {
            let text = message.text.to_ascii_uppercase();
            let Some((_, rest)) = text.split_once("DEVICE IS IN ") else {
                continue;
            };
            if let Some((mode, _)) = rest.split_once(" MODE") {
                return match mode {
                    mode if mode.starts_with("STANDBY") || mode.starts_with("LOW") => PowerMode::Standby,
                    mode if mode.starts_with("SLEEP") => PowerMode::Sleep,
                    mode if mode.starts_with("IDLE") => PowerMode::Idle,
                    _ => PowerMode::Unknown,
                };
            }
        }
        let is_awake =
            self.smart_status.is_some() || self.temperature.current.is_some() || self.has_health_data();
        if is_awake {
            PowerMode::Active
        } else {
            PowerMode::Unknown
        }
    }

    /// Whether the drive was left alone because it sleeps: keep the values read before.
    pub fn is_standby(&self) -> bool {
        matches!(
            self.power_mode(),
            PowerMode::Standby | PowerMode::Sleep | PowerMode::Idle
        )
    }
}
