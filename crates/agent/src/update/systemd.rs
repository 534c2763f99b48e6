//! Units of systemd: what they are by name, what state they are in, and restarting one.
//!
//! The program is `systemctl`, with arguments of our own and the unit's name behind `--`. It speaks to systemd over a Unix
//! socket, so the executor's lack of a network does not keep it from that.

use std::time::Duration;

use async_trait::async_trait;
use muster_base::ErrorChain;
use thiserror::Error;

use crate::host::{Host, ProgramCall};

/// The longest name of a unit (systemd.unit(5)).
const NAME_MAX: usize = 255;
/// Looking at a unit.
const SHOW_MAX: Duration = Duration::from_secs(30);
/// Stopping and starting a unit, each of which may take it a minute and a half by default.
const RESTART_MAX: Duration = Duration::from_secs(600);
/// The end of what a program says is told.
const SAID_MAX: usize = 500;

/// What is asked of systemd about a unit.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,MainPID,CanStart,CanStop";

/// A unit as systemd shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Its own name: another one than was asked for is an alias of it.
    pub id: String,
    /// `loaded` if there is such a unit.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating` and so on.
    pub active: String,
    /// Its main process; 0: it has none.
    pub main_pid: u64,
    /// Whether somebody may stop and start it by hand.
    pub is_restartable: bool,
}

/// Why systemd did not do something.
#[derive(Debug, Error)]
pub enum UnitError {
    /// It could not be asked, or did not answer: what was asked may be done.
    #[error("{0}")]
    Unanswered(String),
    /// It failed, or refused.
    #[error("systemd says: {0}")]
    Failed(String),
}

/// The units of this server.
#[async_trait]
pub trait Units: Send + Sync {
    /// What there is of a unit; one that does not exist is shown as not loaded.
    ///
    /// # Errors
    /// [`UnitError`].
    async fn show(&self, unit: &str) -> Result<UnitState, UnitError>;
    /// Stops and starts it; returns once it is up or has failed.
    ///
    /// # Errors
    /// [`UnitError`].
    async fn restart(&self, unit: &str) -> Result<(), UnitError>;
}

/// Units of the machine's own systemd.
#[derive(Debug, Clone)]
pub struct HostUnits(pub Host);

/// Whether it is the name of a service as systemd.unit(5) has it: a name comes from a container's label, and is anybody's.
pub(super) fn is_service_name(name: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.len() <= NAME_MAX
        && name.chars().all(is_good)
        && name
            .strip_suffix(".service")
            .is_some_and(|prefix| !prefix.is_empty() && !prefix.starts_with(['-', '.', '@']))
}

impl HostUnits {
    async fn systemctl(
        &self,
        args: Vec<&str>,
        record: &str,
        deadline: Duration,
    ) -> Result<String, UnitError> {
        let call = ProgramCall {
            program: "systemctl",
            args,
            record,
            deadline,
        };
        let output = self.0.run(&call).await;
        let output = output.map_err(|error| UnitError::Unanswered(ErrorChain(&error).to_string()))?;
        if output.status == Some(0) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said
            .trim()
            .chars()
            .filter(|c| !c.is_control())
            .take(SAID_MAX)
            .collect();
        Err(match output.status {
            Some(_) => UnitError::Failed(said),
            None => UnitError::Unanswered("systemctl was ended by a signal".to_owned()),
        })
    }
}

#[async_trait]
impl Units for HostUnits {
    async fn show(&self, unit: &str) -> Result<UnitState, UnitError> {
        let record = format!("systemctl/show-{unit}");
        let text = self.systemctl(vec!["show", PROPERTIES, "--", unit], &record, SHOW_MAX);
        Ok(parsed(&text.await?))
    }

    async fn restart(&self, unit: &str) -> Result<(), UnitError> {
        // One that failed too often is not started again before that is forgotten; one that did not has nothing to forget.
        let record = format!("systemctl/reset-failed-{unit}");
        let _ = self
            .systemctl(
                vec!["reset-failed", "--no-ask-password", "--", unit],
                &record,
                SHOW_MAX,
            )
            .await;
        let record = format!("systemctl/restart-{unit}");
        self.systemctl(
            vec!["restart", "--no-ask-password", "--", unit],
            &record,
            RESTART_MAX,
        )
        .await
        .map(drop)
    }
}

/// `Key=Value` a line. What is missing is as if there were no such unit.
fn parsed(text: &str) -> UnitState {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value)
    };
    UnitState {
        id: value("Id").to_owned(),
        load: value("LoadState").to_owned(),
        active: value("ActiveState").to_owned(),
        main_pid: value("MainPID").parse().unwrap_or_default(),
        is_restartable: value("CanStart") == "yes" && value("CanStop") == "yes",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use camino::{Utf8Path, Utf8PathBuf};

    use super::*;

    #[test]
    fn only_names_of_services_are_taken() {
        for good in [
            "web.service",
            "container-web.service",
            "web@1.service",
            "a\\x2db.service",
            "A_b:c.d.service",
        ] {
            assert!(is_service_name(good), "{good}");
        }
        let long = format!("{}.service", "a".repeat(250));
        for bad in [
            "",
            ".service",
            "web",
            "web.socket",
            "web.service.timer",
            "-web.service",
            "--now.service",
            "web.service\n",
            "../web.service",
            "/etc/web.service",
            "*.service",
            "we?.service",
            "[w].service",
            "web .service",
            "w;reboot.service",
            "$(x).service",
            "wéb.service",
            "@.service",
            "..service",
            &long,
        ] {
            assert!(!is_service_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_systemd_shows_is_read_and_what_it_leaves_out_is_nothing() {
        let text =
            "Id=web.service\nLoadState=loaded\nActiveState=active\nMainPID=42\nCanStart=yes\nCanStop=yes\n";
        let state = parsed(text);
        assert_eq!(
            (state.id.as_str(), state.main_pid, state.is_restartable),
            ("web.service", 42, true)
        );
        assert_eq!(parsed("nothing at all"), UnitState::default());
        assert!(!parsed("CanStart=yes\nCanStop=no\n").is_restartable);
    }

    /// A program of this name that writes down how it was called.
    fn host(folder: &Utf8Path, script: &str) -> Host {
        let path = folder.join("systemctl");
        let text = format!("#!/bin/sh\n[ -z \"$SHELL_SECRET\" ] && echo \"$@\" >>{folder}/calls\n{script}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Host::system().with_programs_in(vec![Utf8PathBuf::from(folder)])
    }

    #[tokio::test]
    async fn systemctl_is_called_with_the_name_behind_the_end_of_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let units = HostUnits(host(folder, "echo Id=web.service"));
        assert_eq!(units.show("web.service").await.unwrap().id, "web.service");
        units.restart("web.service").await.unwrap();
        let calls = std::fs::read_to_string(folder.join("calls")).unwrap();
        let expected = format!(
            "show {PROPERTIES} -- web.service\nreset-failed --no-ask-password -- web.service\n\
             restart --no-ask-password -- web.service\n"
        );
        assert_eq!(calls, expected);
    }

    #[tokio::test]
    async fn a_unit_that_fails_says_why_and_a_systemd_that_is_not_there_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let units = HostUnits(host(folder, "echo 'Job for web.service failed.' >&2; exit 1"));
        let error = units.restart("web.service").await.unwrap_err();
        assert!(
            matches!(&error, UnitError::Failed(said) if said.contains("Job for")),
            "{error}"
        );
        let none = HostUnits(Host::system().with_programs_in(Vec::new()));
        assert!(matches!(
            none.restart("web.service").await,
            Err(UnitError::Unanswered(_))
        ));
    }
}
