//! History: what came so late that it tells of what was, not of what is.
//!
//! Conditions that held meanwhile become alerts that are over, marked late, of which nobody is told. What reaches up to
//! the present belongs to the alert that is open: that one began earlier than was known. Growth, absence and forecast
//! are not judged backwards: they are about what is to come.

use std::sync::Arc;

use super::life::blank;
use super::target::Which;
use super::{Change, Engine};
use crate::{AlertState, End, RuleKind, Severity, Verdict};

/// A track that nothing was added to for this long is over, ms.
const IDLE_MS: i64 = 10 * 60_000;

/// A condition that held in the past.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    since_ms: i64,
    last_ms: i64,
    severity: Severity,
    value: Option<f64>,
    touched_t: i64,
}

impl Engine {
    pub(super) fn judge_history(&mut self, slot: u32, time_ms: i64, changes: &mut Vec<Change>) {
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        let Some(rule) = self.rules.get(&target.key.rule).map(Arc::clone) else {
            return;
        };
        if rule.kind != RuleKind::Threshold {
            return;
        }
        let value = self.value(target, &rule, Which::History, time_ms);
        let patience_ms = self.patience_ms(target);
        let t = self.clock.t();
        match rule.levels.judge(value) {
            Verdict::Hold => {}
            Verdict::Clear => self.close_track(slot, changes),
            Verdict::Firing(severity) => {
                let goes_on = target.track.as_deref().is_some_and(|track| {
                    (track.last_ms..=track.last_ms.saturating_add(patience_ms)).contains(&time_ms)
                });
                if !goes_on {
                    self.close_track(slot, changes);
                }
                let Some(target) = self.targets.get_mut(slot) else {
                    return;
                };
                let track = target.track.get_or_insert_with(|| {
                    Box::new(Track {
                        since_ms: time_ms,
                        last_ms: time_ms,
                        severity,
                        value,
                        touched_t: t,
                    })
                });
                track.last_ms = time_ms;
                track.touched_t = t;
                if track.severity <= severity {
                    track.severity = severity;
                    track.value = value;
                }
                self.tracks.insert(slot);
            }
        }
    }

    /// Makes an alert that is over of a track, if the condition held for long enough.
    pub(super) fn close_track(&mut self, slot: u32, changes: &mut Vec<Change>) {
        self.tracks.remove(&slot);
        let Some(target) = self.targets.get_mut(slot) else {
            return;
        };
        let Some(track) = target.track.take() else { return };
        let Some(rule) = self.rules.get(&target.key.rule) else {
            return;
        };
        let rule = Arc::clone(rule);
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        let patience_ms = self.patience_ms(target);
        if let Some(open) = &target.open
            && open.alert.started_ms <= track.last_ms.saturating_add(patience_ms)
        {
            let is_earlier = track.since_ms < open.alert.started_ms;
            if is_earlier
                && let Some(open) = self.targets.get_mut(slot).and_then(|target| target.open.as_mut())
            {
                open.alert.started_ms = track.since_ms;
                let is_kept = open.is_kept;
                self.write(slot, is_kept, changes);
            }
            return;
        }
        if track.last_ms - track.since_ms < rule.for_ms {
            return;
        }
        let id = self.take_alert_id();
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        let mut alert = blank(target, &rule, id, track.severity, track.since_ms);
        alert.state = AlertState::Resolved;
        alert.value = track.value;
        alert.active_ms = Some(track.since_ms);
        alert.ended_ms = Some(track.last_ms);
        alert.end = Some(End::Cleared);
        alert.is_late = true;
        changes.push(Change::Alert(Box::new(alert)));
    }

    /// Closes tracks that nothing was added to for a while.
    pub(super) fn close_idle_tracks(&mut self, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let idle: Vec<u32> = self
            .tracks
            .iter()
            .filter(|slot| {
                self.targets
                    .get(**slot)
                    .and_then(|target| target.track.as_deref())
                    .is_none_or(|track| IDLE_MS <= t - track.touched_t)
            })
            .copied()
            .collect();
        for slot in idle {
            self.close_track(slot, changes);
        }
    }
}
