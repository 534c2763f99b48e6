//! The agent's settings: TOML, read once, all mistakes told together.
//!
//! What is written is a `Raw…`, what is used has been checked: nothing below `main` sees an unchecked value. Each
//! section has a file. Unknown keys are mistakes, because a misspelt setting that does nothing is worse.

use std::fmt;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use thiserror::Error;

use crate::command::policy::DEFAULT_PATH as DEFAULT_POLICY;

pub mod alarm;
pub mod collect;
pub mod log;
pub mod uplink;

/// Where the settings are unless told otherwise; absent means all defaults.
pub const DEFAULT_PATH: &str = "/etc/muster/agent.toml";
/// Where the agent keeps its identity unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/muster/agent";

/// All settings, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Where the agent keeps its identity; `None` if the settings do not say.
    pub data_dir: Option<Utf8PathBuf>,
    /// What is collected, and how often.
    pub collect: collect::Settings,
    /// How log lines look and which are written.
    pub log: log::Log,
    /// The way to the controller.
    pub uplink: uplink::Uplink,
    /// Who is told on this server when the controller is gone; `None`: nobody.
    pub alarm: Option<alarm::Alarm>,
    /// Who the part that talks to the network becomes; `None`: it stays who it is.
    pub user: Option<String>,
    /// What this server lets a controller do; `None`: the usual place.
    pub policy_file: Option<Utf8PathBuf>,
}

/// Settings as they were read, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    path: Utf8PathBuf,
    text: String,
}

impl Source {
    /// Reads the settings. A file that was not named and does not exist is an empty one.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if it cannot be read.
    pub fn read(named: Option<&Utf8Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Utf8Path::new(DEFAULT_PATH)).to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        Ok(Self { path, text })
    }

    /// Checks them.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake if there are several.
    pub fn check(&self) -> Result<Config, ConfigError> {
        Config::parse(&self.path, &self.text)
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Their text, TOML.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read settings from {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, or has keys that do not exist.
    #[error("parse settings in {path}")]
    Parse {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Values that cannot be used.
    #[error("settings in {path} are not usable: {problems}")]
    Invalid {
        /// The file.
        path: Utf8PathBuf,
        /// All of them.
        problems: Problems,
    },
}

/// Mistakes in settings, each under its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Takes a checked value over, or notes what is wrong with it.
    pub fn check<T, E: fmt::Display>(&mut self, key: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.note(key, &error)).ok()
    }

    /// Notes what is wrong with the value of a key.
    pub fn note(&mut self, key: &str, what: &dyn fmt::Display) {
        self.0.push(format!("{key}: {what}"));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    data_dir: Option<Utf8PathBuf>,
    user: Option<String>,
    policy_file: Option<Utf8PathBuf>,
    collect: collect::RawCollect,
    containers: collect::RawContainers,
    filesystem: collect::RawFilesystem,
    smart: collect::RawSmart,
    textfile: collect::RawTextfile,
    zfs: collect::RawZfs,
    log: log::RawLog,
    uplink: uplink::RawUplink,
    alarm: alarm::RawAlarm,
}

impl Config {
    /// Reads and checks the settings. A file that was not named and does not exist means all defaults.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake if there are several.
    pub fn load(named: Option<&Utf8Path>) -> Result<Self, ConfigError> {
        Source::read(named)?.check()
    }

    /// Checks settings given as text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Utf8Path, text: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mut problems = Problems::default();
        if let Some(dir) = raw.data_dir.as_ref().filter(|dir| !dir.is_absolute()) {
            problems.note("data_dir", &format!("{dir} is not an absolute path"));
        }
        if let Some(file) = raw.policy_file.as_ref().filter(|file| !file.is_absolute()) {
            problems.note("policy_file", &format!("{file} is not an absolute path"));
        }
        if raw.user.as_ref().is_some_and(String::is_empty) {
            problems.note("user", &"is empty");
        }
        let collect = collect::validate(
            raw.collect,
            raw.containers,
            raw.filesystem,
            raw.smart,
            raw.textfile,
            raw.zfs,
            &mut problems,
        );
        let log = raw.log.validate(&mut problems);
        let uplink = raw.uplink.validate(&mut problems);
        let alarm = raw.alarm.validate(&mut problems);
        if problems.is_empty() {
            return Ok(Self {
                data_dir: raw.data_dir,
                collect,
                log,
                uplink,
                alarm,
                user: raw.user,
                policy_file: raw.policy_file,
            });
        }
        Err(ConfigError::Invalid {
            path: path.to_owned(),
            problems,
        })
    }

    /// The default settings as a commented file.
    #[must_use]
    pub fn default_text() -> String {
        let sections = [
            collect::default_text(),
            log::DEFAULT_TEXT.to_owned(),
            uplink::default_text(),
            alarm::default_text(),
        ];
        format!(
            "# Settings of muster-agent; this file shows the defaults.\n\n\
             # Where identity and state are kept.\n# data_dir = \"{DEFAULT_DATA_DIR}\"\n\n\
             # Who the part that talks to the network becomes once the part with rights has started; unless set, it stays\n\
             # who it is. The folder above must belong to that user.\n# user = \"muster\"\n\n\
             # What this server lets its controller do (docs/commands.md). It and the folders above it must belong to root,\n\
             # and nobody else may write to them; else nothing is allowed.\n# policy_file = \"{DEFAULT_POLICY}\"\n\n{}",
            sections.join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Utf8Path::new("test.toml"), text)
    }

    #[test]
    fn the_default_text_gives_the_defaults() {
        assert_eq!(parse(&Config::default_text()).unwrap(), Config::default());
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn every_commented_setting_of_the_default_text_is_one() {
        let uncommented: String = Config::default_text()
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.contains(" = "))
                    .unwrap_or(line)
            })
            .fold(String::new(), |text, line| text + line + "\n");
        let config = parse(&uncommented).unwrap();
        assert_eq!(config.data_dir.unwrap(), DEFAULT_DATA_DIR);
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_keys() {
        let text = "data_dir = \"x\"\nuser = \"\"\npolicy_file = \"p\"\n[collect]\ndisabled = [\"cpus\"]\n[collect.intervals]\nsmart = \"soon\"\n\
                    load = \"1ms\"\n[smart]\nconcurrency = 0\n[log]\nformat = \"xml\"\n[uplink]\nbuffer_bytes = 1\n[alarm]\ncommand = [\"beep\"]\nafter = \"soon\"\n";
        let message = parse(text).unwrap_err().to_string();
        for key in [
            "data_dir",
            "user",
            "policy_file",
            "collect.disabled",
            "collect.intervals.smart",
            "collect.intervals.load",
            "smart.concurrency",
            "log.format",
            "uplink.buffer_bytes",
            "alarm.command",
            "alarm.after",
        ] {
            assert!(message.contains(&format!("{key}: ")), "{key} in {message}");
        }
    }

    #[test]
    fn the_deployed_example_is_usable() {
        let text = include_str!("../../../deploy/agent.toml");
        parse(text).unwrap();
    }

    #[test]
    fn a_misspelt_key_is_a_mistake() {
        assert!(matches!(parse("[colect]\n"), Err(ConfigError::Parse { .. })));
        assert!(matches!(
            parse("[smart]\nconcurency = 4\n"),
            Err(ConfigError::Parse { .. })
        ));
    }

    #[test]
    fn a_named_file_must_exist_and_the_default_one_need_not() {
        assert!(matches!(
            Config::load(Some(Utf8Path::new("/nonexistent"))),
            Err(ConfigError::Read { .. })
        ));
    }

    #[test]
    fn intervals_are_taken_over() {
        let config = parse("[collect.intervals]\nsmart = \"1h\"\n").unwrap();
        assert_eq!(config.collect.intervals["smart"], Duration::from_secs(3600));
    }
}
