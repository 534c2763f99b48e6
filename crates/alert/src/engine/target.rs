//! What a rule judges: one thing, made of the series of one resource, and the number and verdict on it.

use muster_model::{Labels, ResourceKind};

use super::history::Track;
use super::series::{Lane, Series};
use super::window::Window;
use super::{Engine, FRESH_MS};
use crate::rule::Formula;
use crate::{Alert, Rule, RuleId, RuleKind, Verdict};

/// How many openings within [`FLAP_WINDOW_MS`] make an alert a flapping one.
pub(super) const FLAPS: usize = 3;
/// Openings longer ago do not count as flapping.
pub(super) const FLAP_WINDOW_MS: i64 = 3_600_000;

/// What names a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TargetKey {
    pub(super) rule: RuleId,
    pub(super) server: i64,
    pub(super) resource: i64,
    pub(super) labels: Labels,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) key: TargetKey,
    pub(super) kind: ResourceKind,
    /// Series and their parts.
    pub(super) inputs: Vec<(u32, usize)>,
    pub(super) window: Option<Box<Window>>,
    pub(super) stamp: u64,
    pub(super) open: Option<Box<Open>>,
    pub(super) track: Option<Box<Track>>,
    pub(super) recent: Recent,
}

/// What is remembered of alerts that are over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recent {
    /// When people were last told that it fires, and how badly.
    pub(super) told: Option<(i64, crate::Severity)>,
    /// When alerts opened, the oldest first; 0 is never.
    pub(super) opens: [i64; FLAPS],
    /// A person resolved it: not before this does it open again.
    pub(super) not_before_t: i64,
}

/// A pending or open alert.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) alert: Alert,
    /// Since when the condition holds without a break.
    pub(super) since_t: i64,
    /// When a verdict came last that was none of holding.
    pub(super) heard_t: i64,
    /// When people were told last.
    pub(super) told_t: Option<i64>,
    /// Since when it is clear, while that is not believed.
    pub(super) calm_t: Option<i64>,
    /// When it became active.
    pub(super) active_t: i64,
    /// When its row was written last.
    pub(super) written_t: i64,
    /// Whether its row is kept.
    pub(super) is_kept: bool,
    /// Whether it was judged since it was restored, or when it was restored.
    pub(super) restored_t: Option<i64>,
    /// Its snooze has just ended: people are to be reminded.
    pub(super) is_reminder_due: bool,
}

/// Which numbers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Live,
    History,
}

impl Target {
    /// Whether it opened so often of late that being clear for a moment says nothing.
    pub(super) fn is_flapping(&self, t: i64) -> bool {
        let oldest = self.recent.opens[0];
        0 < oldest && t - oldest < FLAP_WINDOW_MS
    }
}

impl Engine {
    /// The number of a target at `time_ms`; `None` if it cannot be told.
    pub(super) fn value(&self, target: &Target, rule: &Rule, which: Which, time_ms: i64) -> Option<f64> {
        let lanes = |role: usize| {
            target
                .inputs
                .iter()
                .filter(move |(_, part)| *part == role)
                .filter_map(|(slot, _)| self.series.get(*slot))
                .filter_map(move |series| self.lane(series, which, time_ms).map(|lane| (series, lane)))
        };
        let finite = |value: f64| value.is_finite().then_some(value);
        match rule.plan.formula {
            Formula::Value(divisor) => lanes(0)
                .map(|(_, lane)| lane.value / divisor)
                .filter(|value| value.is_finite())
                .reduce(f64::max),
            Formula::Rate => lanes(0).find_map(|(series, lane)| lane.rate(series.fresh_ms())),
            Formula::Age => lanes(0).find_map(|(_, lane)| finite(time_ms as f64 / 1_000.0 - lane.value)),
            Formula::PercentUsed => {
                let left = lanes(0).next()?.1.value;
                let whole = lanes(1).next()?.1.value;
                finite(100.0 * (1.0 - left / whole)).filter(|_| 0.0 < whole)
            }
            Formula::PercentBusy => {
                let rates: Vec<f64> = lanes(0)
                    .filter_map(|(series, lane)| lane.rate(series.fresh_ms()))
                    .collect();
                if rates.is_empty() {
                    return None;
                }
                let mean = rates.iter().sum::<f64>() / rates.len() as f64;
                finite(100.0 * (1.0 - mean.min(1.0)))
            }
            Formula::PerCount => {
                let count = lanes(1).count();
                finite(lanes(0).next()?.1.value / count as f64)
            }
            Formula::OldestOf => lanes(0)
                .map(|(_, lane)| lane.value)
                .chain(lanes(1).map(|(_, lane)| time_ms as f64 / 1_000.0 - lane.value))
                .filter(|value| value.is_finite())
                .reduce(f64::max),
        }
    }

    /// A series' numbers, if they are fresh enough to count.
    fn lane<'a>(&self, series: &'a Series, which: Which, time_ms: i64) -> Option<&'a Lane> {
        let (lane, is_fresh) = match which {
            Which::Live => (
                &series.live,
                self.clock.t().saturating_sub(series.live.heard_t) <= series.fresh_ms(),
            ),
            Which::History => (
                &series.history,
                time_ms.saturating_sub(series.history.time_ms) <= series.fresh_ms(),
            ),
        };
        (is_fresh && !lane.is_ended).then_some(lane)
    }

    /// The number of a target and the verdict on it. Growth and forecast take the number into their window.
    pub(super) fn verdict(&mut self, slot: u32, rule: &Rule, time_ms: i64) -> (Option<f64>, Verdict) {
        let t = self.clock.t();
        let Some(target) = self.targets.get(slot) else {
            return (None, Verdict::Hold);
        };
        if rule.kind == RuleKind::Absence {
            return (None, self.absence(target, rule));
        }
        let value = self.value(target, rule, Which::Live, time_ms);
        if rule.kind == RuleKind::Threshold {
            return (value, rule.levels.judge(value));
        }
        let Some(value) = value else {
            return (None, Verdict::Hold);
        };
        let Some(target) = self.targets.get_mut(slot) else {
            return (None, Verdict::Hold);
        };
        let window = target.window.get_or_insert_default();
        window.push(t, value, rule.window_ms);
        if rule.kind == RuleKind::Growth {
            let is_upward = rule.levels.comparison.is_upward() != Some(false);
            let growth = if is_upward {
                window.growth()
            } else {
                window.decline()
            };
            let verdict = match rule.levels.judge(growth) {
                // What is not known of the window's beginning may have grown.
                Verdict::Clear if !window.is_whole(t, rule.window_ms) => Verdict::Hold,
                verdict => verdict,
            };
            return (growth, verdict);
        }
        let ahead = window.forecast(t, rule.window_ms, rule.horizon_ms);
        let counts = rule
            .only_past
            .is_none_or(|bound| rule.levels.comparison.holds(value, bound));
        let verdict = if counts {
            rule.levels.judge(ahead)
        } else {
            Verdict::Clear
        };
        (ahead, verdict)
    }

    /// Whether nothing has come for long while the server was heard all the time.
    fn absence(&self, target: &Target, rule: &Rule) -> Verdict {
        let t = self.clock.t();
        let Some(connected_t) = self.estate.connected_t(target.key.server) else {
            return Verdict::Hold;
        };
        let heard_t = target
            .inputs
            .iter()
            .filter_map(|(slot, _)| self.series.get(*slot))
            .filter(|series| !series.live.is_ended)
            .map(|series| series.live.heard_t.max(series.bound_t))
            .max();
        let ended_t = target
            .inputs
            .iter()
            .filter_map(|(slot, _)| self.series.get(*slot))
            .map(|series| series.live.heard_t)
            .max();
        match heard_t.or(ended_t) {
            None => Verdict::Hold,
            Some(last_t) if t - last_t.max(connected_t) < rule.for_ms => {
                let has_come = heard_t.is_some_and(|heard_t| t - heard_t < rule.for_ms);
                if has_come { Verdict::Clear } else { Verdict::Hold }
            }
            Some(_) => Verdict::Firing(rule.severity),
        }
    }

    /// How long a number of the target counts, ms.
    pub(super) fn patience_ms(&self, target: &Target) -> i64 {
        target
            .inputs
            .iter()
            .filter_map(|(slot, _)| self.series.get(*slot))
            .map(Series::fresh_ms)
            .max()
            .unwrap_or(FRESH_MS)
    }
}
