//! `[alarm]`: who is told on this server when the controller is gone.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::Problems;
use super::collect::parse_duration;

/// Most arguments.
const ARGS_MAX: usize = 32;
/// Longest argument, bytes.
const ARG_BYTES_MAX: usize = 1_024;

/// What is run when the controller is gone, and when it is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The program, an absolute path.
    pub program: Utf8PathBuf,
    /// Its arguments; one word more says what has happened.
    pub args: Vec<String>,
    /// How long the controller must be out of reach.
    pub after: Duration,
}

impl Alarm {
    /// How long the controller must be out of reach unless told otherwise.
    pub const AFTER_DEFAULT: Duration = Duration::from_secs(5 * 60);
    /// The shortest time.
    pub const AFTER_MIN: Duration = Duration::from_secs(1);
    /// The longest time.
    pub const AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAlarm {
    command: Option<Vec<String>>,
    after: Option<String>,
}

pub(super) fn default_text() -> String {
    format!(
        "[alarm]\n\
         # A program that is run when the controller has been out of reach for a while, with controller_lost as its last\n\
         # argument, and with controller_back when it is back; at most every ten minutes. It gets no shell, no environment\n\
         # and a minute. It, the folders above it and this file must belong to root, and nobody else may write to them.\n\
         # command = [\"/usr/local/sbin/tell-somebody\"]\n\
         # after = \"{}\"\n",
        humantime::format_duration(Alarm::AFTER_DEFAULT)
    )
}

impl RawAlarm {
    pub(super) fn validate(self, problems: &mut Problems) -> Option<Alarm> {
        let after = self
            .after
            .map(|text| problems.check("alarm.after", parse_duration(&text)));
        let after = after.flatten().unwrap_or(Alarm::AFTER_DEFAULT);
        if !(Alarm::AFTER_MIN..=Alarm::AFTER_MAX).contains(&after) {
            problems.note("alarm.after", &"must be from 1s to 7days");
        }
        let command = self.command?;
        let Some((program, args)) = command.split_first() else {
            problems.note("alarm.command", &"is empty");
            return None;
        };
        let program = Utf8Path::new(program);
        if !program.is_absolute() {
            problems.note("alarm.command", &format!("{program} is not an absolute path"));
        }
        let is_odd = |arg: &String| ARG_BYTES_MAX < arg.len() || arg.contains('\0');
        if ARGS_MAX < args.len() || command.iter().any(is_odd) {
            let why = format!("may have {ARGS_MAX} arguments of {ARG_BYTES_MAX} bytes");
            problems.note("alarm.command", &why);
        }
        Some(Alarm {
            program: program.to_owned(),
            args: args.to_vec(),
            after,
        })
    }
}
