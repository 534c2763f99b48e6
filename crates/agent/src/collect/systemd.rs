//! Units of systemd: what failed, what is active, how often sockets were used and timers ran.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{
    NODE_SYSTEMD_SERVICE_RESTART_TOTAL, NODE_SYSTEMD_SOCKET_ACCEPTED_CONNECTIONS_TOTAL,
    NODE_SYSTEMD_SOCKET_CURRENT_CONNECTIONS, NODE_SYSTEMD_SOCKET_REFUSED_CONNECTIONS_TOTAL,
    NODE_SYSTEMD_SYSTEM_RUNNING, NODE_SYSTEMD_TIMER_LAST_TRIGGER_SECONDS,
    NODE_SYSTEMD_UNIT_START_TIME_SECONDS, NODE_SYSTEMD_UNIT_STATE, NODE_SYSTEMD_UNITS, NODE_SYSTEMD_VERSION,
};
use muster_parse::systemd::{self, Unit};

use super::draft::Draft;
use super::reading::every_minute;
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Host, ProgramCall, ProgramError};

/// Units told of one by one; five series each.
const UNITS_MAX: usize = 200;
/// When systemctl is given up.
const DEADLINE: Duration = Duration::from_secs(8);
const STATES: [&str; 5] = ["active", "activating", "deactivating", "failed", "inactive"];
/// Kinds that `node_exporter` leaves out by default, and targets, as Debian's does.
const LEFT_OUT: [&str; 6] = [".automount", ".device", ".mount", ".scope", ".slice", ".target"];

/// The systemd collector.
pub const DESCRIPTOR: Descriptor = every_minute("systemd", "units of systemd, through systemctl", |_| {
    Box::new(Systemd)
});

struct Systemd;

#[async_trait]
impl Collector for Systemd {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        // sd_booted(3). Below a root the recorded output alone decides.
        let is_booted = host
            .blocking("systemd", |files| files.list("/run/systemd/system"))
            .await??;
        if host.is_system() && is_booted.is_none() {
            return Ok(Outcome::absent("systemd does not run here"));
        }
        let properties = "--property=Id,ActiveState,Type,NRestarts,NAccepted,NConnections,NRefused,LastTriggerUSec,\
                          ActiveEnterTimestamp";
        let args = vec!["show", "--no-pager", "--timestamp=unix", properties, "*"];
        let Some(text) = ask(host, "systemctl/units", args).await? else {
            return Ok(Outcome::absent("systemctl is not installed"));
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        let units = systemd::parse_units(&text);
        if units.is_empty() {
            draft.problem("systemctl names no unit");
        }
        summary(&mut draft, &units);
        one_by_one(&mut draft, &units);
        let args = vec!["show", "--no-pager", "--property=Version,SystemState"];
        if let Some(text) = ask(host, "systemctl/manager", args).await? {
            manager(&mut draft, &systemd::parse_properties(&text));
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}

async fn ask(host: &Host, record: &str, args: Vec<&str>) -> Result<Option<String>, ProgramError> {
    let call = ProgramCall {
        program: "systemctl",
        args,
        record,
        deadline: DEADLINE,
    };
    match host.run(&call).await {
        Ok(output) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Err(ProgramError::NotInstalled { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn summary(draft: &mut Draft, units: &[Unit]) {
    for state in STATES {
        let count = units
            .iter()
            .filter(|unit| unit.get("ActiveState").is_some_and(|found| found == state))
            .count();
        draft.sample(&NODE_SYSTEMD_UNITS, &[("state", state)], count as f64);
    }
}

fn one_by_one(draft: &mut Draft, units: &[Unit]) {
    let mut chosen: Vec<(&str, &Unit)> = units
        .iter()
        .filter_map(|unit| Some((unit.get("Id")?.as_str(), unit)))
        .filter(|(name, _)| !LEFT_OUT.iter().any(|end| name.ends_with(end)))
        .collect();
    chosen.sort_unstable_by_key(|(name, _)| *name);
    if UNITS_MAX < chosen.len() {
        draft.problem(format!(
            "systemd has {} units: only {UNITS_MAX} are told of, those that failed first",
            chosen.len()
        ));
        chosen.sort_by_key(|(_, unit)| unit.get("ActiveState").is_none_or(|state| state != "failed"));
        chosen.truncate(UNITS_MAX);
    }
    for (name, unit) in chosen {
        describe(draft, name, unit);
    }
}

fn describe(draft: &mut Draft, name: &str, unit: &Unit) {
    let kind = unit
        .get("Type")
        .filter(|_| name.ends_with(".service"))
        .map_or("", String::as_str);
    let now = unit.get("ActiveState").map_or("", String::as_str);
    for state in STATES {
        let value = if state == now { 1.0 } else { 0.0 };
        let labels = [("name", name), ("state", state), ("type", kind)];
        draft.sample(&NODE_SYSTEMD_UNIT_STATE, &labels, value);
    }
    let started_s = systemd::time_s(unit, "ActiveEnterTimestamp").filter(|_| now == "active");
    let count = |property| systemd::count(unit, property);
    let rows = [
        (&NODE_SYSTEMD_UNIT_START_TIME_SECONDS, "", started_s),
        (
            &NODE_SYSTEMD_SERVICE_RESTART_TOTAL,
            ".service",
            count("NRestarts"),
        ),
        (
            &NODE_SYSTEMD_SOCKET_ACCEPTED_CONNECTIONS_TOTAL,
            ".socket",
            count("NAccepted"),
        ),
        (
            &NODE_SYSTEMD_SOCKET_CURRENT_CONNECTIONS,
            ".socket",
            count("NConnections"),
        ),
        (
            &NODE_SYSTEMD_SOCKET_REFUSED_CONNECTIONS_TOTAL,
            ".socket",
            count("NRefused"),
        ),
        (
            &NODE_SYSTEMD_TIMER_LAST_TRIGGER_SECONDS,
            ".timer",
            systemd::time_s(unit, "LastTriggerUSec"),
        ),
    ];
    for (metric, end, value) in rows {
        if let Some(value) = value.filter(|_| name.ends_with(end)) {
            draft.sample(metric, &[("name", name)], value);
        }
    }
}

fn manager(draft: &mut Draft, properties: &Unit) {
    if let Some(state) = properties.get("SystemState") {
        let value = if state == "running" { 1.0 } else { 0.0 };
        draft.sample(&NODE_SYSTEMD_SYSTEM_RUNNING, &[], value);
    }
    if let Some(version) = properties.get("Version")
        && let Some(number) = systemd::version(version)
    {
        draft.sample(&NODE_SYSTEMD_VERSION, &[("version", version)], number);
    }
}
