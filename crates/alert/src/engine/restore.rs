//! Going on after a restart, from the rows that were kept.

use std::collections::BTreeSet;

use muster_model::{Labels, ResourceKind};

use super::fleet::Group;
use super::target::{FLAP_WINDOW_MS, Open, TargetKey};
use super::{Change, Engine};
use crate::{Alert, AlertState, End};

impl Engine {
    /// Takes back the alerts that are pending or open. To be called once, after the rules were set and before
    /// anything is judged. Alerts whose rule is not there any more end.
    pub fn restore(&mut self, alerts: Vec<Alert>, changes: &mut Vec<Change>) {
        for alert in alerts {
            self.next_alert = self.next_alert.max(alert.id + 1);
            if alert.state == AlertState::Resolved {
                continue;
            }
            if !self.rules.contains_key(&alert.rule) {
                self.end_orphan(alert, changes);
            } else if alert.server.is_none() {
                self.restore_group(alert);
            } else {
                self.restore_alert(alert);
            }
        }
    }

    /// Takes back what is remembered of alerts that are over: of the last day, any order.
    pub fn remember(&mut self, alerts: &[Alert]) {
        let now_ms = self.clock.now_ms();
        let mut alerts: Vec<&Alert> = alerts
            .iter()
            .filter(|alert| alert.server.is_some() && self.rules.contains_key(&alert.rule))
            .collect();
        alerts.sort_unstable_by_key(|alert| alert.active_ms);
        for alert in alerts {
            self.next_alert = self.next_alert.max(alert.id + 1);
            let told = alert.told_ms.zip(alert.told);
            let opened_ms = alert
                .active_ms
                .filter(|at| now_ms - at < FLAP_WINDOW_MS && !alert.is_late);
            if told.is_none() && opened_ms.is_none() {
                continue;
            }
            let slot = self.slot_of(alert);
            let Some(target) = self.targets.get_mut(slot) else {
                continue;
            };
            if let Some((at_ms, severity)) = told {
                target.recent.told = Some((at_ms.min(now_ms), severity));
            }
            if let Some(at_ms) = opened_ms {
                target.recent.opens.rotate_left(1);
                if let Some(last) = target.recent.opens.last_mut() {
                    *last = at_ms.min(now_ms);
                }
            }
        }
    }

    fn slot_of(&mut self, alert: &Alert) -> u32 {
        let pairs = alert.labels.iter();
        let pairs: Vec<(&str, &str)> = pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let key = TargetKey {
            rule: alert.rule,
            server: alert.server.unwrap_or(0),
            resource: alert.resource.unwrap_or(0),
            labels: Labels::new(&pairs).unwrap_or_default(),
        };
        if let Some(slot) = self.target_by_key.get(&key) {
            return *slot;
        }
        let kind = alert.kind.unwrap_or(ResourceKind::Server);
        self.add_target(key, kind)
    }

    fn restore_alert(&mut self, alert: Alert) {
        let t = self.clock.t();
        let id = alert.id;
        let slot = self.slot_of(&alert);
        let open = self.open_of(alert, t);
        let Some(target) = self.targets.get_mut(slot) else {
            return;
        };
        if let Some((told_t, severity)) = open.told_t.zip(open.alert.told) {
            target.recent.told = Some((told_t, severity));
        }
        if open.alert.state.is_open() {
            target.recent.opens.rotate_left(1);
            if let Some(last) = target.recent.opens.last_mut() {
                *last = open.active_t;
            }
        }
        let rule = target.key.rule;
        let is_open = open.alert.state.is_open();
        target.open = Some(Box::new(open));
        self.busy.insert(slot);
        self.by_alert.insert(id, slot);
        if is_open && let Some(rule) = self.rules.get(&rule).cloned() {
            self.cover(slot, &rule);
        }
    }

    fn open_of(&self, alert: Alert, t: i64) -> Open {
        let now_ms = self.clock.now_ms();
        // The clock for durations begins at the wall clock's time; what lies ahead of it was written by a wrong one.
        let at = |ms: i64| t - (now_ms - ms).max(0);
        Open {
            since_t: at(alert.started_ms),
            heard_t: t,
            told_t: alert.told_ms.map(at),
            calm_t: alert.calm_since_ms.map(at),
            active_t: alert.active_ms.map_or(t, at),
            written_t: t,
            is_kept: true,
            restored_t: Some(t),
            is_reminder_due: false,
            alert,
        }
    }

    fn restore_group(&mut self, alert: Alert) {
        let t = self.clock.t();
        let open = self.open_of(alert, t);
        let group = Group {
            servers: BTreeSet::new(),
            made_t: open.active_t,
            open,
        };
        self.groups.insert(group.open.alert.id, group);
    }

    fn end_orphan(&self, mut alert: Alert, changes: &mut Vec<Change>) {
        if alert.state == AlertState::Pending {
            changes.push(Change::Forget(alert.id));
            return;
        }
        alert.state = AlertState::Resolved;
        alert.ended_ms = Some(self.clock.now_ms().max(alert.started_ms));
        alert.end = Some(End::RuleGone);
        changes.push(Change::Alert(Box::new(alert)));
    }
}
