//! The controller's settings: TOML, overlaid by the command line and the environment, all mistakes told together.
//!
//! What is written is a `Raw…`, what is used has been checked: nothing below `main` sees an unchecked value. Each
//! section has a file. Unknown keys are mistakes, because a misspelt setting that does nothing is worse.

mod alerts;
mod audit;
mod auth;
mod database;
mod enrolment;
mod intake;
mod legacy;
mod log;
mod network;
mod notify;
mod proxies;
mod registries;
mod samples;
mod scheduler;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use thiserror::Error;

pub use self::alerts::Alerts;
pub use self::audit::Audit;
pub use self::auth::Auth;
pub use self::enrolment::Enrolment;
pub use self::intake::Intake;
pub use self::legacy::Legacy;
pub use self::log::Log;
pub use self::network::{Agents, Http, HttpTls};
pub use self::notify::Notify;
pub use self::proxies::Network;
pub use self::registries::Registries;
pub use self::samples::Samples;
use crate::task::Schedule;

/// Where the settings are unless told otherwise; absent means all defaults.
pub const DEFAULT_PATH: &str = "/etc/muster/controller.toml";
/// Where the data of a system service is unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/muster";
/// How long ending in order may take unless told otherwise.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(20);
/// The least it can be.
const DRAIN_MIN: Duration = Duration::from_secs(1);
/// The most it can be.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// The sealing key's file in the data folder, unless another one is named.
const SECRET_KEY_FILE: &str = "secret.key";

/// All settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: Utf8PathBuf,
    /// The file with the key that seals secrets.
    pub secret_key_file: Utf8PathBuf,
    /// How long ending in order may take.
    pub drain: Duration,
    /// The port for people and programs.
    pub http: Http,
    /// The port for agents.
    pub agents: Agents,
    /// Logging in.
    pub auth: Auth,
    /// Keeping who did what.
    pub audit: Audit,
    /// Enrolling agents.
    pub enrolment: Enrolment,
    /// The log of reports.
    pub intake: Intake,
    /// The sample store.
    pub samples: Samples,
    /// Keeping alerts.
    pub alerts: Alerts,
    /// Telling people of alerts.
    pub notify: Notify,
    /// How container registries are reached.
    pub registries: Registries,
    /// How often work is done that goes on by itself.
    pub scheduler: Schedule,
    /// What is set under names of another tool and means nothing here.
    pub without_effect: Vec<(&'static str, &'static str)>,
    /// How log lines look and which are written.
    pub log: Log,
}

/// What the command line and the environment say; it goes before the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Where everything is kept.
    pub data_dir: Option<Utf8PathBuf>,
    /// The port for people and programs.
    pub http: Option<SocketAddr>,
    /// The port for agents.
    pub agents: Option<SocketAddr>,
    /// The state database.
    pub database_url: Option<String>,
    /// The file with the key that seals secrets.
    pub secret_key_file: Option<Utf8PathBuf>,
    /// What the environment says under names of another tool; the file goes before it.
    pub legacy: Legacy,
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
    #[error("settings are not usable: {0}")]
    Invalid(Problems),
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

    /// Notes a number that is not within its bounds.
    fn bound<T: PartialOrd + fmt::Display + Copy>(&mut self, key: &str, value: T, min: T, max: T) -> T {
        if value < min || max < value {
            self.note(key, &format!("must be from {min} to {max}, not {value}"));
        }
        value
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
    secret_key_file: Option<Utf8PathBuf>,
    drain: Option<String>,
    http: network::RawHttp,
    agents: network::RawAgents,
    database: database::RawDatabase,
    auth: auth::RawAuth,
    audit: audit::RawAudit,
    enrolment: enrolment::RawEnrolment,
    intake: intake::RawIntake,
    samples: samples::RawSamples,
    alerts: alerts::RawAlerts,
    notify: notify::RawNotify,
    registries: registries::RawRegistries,
    scheduler: scheduler::RawScheduler,
    log: log::RawLog,
}

impl Config {
    /// Reads and checks the settings. A file that was not named and does not exist means all defaults; `home` is where
    /// the data is unless something else is said.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake if there are several.
    pub fn load(
        named: Option<&Utf8Path>,
        overrides: Overrides,
        home: &Utf8Path,
    ) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Utf8Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(ConfigError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        Self::parse(path, &text, overrides, home)
    }

    /// Checks settings given as text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        path: &Utf8Path,
        text: &str,
        overrides: Overrides,
        home: &Utf8Path,
    ) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mut problems = Problems::default();
        for (key, folder) in [
            ("data_dir", &raw.data_dir),
            ("secret_key_file", &raw.secret_key_file),
        ] {
            // In a file, relative would mean "to wherever the service was started".
            if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_absolute()) {
                problems.note(key, &format!("{folder} is not an absolute path"));
            }
        }
        let data_dir = overrides
            .data_dir
            .or(raw.data_dir)
            .unwrap_or_else(|| home.to_owned());
        let secret_key_file = overrides.secret_key_file.or(raw.secret_key_file);
        raw.database.validate(overrides.database_url, &mut problems);
        let drain = auth::duration("drain", raw.drain, DRAIN_DEFAULT, &mut problems);
        if drain < DRAIN_MIN || DRAIN_MAX < drain {
            problems.note("drain", &"must be from 1s to 10min");
        }
        let config = Self {
            drain,
            secret_key_file: secret_key_file.unwrap_or_else(|| data_dir.join(SECRET_KEY_FILE)),
            data_dir,
            http: raw.http.validate(overrides.http, &mut problems),
            agents: raw.agents.validate(overrides.agents, &mut problems),
            auth: raw.auth.validate(&mut problems),
            audit: raw.audit.validate(&mut problems),
            enrolment: raw.enrolment.validate(&mut problems),
            intake: raw.intake.validate(&mut problems),
            samples: raw.samples.validate(&mut problems),
            alerts: raw
                .alerts
                .validate(overrides.legacy.retention_days.as_deref(), &mut problems),
            notify: raw.notify.validate(&mut problems),
            registries: raw.registries.validate(&mut problems),
            scheduler: raw.scheduler.validate(&overrides.legacy, &mut problems),
            without_effect: overrides.legacy.without_effect,
            log: raw.log.validate(&mut problems),
        };
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// The default settings as a commented file.
    #[must_use]
    pub fn default_text() -> String {
        let sections = [
            network::default_text(),
            database::DEFAULT_TEXT.to_owned(),
            auth::default_text(),
            audit::default_text(),
            enrolment::default_text(),
            intake::default_text(),
            samples::default_text(),
            alerts::default_text(),
            notify::default_text(),
            registries::DEFAULT_TEXT.to_owned(),
            scheduler::default_text(),
            log::DEFAULT_TEXT.to_owned(),
        ];
        format!(
            "# Settings of muster-controller; this file shows the defaults.\n\n\
             # Where everything is kept. For others than root the default is $XDG_DATA_HOME/muster.\n\
             # data_dir = \"{DEFAULT_DATA_DIR}\"\n\
             # The key that seals secrets in the database; made at the first start. Keep a copy of it apart from\n\
             # backups: without it the certificate authority is lost.\n\
             # secret_key_file = \"{DEFAULT_DATA_DIR}/{SECRET_KEY_FILE}\"\n\
             # How long ending in order may take: taking no more, storing and sealing what was taken. A second signal\n\
             # ends at once; nothing that was acknowledged is lost either way.\n\
             # drain = \"{}\"\n\n{}",
            humantime::format_duration(DRAIN_DEFAULT),
            sections.join("\n")
        )
    }
}

#[cfg(test)]
mod tests;
