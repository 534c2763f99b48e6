//! The life of an alert: pending, active, acknowledged, resolved.
//!
//! What cannot be told changes nothing. An alert that opened three times within an hour is resolved only after ten
//! minutes without a break; until then it stays open, so that flapping is one alert and two pieces of news.

use std::sync::Arc;

use super::target::{Open, Target, TargetKey};
use super::{Change, Engine, KEEP_PENDING_MS, OPEN_MAX};
use crate::alert::key;
use crate::{Alert, AlertState, End, Rule, RuleKind, Severity, Verdict};

/// How long an alert that flaps must be clear to be believed.
const CALM_MS: i64 = 10 * 60_000;
/// How often the row of an open alert is written for its number alone.
const WRITE_EVERY_MS: i64 = 60_000;

/// What a verdict rests on.
#[derive(Debug, Clone, Copy)]
struct Judged {
    value: Option<f64>,
    time_ms: i64,
}

impl Engine {
    /// Judges a target by its live numbers.
    pub(super) fn judge(&mut self, slot: u32, time_ms: i64, changes: &mut Vec<Change>) {
        let Some(rule) = self
            .targets
            .get(slot)
            .and_then(|target| self.rules.get(&target.key.rule))
        else {
            return;
        };
        let rule = Arc::clone(rule);
        let (value, verdict) = self.verdict(slot, &rule, time_ms);
        let judged = Judged { value, time_ms };
        match verdict {
            Verdict::Firing(severity) => self.fires(slot, &rule, severity, judged, changes),
            Verdict::Clear => self.clears(slot, &rule, judged, changes),
            Verdict::Hold => self.holds(slot, judged),
        }
    }

    fn fires(
        &mut self,
        slot: u32,
        rule: &Rule,
        severity: Severity,
        judged: Judged,
        changes: &mut Vec<Change>,
    ) {
        let t = self.clock.t();
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        let patience_ms = self.patience_ms(target);
        if target.open.is_none() {
            if t < target.recent.not_before_t {
                return;
            }
            if OPEN_MAX <= self.busy.len() {
                self.counts.alerts_refused += 1;
                return;
            }
            self.begin(slot, rule, severity, judged);
        }
        let wait_ms = if rule.kind == RuleKind::Absence {
            0
        } else {
            rule.for_ms
        };
        let now_ms = self.clock.now_ms();
        let Some(target) = self.targets.get_mut(slot) else {
            return;
        };
        let Some(open) = target.open.as_deref_mut() else {
            return;
        };
        if open.alert.state == AlertState::Pending && patience_ms < t - open.heard_t {
            // What was in between is not known: it begins anew.
            open.since_t = t;
            open.alert.started_ms = judged.time_ms.min(now_ms);
        }
        open.heard_t = t;
        open.restored_t = None;
        let mut is_news = open.alert.severity != severity || open.calm_t.is_some();
        open.calm_t = None;
        open.alert.calm_since_ms = None;
        open.alert.severity = severity;
        open.alert.value = judged.value;
        open.alert.threshold = rule.levels.bound(severity);
        if open.alert.state == AlertState::Pending {
            if t - open.since_t < wait_ms {
                if !open.is_kept && KEEP_PENDING_MS <= wait_ms {
                    open.is_kept = true;
                    open.written_t = t;
                    changes.push(Change::Alert(Box::new(open.alert.clone())));
                }
                return;
            }
            open.alert.state = AlertState::Active;
            open.alert.active_ms = Some(now_ms);
            open.active_t = t;
            target.recent.opens.rotate_left(1);
            if let Some(last) = target.recent.opens.last_mut() {
                *last = t;
            }
            is_news = true;
            self.cover(slot, rule);
        }
        let is_told = self.tell(slot, changes);
        self.write(slot, is_news || is_told, changes);
    }

    /// Begins a pending alert.
    fn begin(&mut self, slot: u32, rule: &Rule, severity: Severity, judged: Judged) {
        let id = self.take_alert_id();
        let t = self.clock.t();
        let now_ms = self.clock.now_ms();
        let Some(target) = self.targets.get_mut(slot) else {
            return;
        };
        let alert = blank(target, rule, id, severity, judged.time_ms.min(now_ms));
        target.open = Some(Box::new(Open {
            alert,
            since_t: t,
            heard_t: t,
            told_t: None,
            calm_t: None,
            active_t: t,
            written_t: t,
            is_kept: false,
            restored_t: None,
            is_reminder_due: false,
        }));
        self.busy.insert(slot);
        self.by_alert.insert(id, slot);
    }

    fn clears(&mut self, slot: u32, rule: &Rule, judged: Judged, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let now_ms = self.clock.now_ms();
        let Some(target) = self.targets.get_mut(slot) else {
            return;
        };
        // Whoever resolved it was right.
        target.recent.not_before_t = 0;
        let is_flapping = target.is_flapping(t);
        let Some(open) = target.open.as_deref_mut() else {
            return;
        };
        open.heard_t = t;
        open.restored_t = None;
        open.alert.value = judged.value.or(open.alert.value);
        if open.alert.state.is_open() && is_flapping {
            let calm_t = *open.calm_t.get_or_insert(t);
            if t - calm_t < CALM_MS {
                let is_news = open.alert.calm_since_ms.is_none();
                open.alert.calm_since_ms.get_or_insert(now_ms);
                self.write(slot, is_news, changes);
                return;
            }
        }
        if open.alert.threshold.is_none() {
            open.alert.threshold = rule.levels.bound(open.alert.severity);
        }
        self.end_alert(slot, End::Cleared, None, changes);
    }

    fn holds(&mut self, slot: u32, judged: Judged) {
        if let Some(open) = self
            .targets
            .get_mut(slot)
            .and_then(|target| target.open.as_deref_mut())
            && judged.value.is_some()
        {
            // Between the bounds: it was heard, and it goes on.
            open.heard_t = self.clock.t();
            open.alert.value = judged.value;
        }
    }

    /// Ends the alert of a target, if there is one; who was told that it fires is told that it is over.
    pub(super) fn end_alert(
        &mut self,
        slot: u32,
        end: End,
        by: Option<(&str, Option<&str>)>,
        changes: &mut Vec<Change>,
    ) {
        let now_ms = self.clock.now_ms();
        let Some(mut open) = self.targets.get_mut(slot).and_then(|target| target.open.take()) else {
            return;
        };
        self.busy.remove(&slot);
        self.by_alert.remove(&open.alert.id);
        self.uncover(slot, open.alert.id);
        if open.alert.state == AlertState::Pending {
            if open.is_kept {
                changes.push(Change::Forget(open.alert.id));
            }
            return;
        }
        open.alert.state = AlertState::Resolved;
        open.alert.ended_ms = Some(now_ms.max(open.alert.started_ms));
        open.alert.end = Some(end);
        open.alert.calm_since_ms = None;
        if let Some((by, note)) = by {
            open.alert.resolved_by = Some(by.to_owned());
            open.alert.resolved_note = note.map(str::to_owned);
        }
        if open.alert.told.is_some() {
            self.announce_end(slot, &mut open, changes);
        }
        changes.push(Change::Alert(Box::new(open.alert)));
    }

    /// Writes the row of an open alert: at once if something changed that people look for, else now and then.
    pub(super) fn write(&mut self, slot: u32, is_news: bool, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let Some(open) = self
            .targets
            .get_mut(slot)
            .and_then(|target| target.open.as_deref_mut())
        else {
            return;
        };
        if is_news || WRITE_EVERY_MS <= t - open.written_t {
            open.written_t = t;
            open.is_kept = true;
            changes.push(Change::Alert(Box::new(open.alert.clone())));
        }
    }

    /// Remembers that alerts of what rests on this are named inside this one.
    pub(super) fn cover(&mut self, slot: u32, rule: &Rule) {
        if let Some(target) = self.targets.get(slot)
            && let Some(open) = &target.open
            && rule.covers
        {
            self.covering
                .entry(target.key.resource)
                .or_default()
                .insert(open.alert.id);
        }
    }

    fn uncover(&mut self, slot: u32, alert: crate::AlertId) {
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        if let Some(alerts) = self.covering.get_mut(&target.key.resource) {
            alerts.remove(&alert);
            if alerts.is_empty() {
                self.covering.remove(&target.key.resource);
            }
        }
    }
}

/// A pending alert of which nothing is known yet.
pub(super) fn blank(target: &Target, rule: &Rule, id: i64, severity: Severity, started_ms: i64) -> Alert {
    let TargetKey {
        server,
        resource,
        labels,
        ..
    } = &target.key;
    Alert {
        id,
        key: key(rule.id, Some(*server), Some(*resource), labels),
        rule: rule.id,
        rule_name: rule.name.clone(),
        server: Some(*server),
        resource: Some(*resource),
        kind: Some(target.kind),
        labels: labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        metric: rule.metric.clone(),
        state: AlertState::Pending,
        severity,
        value: None,
        threshold: rule.levels.bound(severity),
        started_ms,
        active_ms: None,
        ended_ms: None,
        end: None,
        acknowledgement: None,
        resolved_by: None,
        resolved_note: None,
        snoozed_until_ms: None,
        is_late: false,
        inside: None,
        told: None,
        told_ms: None,
        news: 0,
        calm_since_ms: None,
    }
}
