//! Who is told what, and when not.
//!
//! News that is held back stays owed: an alert that is active and untold is told as soon as nothing holds it back.
//! That an alert is over is told to whoever was told that it fires, mutes or not: good news ends what bad news began.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::target::{Open, TargetKey};
use super::{Change, Engine};
use crate::mute::Subject;
use crate::rule::{HEALTH, IS_CONNECTED};
use crate::{
    AFFECTED_MAX, Alert, AlertId, AlertRef, AlertState, End, Notification, NotificationKind,
    NotificationLink, ResourceRef, Rule, RuleKind, RuleRef, TEXT_CHARS_MAX, TITLE_CHARS_MAX,
};

/// An alert that was restored and whose series does not come back within this is told all the same, ms.
const RESTORED_MAX_MS: i64 = 10 * 60_000;

/// A number as people read it: at most six digits that count.
#[must_use]
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 && magnitude < 1e15 {
        return format!("{value:.0}");
    }
    if (1e-4..1e6).contains(&magnitude) {
        let decimals = (5 - magnitude.log10().floor() as i32).clamp(0, 9) as usize;
        let text = format!("{value:.decimals$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{value:.5e}")
}

impl Engine {
    /// Whether a target is about a server being lost.
    pub(super) fn is_about_loss(&self, key: &TargetKey) -> bool {
        self.rules
            .get(&key.rule)
            .is_some_and(|rule| rule.plan.is_fact && rule.metric_is(IS_CONNECTED))
    }

    /// Tells of an open alert what is owed and not held back. Returns whether its row has changed.
    pub(super) fn tell(&mut self, slot: u32, changes: &mut Vec<Change>) -> bool {
        let t = self.clock.t();
        let Some(target) = self.targets.get(slot) else {
            return false;
        };
        let Some(open) = target.open.as_deref() else {
            return false;
        };
        let Some(rule) = self.rules.get(&target.key.rule) else {
            return false;
        };
        let Some(kind) = owed(open, rule, t) else {
            return false;
        };
        if self.estate.is_lost(target.key.server) && !self.is_about_loss(&target.key) {
            return false;
        }
        // Losses of servers wait for each other, and are told by `tell_groups`.
        if kind == NotificationKind::Firing && self.is_about_loss(&target.key) {
            return false;
        }
        let inside = self.cover_of(&target.key, rule, &open.alert);
        if kind == NotificationKind::Firing && inside != open.alert.inside {
            let Some(open) = self
                .targets
                .get_mut(slot)
                .and_then(|target| target.open.as_deref_mut())
            else {
                return false;
            };
            open.alert.inside = inside;
            if inside.is_none() {
                self.tell(slot, changes);
            }
            return true;
        }
        if inside.is_some() || self.is_muted(&open.alert) {
            return false;
        }
        if kind == NotificationKind::Firing {
            let is_cooling = target
                .recent
                .told
                .is_some_and(|(told_t, told)| t - told_t < rule.cooldown_ms && open.alert.severity <= told);
            let is_unsure = open
                .restored_t
                .is_some_and(|restored_t| t - restored_t < RESTORED_MAX_MS);
            if is_cooling || is_unsure {
                return false;
            }
        }
        let alert = open.alert.id;
        self.announce(alert, kind, changes);
        true
    }

    /// The open alert inside which an alert on this target is named: of something it rests on that fails at least as
    /// badly. Only failures follow from failures: that a filesystem on a failing disk is full is news of its own.
    fn cover_of(&self, key: &TargetKey, rule: &Rule, alert: &Alert) -> Option<AlertId> {
        if self.covering.is_empty() || !(rule.covers || (rule.plan.is_fact && rule.metric_is(HEALTH))) {
            return None;
        }
        self.estate
            .below(key.resource)
            .iter()
            .filter_map(|resource| self.covering.get(resource))
            .flatten()
            .find(|cover| {
                **cover != alert.id
                    && self
                        .by_alert
                        .get(cover)
                        .and_then(|slot| self.targets.get(*slot)?.open.as_deref())
                        .is_some_and(|open| alert.severity <= open.alert.severity)
            })
            .copied()
    }

    /// Whether a silence or window mutes the alert now.
    pub(super) fn is_muted(&self, alert: &Alert) -> bool {
        let now_ms = self.clock.now_ms();
        if self.mutes.is_empty() {
            return false;
        }
        let server = alert.server.and_then(|server| self.estate.server(server));
        let mut resources: Vec<i64> = alert.resource.into_iter().collect();
        if let Some(resource) = alert.resource {
            resources.extend(self.estate.below(resource));
        }
        let subject = Subject {
            alert: alert.id,
            rule: alert.rule,
            server: alert.server,
            tags: server.map_or(&[], |server| server.tags.as_slice()),
            resources: &resources,
        };
        self.mutes
            .iter()
            .any(|mute| mute.scope.covers(&subject) && mute.is_in_force(now_ms))
    }

    /// Makes news of an open alert.
    pub(super) fn announce(&mut self, alert: AlertId, kind: NotificationKind, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let now_ms = self.clock.now_ms();
        let affected = self.affected(alert);
        let open = match self.groups.get_mut(&alert) {
            Some(group) => &mut group.open,
            None => {
                let Some(slot) = self.by_alert.get(&alert) else {
                    return;
                };
                let Some(target) = self.targets.get_mut(*slot) else {
                    return;
                };
                let Some(open) = target.open.as_deref_mut() else {
                    return;
                };
                if kind == NotificationKind::Firing {
                    target.recent.told = Some((t, open.alert.severity));
                }
                open
            }
        };
        open.alert.news += 1;
        if kind != NotificationKind::Acknowledged {
            open.alert.told = Some(open.alert.severity);
            open.alert.told_ms = Some(now_ms);
            open.told_t = Some(t);
            open.is_reminder_due = false;
        }
        let row = open.alert.clone();
        let Some(rule) = self.rules.get(&row.rule) else {
            return;
        };
        let news = self.notification(&row, rule, kind, affected);
        changes.push(Change::News(Box::new(news), rule.channels.clone()));
    }

    /// Makes the news that an alert is over.
    pub(super) fn announce_end(&mut self, slot: u32, open: &mut Open, changes: &mut Vec<Change>) {
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        let Some(rule) = self.rules.get(&target.key.rule) else {
            return;
        };
        open.alert.news += 1;
        let news = self.notification(&open.alert, rule, NotificationKind::Resolved, Vec::new());
        changes.push(Change::News(Box::new(news), rule.channels.clone()));
    }

    /// What is affected by an alert and sends no news of its own.
    fn affected(&self, alert: AlertId) -> Vec<ResourceRef> {
        if let Some(group) = self.groups.get(&alert) {
            return group
                .servers
                .iter()
                .map(|server| ResourceRef {
                    id: *server,
                    kind: muster_model::ResourceKind::Server,
                    name: self.estate.server_ref(*server).name,
                })
                .collect();
        }
        let Some(target) = self.by_alert.get(&alert).and_then(|slot| self.targets.get(*slot)) else {
            return Vec::new();
        };
        let covers = self.rules.get(&target.key.rule).is_some_and(|rule| rule.covers);
        if !covers {
            return Vec::new();
        }
        self.estate
            .above(target.key.resource)
            .into_iter()
            .map(|resource| self.estate.resource_ref(resource, target.kind))
            .collect()
    }

    pub(super) fn notification(
        &self,
        alert: &Alert,
        rule: &Rule,
        kind: NotificationKind,
        mut affected: Vec<ResourceRef>,
    ) -> Notification {
        let server = alert.server.map(|server| self.estate.server_ref(server));
        let resource = match (alert.resource, alert.kind) {
            (Some(resource), Some(kind)) if Some(resource) != alert.server => {
                Some(self.estate.resource_ref(resource, kind))
            }
            _ => None,
        };
        let affected_more = affected.len().saturating_sub(AFFECTED_MAX) as u64;
        let place = place(server.as_ref(), resource.as_ref(), &alert.labels, affected.len());
        let text = text(alert, rule, kind, &affected, affected_more);
        affected.truncate(AFFECTED_MAX);
        let (by, note) = match kind {
            NotificationKind::Resolved => (alert.resolved_by.clone(), alert.resolved_note.clone()),
            _ => alert
                .acknowledgement
                .as_ref()
                .map_or((None, None), |known| (Some(known.by.clone()), known.note.clone())),
        };
        let links = self.settings.public_url.iter().map(|url| NotificationLink {
            title: "Muster".to_owned(),
            url: format!("{url}/alerts/{}", alert.id),
        });
        Notification {
            id: format!("{}-{}-{kind}", alert.id, alert.news),
            kind,
            rule: RuleRef {
                id: rule.id,
                name: rule.name.clone(),
            },
            alert: AlertRef {
                id: alert.id,
                key: alert.key.clone(),
            },
            server,
            resource,
            severity: alert.severity,
            title: one_line(&format!("{}{place}", rule.name), TITLE_CHARS_MAX),
            text: text.chars().take(TEXT_CHARS_MAX).collect(),
            metric: alert.metric.clone(),
            value: alert.value.filter(|value| value.is_finite()),
            threshold: alert.threshold,
            condition: match rule.kind {
                RuleKind::Absence => String::new(),
                _ => rule.levels.comparison.sign().to_owned(),
            },
            unit: rule.plan.unit.clone(),
            started_ms: alert.started_ms,
            ended_ms: alert.ended_ms,
            at_ms: self.clock.now_ms(),
            is_late: alert.is_late,
            by,
            note,
            affected,
            affected_more,
            runbook: rule.runbook.clone(),
            template: rule.template.clone(),
            labels: alert.labels.clone(),
            links: links.collect(),
        }
    }
}

/// What people are to be told of an open alert, whatever may hold it back.
pub(super) fn owed(open: &Open, rule: &Rule, t: i64) -> Option<NotificationKind> {
    if !open.alert.state.is_open() {
        return None;
    }
    let Some(told) = open.alert.told else {
        return Some(NotificationKind::Firing);
    };
    if told < open.alert.severity {
        return Some(NotificationKind::Escalated);
    }
    if open.alert.state == AlertState::Acknowledged || open.alert.snoozed_until_ms.is_some() {
        return None;
    }
    let is_due = 0 < rule.repeat_ms && open.told_t.is_some_and(|told_t| rule.repeat_ms <= t - told_t);
    (is_due || open.is_reminder_due).then_some(NotificationKind::Repeat)
}

fn place(
    server: Option<&crate::ServerRef>,
    resource: Option<&ResourceRef>,
    labels: &BTreeMap<String, String>,
    affected: usize,
) -> String {
    let mut place = String::new();
    match (server, resource) {
        (Some(server), Some(resource)) => {
            let _ = write!(place, ": {} on {}", resource.name, server.name);
        }
        (Some(server), None) => {
            let _ = write!(place, ": {}", server.name);
        }
        _ => {
            let _ = write!(place, ": {affected} servers");
        }
    }
    if resource.is_none() && server.is_some() && !labels.is_empty() {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let _ = write!(place, " ({})", labels.join(", "));
    }
    place
}

fn text(alert: &Alert, rule: &Rule, kind: NotificationKind, affected: &[ResourceRef], more: u64) -> String {
    let mut text = String::new();
    if kind == NotificationKind::Resolved {
        let _ = writeln!(text, "{}", alert.end.unwrap_or(End::Cleared).sentence());
    }
    let _ = write!(text, "{}", rule.condition());
    if let Some(value) = alert.value {
        let unit = if rule.plan.unit.is_empty() { "" } else { " " };
        let _ = write!(text, "; the number is {}{unit}{}", number(value), rule.plan.unit);
    }
    let _ = writeln!(text, ", since {}.", time(alert.started_ms));
    if kind == NotificationKind::Repeat {
        let _ = writeln!(text, "It goes on, and nobody has acknowledged it.");
    }
    if kind != NotificationKind::Resolved {
        if !affected.is_empty() {
            let names: Vec<&str> = affected
                .iter()
                .take(AFFECTED_MAX)
                .map(|resource| resource.name.as_str())
                .collect();
            let _ = write!(text, "Affected: {}", names.join(", "));
            let _ = if 0 < more {
                writeln!(text, " and {more} more.")
            } else {
                writeln!(text, ".")
            };
        }
        if !rule.description.is_empty() {
            let _ = writeln!(text, "\n{}", rule.description.trim());
        }
    }
    text.trim_end().to_owned()
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

fn one_line(text: &str, chars_max: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(chars_max)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        for (value, expected) in [
            (65.0, "65"),
            (0.1 + 0.2, "0.3"),
            (97.123_456_789, "97.1235"),
            (-0.5, "-0.5"),
            (1e20, "1.00000e20"),
            (0.0, "0"),
            (0.000_01, "1.00000e-5"),
            (123_456.789, "123457"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
