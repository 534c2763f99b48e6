//! Calls of smartctl: the scan, and one drive.

use std::time::Duration;

use muster_base::ErrorChain;
use smartmontools_parse::report::Smartctl;
use smartmontools_parse::scan::{self, ScannedDevice};
use smartmontools_parse::{ExitStatus, PowerMode, Report};

use super::target::Target;
use crate::collect::CollectError;
use crate::collect::draft::Draft;
use crate::host::{Host, ProgramCall, ProgramError, text_of};

/// Leaves a sleeping disk alone. Part of every call, whatever it asks.
const STANDBY_GUARD: &str = "--nocheck=standby";
/// When the scan is given up; it opens no drive.
const SCAN_DEADLINE: Duration = Duration::from_secs(30);

/// How smartctl ends for a disk that it left asleep.
const STANDBY: i32 = 2;
/// What to do about a smartctl of before 2019.
const TOO_OLD: &str = "smartctl is too old to write JSON; version 7.0 or newer is needed";

/// What came of asking about a drive.
#[derive(Debug)]
pub(super) enum Answer {
    /// The drive was awake, or could not be asked and smartctl says why.
    Read {
        report: Box<Report>,
        raw: String,
        problems: Vec<String>,
    },
    /// It sleeps and was left alone.
    Asleep { exit_status: u8 },
    /// smartctl did not answer.
    Failed { message: String },
    /// There is no smartctl.
    NotInstalled,
    /// By its own cadence it is not to be asked yet.
    NotDue,
}

/// What the scan found.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) devices: Vec<ScannedDevice>,
    pub(super) is_installed: bool,
    /// The program and the version of its JSON format; else a drive's answer tells.
    pub(super) smartctl: Option<(Smartctl, Option<(u32, u32)>)>,
}

/// Lists the drives that smartctl knows of. That it is not installed is told, not an error: below a root the scan alone
/// may be missing.
pub(super) async fn scan(host: &Host, draft: &mut Draft) -> Result<Scanned, CollectError> {
    let call = ProgramCall {
        program: "smartctl",
        args: vec!["--scan", "--json=c", STANDBY_GUARD],
        record: "smartctl/scan",
        deadline: SCAN_DEADLINE,
    };
    let output = match host.run(&call).await {
        Ok(output) => output,
        Err(ProgramError::NotInstalled { .. }) => return Ok(Scanned::default()),
        Err(error) => {
            // The drives that the kernel knows can still be asked.
            draft.error("smartctl --scan", &error);
            return Ok(Scanned {
                is_installed: true,
                ..Scanned::default()
            });
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if is_too_old(&text, &String::from_utf8_lossy(&output.stderr)) {
        draft.problem(TOO_OLD);
        return Ok(Scanned {
            is_installed: true,
            ..Scanned::default()
        });
    }
    let scan = scan::parse(&text);
    for problem in scan.problems {
        draft.problem(format!("smartctl --scan: {}", field_and_message(&problem)));
    }
    let report = smartmontools_parse::parse(&text).report;
    let smartctl = report
        .smartctl
        .version
        .is_some()
        .then_some((report.smartctl, report.json_format_version));
    Ok(Scanned {
        devices: scan.devices,
        is_installed: true,
        smartctl,
    })
}

/// Asks about one drive.
pub(super) async fn drive(host: &Host, target: &Target, deadline: Duration) -> Answer {
    let first = ask(host, target, &target.label, deadline).await;
    match (first, target.disks.first()) {
        // Below a root an NVMe drive's output may be recorded under its namespace's name.
        (Answer::NotInstalled, Some((name, _))) if *name != target.label => {
            ask(host, target, name, deadline).await
        }
        (answer, _) => answer,
    }
}

async fn ask(host: &Host, target: &Target, record: &str, deadline: Duration) -> Answer {
    let record = format!("smartctl/{record}");
    let device_type = target.device_type.as_ref().map(|kind| format!("--device={kind}"));
    let mut args = vec![
        "--json=c",
        "--info",
        "--health",
        "--attributes",
        "--tolerance=verypermissive",
        STANDBY_GUARD,
        "--format=brief",
        "--log=error",
        "--log=selftest",
        // Only what a drive's protocol has is asked for: statistics of ATA, endurance and background scan of SCSI.
        "--log=devstat",
        "--log=ssd",
        "--log=background",
    ];
    args.extend(device_type.as_deref());
    args.push(&target.node);
    let call = ProgramCall {
        program: "smartctl",
        args,
        record: &record,
        deadline,
    };
    let output = match host.run(&call).await {
        Ok(output) => output,
        Err(ProgramError::NotInstalled { .. }) => return Answer::NotInstalled,
        Err(error) => {
            return Answer::Failed {
                message: ErrorChain(&error).to_string(),
            };
        }
    };
    let Some(status) = output.status else {
        return Answer::Failed {
            message: "smartctl was ended by a signal".to_owned(),
        };
    };
    let raw = text_of(output.stdout);
    if is_too_old(&raw, &String::from_utf8_lossy(&output.stderr)) {
        return Answer::Failed {
            message: TOO_OLD.to_owned(),
        };
    }
    if status == STANDBY && raw.trim().is_empty() {
        return Answer::Asleep {
            exit_status: ExitStatus::OPEN_FAILED.0,
        };
    }
    let parsed = smartmontools_parse::parse(&raw);
    let mut report = parsed.report;
    // What the process says and what the document says are the same unless something is odd: then both count.
    let said = report.smartctl.exit_status.unwrap_or_default().0;
    let exit_status = ExitStatus(said | u8::try_from(status).unwrap_or(u8::MAX));
    report.smartctl.exit_status = Some(exit_status);
    if report.is_standby() || is_silent_standby(&report, exit_status) {
        return Answer::Asleep {
            exit_status: exit_status.0,
        };
    }
    let problems = parsed.problems.iter().map(field_and_message).collect();
    Answer::Read {
        report: Box::new(report),
        raw,
        problems,
    }
}

/// Whether this is a run that ended as for a sleeping disk, although no word says so: smartctl gives a message of
/// severity "error" whenever it ends with this status for any other reason.
fn is_silent_standby(report: &Report, exit_status: ExitStatus) -> bool {
    let has_error = report
        .smartctl
        .messages
        .iter()
        .any(|message| message.severity.as_deref() != Some("information"));
    exit_status == ExitStatus::OPEN_FAILED
        && report.smartctl.exit_status.is_some()
        && report.is_of_document()
        && report.power_mode() == PowerMode::Unknown
        && !has_error
}

/// Whether smartctl is one that cannot write JSON: it shows its usage, with its version in front.
fn is_too_old(stdout: &str, stderr: &str) -> bool {
    let is_json = stdout.trim_start().starts_with('{');
    let has_banner = |text: &str| {
        text.lines()
            .take(3)
            .any(|line| line.starts_with("smartctl 5.") || line.starts_with("smartctl 6."))
    };
    !is_json && (has_banner(stdout) || has_banner(stderr))
}

pub(super) fn field_and_message(problem: &smartmontools_parse::Problem) -> String {
    if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.field, problem.message)
    }
}
