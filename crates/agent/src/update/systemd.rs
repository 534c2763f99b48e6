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
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,MainPID,CanStart,CanStop,InvocationID,Result,\
    ExecStart,NRestarts,ConditionResult,ConditionTimestampMonotonic,AssertResult,AssertTimestampMonotonic,\
    InactiveExitTimestampMonotonic,ActiveExitTimestampMonotonic,ExecMainExitTimestampMonotonic";

/// A unit as systemd shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Its own name: another one than was asked for is an alias of it.
    pub id: String,
    /// `loaded` if there is such a unit.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating` and so on.
    pub active: String,
    /// The same in more words: `running`, `dead`, `auto-restart` and so on.
    pub sub: String,
    /// Its main process; 0: it has none.
    pub main_pid: u64,
    /// Whether somebody may stop and start it by hand.
    pub is_restartable: bool,
    /// What became of it when it was started last.
    pub last: LastStart,
}

/// The last start of a unit, as org.freedesktop.systemd1(5) tells of it. Times are microseconds since the boot; 0: never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastStart {
    /// An id of its own, which only a start has that systemd did not refuse; empty: there was none, or it is forgotten.
    pub invocation: String,
    /// `success`, `exit-code`, `signal`, `start-limit-hit` and so on.
    pub result: String,
    /// Whether its own command was run, and not only what comes before it.
    pub has_run: bool,
    /// The exit code of that, if it ended with one.
    pub status: Option<i64>,
    /// How often systemd started it again by itself.
    pub restarts: u64,
    /// Whether its conditions or assertions were looked at last and did not hold.
    pub is_condition_unmet: bool,
    /// When it began.
    pub began_us: u64,
    /// When it, or one before it, was up no longer.
    pub left_us: u64,
    /// When its main process ended.
    pub ended_us: u64,
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
pub(super) fn parsed(text: &str) -> UnitState {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value)
    };
    let number = |key: &str| value(key).parse().unwrap_or_default();
    // One that was never looked at is shown as `no` too.
    let is_unmet = |name: &str| {
        value(&format!("{name}Result")) == "no" && 0 < number(&format!("{name}TimestampMonotonic"))
    };
    let (has_run, status) = ran(value("ExecStart"));
    UnitState {
        id: value("Id").to_owned(),
        load: value("LoadState").to_owned(),
        active: value("ActiveState").to_owned(),
        sub: value("SubState").to_owned(),
        main_pid: number("MainPID"),
        is_restartable: value("CanStart") == "yes" && value("CanStop") == "yes",
        last: LastStart {
            invocation: value("InvocationID").to_owned(),
            result: value("Result").to_owned(),
            has_run,
            status,
            restarts: number("NRestarts"),
            is_condition_unmet: is_unmet("Condition") || is_unmet("Assert"),
            began_us: number("InactiveExitTimestampMonotonic"),
            left_us: number("ActiveExitTimestampMonotonic"),
            ended_us: number("ExecMainExitTimestampMonotonic"),
        },
    }
}

/// Whether a command was run, and its exit code: `{ path=… ; argv[]=… ; … ; pid=7 ; code=exited ; status=1 }`. What it was
/// called with comes before, may hold anything, and is not looked at.
fn ran(command: &str) -> (bool, Option<i64>) {
    let Some((_, end)) = command.rsplit_once(" ; pid=") else {
        return (false, None);
    };
    let mut parts = end.trim_end_matches([' ', '}']).split(" ; ");
    let has_run = parts.next().is_some_and(|pid| !matches!(pid, "" | "0"));
    let is_exited = parts.next() == Some("code=exited");
    let status = parts.next().and_then(|part| part.strip_prefix("status="));
    let status = status.filter(|_| has_run && is_exited);
    (has_run, status.and_then(|status| status.parse().ok()))
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

    #[test]
    fn what_became_of_the_last_start_is_read() {
        let text = "Id=web.service\nSubState=failed\nInvocationID=0a1b\nResult=exit-code\nNRestarts=2\n\
            ExecStart={ path=/usr/bin/podman ; argv[]=/usr/bin/podman run -e A= ; pid=0 ; x ; ignore_errors=no ; \
            start_time=[Mon 2026-11-23 06:00:00 UTC] ; stop_time=[n/a] ; pid=712 ; code=exited ; status=3 }\n\
            ConditionResult=no\nConditionTimestampMonotonic=0\nAssertResult=yes\nAssertTimestampMonotonic=9\n\
            InactiveExitTimestampMonotonic=10\nActiveExitTimestampMonotonic=30\nExecMainExitTimestampMonotonic=20\n";
        let last = parsed(text).last;
        let expected = LastStart {
            invocation: "0a1b".to_owned(),
            result: "exit-code".to_owned(),
            has_run: true,
            status: Some(3),
            restarts: 2,
            is_condition_unmet: false,
            began_us: 10,
            left_us: 30,
            ended_us: 20,
        };
        assert_eq!(last, expected);
        let unmet = "ConditionResult=no\nConditionTimestampMonotonic=8\n";
        assert!(parsed(unmet).last.is_condition_unmet);
        for (end, seen) in [
            ("pid=0 ; code=(null) ; status=0/0 }", (false, None)),
            ("pid=7 ; code=(null) ; status=0/0 }", (true, None)),
            ("pid=7 ; code=killed ; status=9/KILL }", (true, None)),
            ("pid=7 ; code=exited ; status=0 }", (true, Some(0))),
            ("pid=7", (true, None)),
            ("pid=", (false, None)),
        ] {
            assert_eq!(ran(&format!("{{ path=/x ; argv[]=/x ; {end}")), seen, "{end}");
        }
        assert_eq!(ran(""), (false, None));
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
