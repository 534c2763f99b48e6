//! Many servers lost at once are one alert.
//!
//! The loss of a server waits a little before it is told, counted from when it began: what its rule waits for is part of
//! it. If by then others are lost too, or may be, all of them are named in one alert of their own, which is over when the
//! last of them is back; further ones that are lost soon after join it quietly. One that is lost long after does not: it
//! is told by itself.

use std::collections::BTreeSet;

use muster_model::Labels;

use super::news::owed;
use super::target::Open;
use super::{Change, Engine};
use crate::alert::key;
use crate::{Alert, AlertId, AlertState, End, NotificationKind, RuleId, Severity};

/// How long after a group was made others join it, ms: silence is noticed after 18 s, or after 90 on a bad link.
const JOIN_MS: i64 = 5 * 60_000;

/// Servers lost together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) open: Open,
    /// The servers that are still lost.
    pub(super) servers: BTreeSet<i64>,
    /// When it was made.
    pub(super) made_t: i64,
}

impl Engine {
    /// Tells of lost servers, one by one or as one, and of groups that are over.
    pub(super) fn tell_groups(&mut self, changes: &mut Vec<Change>) {
        self.close_empty_groups(changes);
        let rules: BTreeSet<RuleId> = self
            .busy
            .iter()
            .filter_map(|slot| self.targets.get(*slot))
            .filter(|target| self.is_about_loss(&target.key))
            .map(|target| target.key.rule)
            .collect();
        for rule in rules {
            self.tell_losses(rule, changes);
        }
        self.remind_of_groups(changes);
    }

    fn tell_losses(&mut self, rule: RuleId, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let untold: Vec<u32> = self
            .busy
            .iter()
            .copied()
            .filter(|slot| self.is_loss_to_tell(*slot, rule))
            .collect();
        let is_due = untold.iter().any(|slot| {
            self.targets
                .get(*slot)
                .and_then(|target| target.open.as_deref())
                .is_some_and(|open| self.settings.group_wait_ms <= t - open.since_t)
        });
        if !is_due {
            return;
        }
        let joined = self
            .groups
            .iter()
            .find(|(_, group)| group.open.alert.rule == rule && t - group.made_t < JOIN_MS)
            .map(|(id, _)| *id);
        match joined {
            Some(group) => self.join(group, &untold, changes),
            None if self.settings.group_min <= untold.len() + self.losses_pending(rule) => {
                if let Some(group) = self.make_group(rule, &untold) {
                    self.join(group, &untold, changes);
                    self.announce(group, NotificationKind::Firing, changes);
                    self.write_group(group, changes);
                }
            }
            None => {
                for slot in untold {
                    let Some(open) = self.targets.get(slot).and_then(|target| target.open.as_deref()) else {
                        continue;
                    };
                    let alert = open.alert.id;
                    self.announce(alert, NotificationKind::Firing, changes);
                    self.write(slot, true, changes);
                }
            }
        }
    }

    /// How many servers may be lost but have not been silent for as long as the rule wants.
    fn losses_pending(&self, rule: RuleId) -> usize {
        let is_pending = |slot: &&u32| {
            self.targets.get(**slot).is_some_and(|target| {
                target.key.rule == rule
                    && target
                        .open
                        .as_deref()
                        .is_some_and(|open| open.alert.state == AlertState::Pending)
            })
        };
        self.busy.iter().filter(is_pending).count()
    }

    fn is_loss_to_tell(&self, slot: u32, rule: RuleId) -> bool {
        let t = self.clock.t();
        let Some(target) = self.targets.get(slot) else {
            return false;
        };
        let Some(open) = target.open.as_deref() else {
            return false;
        };
        let Some(judging) = self.rules.get(&rule) else {
            return false;
        };
        let is_cooling = target
            .recent
            .told
            .is_some_and(|(told_t, told)| t - told_t < judging.cooldown_ms && open.alert.severity <= told);
        target.key.rule == rule
            && owed(open, judging, t) == Some(NotificationKind::Firing)
            && open.alert.inside.is_none()
            && open
                .restored_t
                .is_none_or(|restored| self.settings.group_wait_ms <= t - restored)
            && !is_cooling
            && !self.is_muted(&open.alert)
    }

    fn make_group(&mut self, rule: RuleId, members: &[u32]) -> Option<AlertId> {
        let id = self.take_alert_id();
        let t = self.clock.t();
        let now_ms = self.clock.now_ms();
        let judging = self.rules.get(&rule)?;
        let opens = members
            .iter()
            .filter_map(|slot| self.targets.get(*slot)?.open.as_deref());
        let (mut severity, mut started_ms) = (Severity::Info, now_ms);
        for open in opens {
            severity = severity.max(open.alert.severity);
            started_ms = started_ms.min(open.alert.started_ms);
        }
        let labels = Labels::of(&[("group", &id.to_string())]);
        let alert = Alert {
            id,
            key: key(rule, None, None, &labels),
            rule,
            rule_name: judging.name.clone(),
            server: None,
            resource: None,
            kind: None,
            labels: [("group".to_owned(), id.to_string())].into(),
            metric: judging.metric.clone(),
            state: AlertState::Active,
            severity,
            value: None,
            threshold: judging.levels.bound(severity),
            started_ms,
            active_ms: Some(now_ms),
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
        };
        self.groups.insert(
            id,
            Group {
                open: Open {
                    alert,
                    since_t: t,
                    heard_t: t,
                    told_t: None,
                    calm_t: None,
                    active_t: t,
                    written_t: t,
                    is_kept: true,
                    restored_t: None,
                    is_reminder_due: false,
                },
                servers: BTreeSet::new(),
                made_t: t,
            },
        );
        Some(id)
    }

    fn join(&mut self, group: AlertId, members: &[u32], changes: &mut Vec<Change>) {
        for slot in members {
            let Some(target) = self.targets.get_mut(*slot) else {
                continue;
            };
            let Some(open) = target.open.as_deref_mut() else {
                continue;
            };
            open.alert.inside = Some(group);
            if let Some(group) = self.groups.get_mut(&group) {
                group.servers.insert(target.key.server);
            }
            self.write(*slot, true, changes);
        }
    }

    /// Ends groups of which no server is lost any more.
    pub(super) fn close_empty_groups(&mut self, changes: &mut Vec<Change>) {
        if self.groups.is_empty() {
            return;
        }
        let mut lost: std::collections::BTreeMap<AlertId, BTreeSet<i64>> = std::collections::BTreeMap::new();
        for slot in &self.busy {
            if let Some(target) = self.targets.get(*slot)
                && let Some(open) = target.open.as_deref()
                && let Some(inside) = open.alert.inside
                && open.alert.state.is_open()
            {
                lost.entry(inside).or_default().insert(target.key.server);
            }
        }
        let mut empty = Vec::new();
        for (id, group) in &mut self.groups {
            group.servers = lost.remove(id).unwrap_or_default();
            if group.servers.is_empty() {
                empty.push(*id);
            }
        }
        for group in empty {
            self.end_group(group, End::Cleared, None, changes);
        }
    }

    fn remind_of_groups(&mut self, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let now_ms = self.clock.now_ms();
        let mut due = Vec::new();
        for (id, group) in &mut self.groups {
            Open::end_snooze(&mut group.open, now_ms);
            if let Some(rule) = self.rules.get(&group.open.alert.rule)
                && let Some(kind) = owed(&group.open, rule, t)
            {
                due.push((*id, kind));
            }
        }
        for (group, kind) in due {
            self.announce(group, kind, changes);
            self.write_group(group, changes);
        }
    }

    fn write_group(&self, group: AlertId, changes: &mut Vec<Change>) {
        if let Some(group) = self.groups.get(&group) {
            changes.push(Change::Alert(Box::new(group.open.alert.clone())));
        }
    }

    /// Ends a group. What is still lost of it is told by itself if it goes on, unless a person ended it.
    pub(super) fn end_group(
        &mut self,
        group: AlertId,
        end: End,
        by: Option<(&str, Option<&str>)>,
        changes: &mut Vec<Change>,
    ) {
        let Some(mut group) = self.groups.remove(&group) else {
            return;
        };
        let id = group.open.alert.id;
        let members: Vec<u32> = self
            .busy
            .iter()
            .copied()
            .filter(|slot| {
                self.targets
                    .get(*slot)
                    .and_then(|target| target.open.as_deref())
                    .is_some_and(|open| open.alert.inside == Some(id))
            })
            .collect();
        for slot in members {
            if end == End::Manual {
                self.end_alert(slot, end, by, changes);
                let not_before_t = self.clock.t().saturating_add(15 * 60_000);
                if let Some(target) = self.targets.get_mut(slot) {
                    target.recent.not_before_t = not_before_t;
                }
            } else if let Some(open) = self
                .targets
                .get_mut(slot)
                .and_then(|target| target.open.as_deref_mut())
            {
                open.alert.inside = None;
                self.write(slot, true, changes);
            }
        }
        let open = &mut group.open;
        open.alert.state = AlertState::Resolved;
        open.alert.ended_ms = Some(self.clock.now_ms().max(open.alert.started_ms));
        open.alert.end = Some(end);
        if let Some((by, note)) = by {
            open.alert.resolved_by = Some(by.to_owned());
            open.alert.resolved_note = note.map(str::to_owned);
        }
        if open.alert.told.is_some()
            && let Some(rule) = self.rules.get(&open.alert.rule)
        {
            open.alert.news += 1;
            let news = self.notification(&open.alert, rule, NotificationKind::Resolved, Vec::new());
            changes.push(Change::News(Box::new(news), rule.channels.clone()));
        }
        changes.push(Change::Alert(Box::new(open.alert.clone())));
    }

    /// Ends the groups of a rule.
    pub(super) fn end_groups(&mut self, rule: RuleId, end: End, changes: &mut Vec<Change>) {
        let groups: Vec<AlertId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.open.alert.rule == rule)
            .map(|(id, _)| *id)
            .collect();
        for group in groups {
            self.end_group(group, end, None, changes);
        }
    }
}
