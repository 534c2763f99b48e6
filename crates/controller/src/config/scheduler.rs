//! `[scheduler]`: how often work is done that goes on by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Legacy, Problems};
use crate::task::Schedule;

/// Name of the task that looks at what containers could be updated to.
const DISCOVERY: &str = "container_discovery";
/// Name of the task that asks registries.
const CHECK: &str = "check_images";
/// Shortest time from one run to the next.
const EVERY_MIN: Duration = Duration::from_secs(60);
/// Longest.
const EVERY_MAX: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawScheduler {
    enabled: Option<bool>,
    every: BTreeMap<String, String>,
}

pub(super) fn default_text() -> String {
    let every = Schedule::SETTABLE.map(|(name, every)| {
        let every = humantime::format_duration(every);
        format!("# every.{name} = \"{every}\"\n")
    });
    format!(
        "[scheduler]\n\
         # Whether the work below is done by itself; if not, only when somebody has it done. What the controller needs to\n\
         # go on, such as storing and sealing, is done always.\n\
         # enabled = true\n\
         # How often; from 1m to 7days.\n{}",
        every.concat()
    )
}

impl RawScheduler {
    /// `legacy` is what the environment says.
    pub(super) fn validate(self, legacy: &Legacy, problems: &mut Problems) -> Schedule {
        let enabled = self.enabled.or_else(|| {
            let word = legacy.enable_schedulers.as_deref()?;
            flag(word, problems)
        });
        let mut every = BTreeMap::new();
        for (task, name, text) in [
            (
                CHECK,
                "CONTAINER_UPDATE_CHECK_INTERVAL",
                &legacy.container_update_check_interval,
            ),
            (
                DISCOVERY,
                "CONTAINER_DISCOVERY_INTERVAL",
                &legacy.container_discovery_interval,
            ),
        ] {
            if let Some(given) = text.as_deref().and_then(|text| seconds(name, text, problems)) {
                every.insert(task, given);
            }
        }
        for (name, text) in self.every {
            let key = format!("scheduler.every.{name}");
            let Some((name, _)) = Schedule::SETTABLE.iter().find(|(known, _)| **known == name) else {
                let known = Schedule::SETTABLE.map(|(name, _)| name).join(", ");
                problems.note(&key, &format!("is none of {known}"));
                continue;
            };
            match humantime::parse_duration(&text) {
                Ok(given) if (EVERY_MIN..=EVERY_MAX).contains(&given) => {
                    every.insert(*name, given);
                }
                _ => problems.note(&key, &format!("{text:?} is no duration from 1m to 7days")),
            }
        }
        Schedule {
            is_manual: enabled == Some(false),
            every,
        }
    }
}

fn seconds(name: &str, text: &str, problems: &mut Problems) -> Option<Duration> {
    let read = text.trim().parse().ok().map(Duration::from_secs);
    let read = read.filter(|given| (EVERY_MIN..=EVERY_MAX).contains(given));
    if read.is_none() {
        let message = format!("{text:?} is no number of seconds from 60 to 604800");
        problems.note(name, &message);
    }
    read
}

fn flag(word: &str, problems: &mut Problems) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => {
            problems.note(
                "ENABLE_SCHEDULERS",
                &format!("{word:?} is neither true nor false"),
            );
            None
        }
    }
}
