//! The engine: from what arrives to what changes.
//!
//! Rows of samples come in, in the order in which reports were applied; out come [`Change`]s: rows to keep, and news
//! to hand to whoever delivers it. The caller writes all changes of a call in one transaction together with how far it
//! has read, so that a crash loses nothing and doubles nothing. After a restart [`Engine::restore`] takes the rows back.
//!
//! Rules are found by the names of metrics, once for each series when it is bound; judging a report looks at nothing
//! but the things whose series are in it. Durations are measured on a clock that goes neither back nor in leaps
//! (`clock`). Bounds: [`SERIES_MAX`] series, [`TARGETS_MAX`] judged things, [`OPEN_MAX`] alerts at a time; what is
//! beyond is not judged, is counted in [`Counts`], and is to be shown.

mod bind;
mod clock;
mod estate;
mod fleet;
mod history;
mod life;
mod news;
mod people;
mod restore;
mod series;
mod slots;
mod target;
mod tick;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use muster_model::{Labels, ResourceKind};

use self::clock::Clock;
use self::estate::Estate;
pub use self::estate::{ResourceFacts, ServerFacts};
use self::fleet::Group;
pub use self::news::number;
pub use self::people::{NOTE_CHARS_MAX, PersonError};
use self::series::{Series, SeriesKey};
use self::slots::Slots;
use self::target::{Target, TargetKey};
use crate::{Alert, AlertId, Mute, Notification, Rule, RuleId};

/// Most series that rules look at.
pub const SERIES_MAX: usize = 1_000_000;
/// Most things that rules judge.
pub const TARGETS_MAX: usize = 500_000;
/// Most alerts that are pending or open at a time.
pub const OPEN_MAX: usize = 20_000;
/// A number counts for at least this long, and for 2.5 times its interval.
const FRESH_MS: i64 = 5 * 60_000;
/// Pending alerts of rules that wait at least this long are kept over restarts.
const KEEP_PENDING_MS: i64 = 60_000;

/// What the engine is set to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most that the clock for durations goes forward in one call, ms.
    pub step_max_ms: i64,
    /// How long the loss of a server waits for that of others before it is told, ms.
    pub group_wait_ms: i64,
    /// How many servers lost together are one alert.
    pub group_min: usize,
    /// Where the controller is reached, for links; without a slash at the end.
    pub public_url: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            step_max_ms: 30_000,
            group_wait_ms: 10_000,
            group_min: 3,
            public_url: None,
        }
    }
}

/// A series as it is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesInfo {
    /// Its server.
    pub server: i64,
    /// Its resource; the server's own number for what is the server's.
    pub resource: i64,
    /// What the resource is.
    pub kind: ResourceKind,
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// How often a sample is expected, ms; 0 if it has no cadence.
    pub interval_ms: u32,
    /// Whether it is one of [`crate::rule::FACTS`] and no series of an agent.
    pub is_fact: bool,
}

/// Stands for a bound series until [`Engine::generation`] changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesSlot(u32);

/// What changes; to be written in order, all in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The row of an alert, new or changed.
    Alert(Box<Alert>),
    /// A pending alert came to nothing: its row goes.
    Forget(AlertId),
    /// News to deliver to these channels; to all if there are none.
    News(Box<Notification>, Vec<i64>),
}

/// What there is of one server.
#[derive(Debug, Default)]
struct Members {
    series: BTreeSet<u32>,
    targets: BTreeSet<u32>,
}

/// What the engine could not do, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Series that are not judged because there are too many.
    pub series_refused: u64,
    /// Things that are not judged because there are too many.
    pub targets_refused: u64,
    /// Alerts that were not opened because there are too many.
    pub alerts_refused: u64,
}

impl Counts {
    /// All of it.
    #[must_use]
    pub const fn not_judged(&self) -> u64 {
        self.series_refused + self.targets_refused + self.alerts_refused
    }
}

/// Judges what arrives. One for a controller; not shared between threads.
pub struct Engine {
    clock: Clock,
    settings: Settings,
    estate: Estate,
    rules: BTreeMap<RuleId, Arc<Rule>>,
    rules_by_metric: HashMap<String, Vec<RuleId>>,
    series: Slots<Series>,
    series_by_key: HashMap<SeriesKey, u32>,
    targets: Slots<Target>,
    target_by_key: HashMap<TargetKey, u32>,
    /// Series and targets of each server.
    by_server: HashMap<i64, Members>,
    /// Where pending and open alerts are.
    by_alert: HashMap<AlertId, u32>,
    /// Targets with an alert, pending or open.
    busy: BTreeSet<u32>,
    /// Targets that are judged by what does not come.
    absences: BTreeSet<u32>,
    /// Targets with history under way.
    tracks: BTreeSet<u32>,
    /// Open alerts of rules that cover, by resource.
    covering: HashMap<i64, BTreeSet<AlertId>>,
    groups: BTreeMap<AlertId, Group>,
    mutes: Vec<Mute>,
    next_alert: AlertId,
    generation: u64,
    server_generations: HashMap<i64, u64>,
    /// Tells whether a target is in `dirty` already.
    stamp: u64,
    dirty: Vec<u32>,
    counts: Counts,
    swept_t: i64,
}

impl Engine {
    /// An engine without rules. `now_ms` is Unix ms; alerts get numbers from `next_alert` on.
    #[must_use]
    pub fn new(now_ms: i64, next_alert: AlertId, settings: Settings) -> Self {
        Self {
            clock: Clock::new(now_ms),
            settings,
            estate: Estate::default(),
            rules: BTreeMap::new(),
            rules_by_metric: HashMap::new(),
            series: Slots::default(),
            series_by_key: HashMap::new(),
            targets: Slots::default(),
            target_by_key: HashMap::new(),
            by_server: HashMap::new(),
            by_alert: HashMap::new(),
            busy: BTreeSet::new(),
            absences: BTreeSet::new(),
            tracks: BTreeSet::new(),
            covering: HashMap::new(),
            groups: BTreeMap::new(),
            mutes: Vec::new(),
            next_alert: next_alert.max(1),
            generation: 1,
            server_generations: HashMap::new(),
            stamp: 0,
            dirty: Vec::new(),
            counts: Counts::default(),
            swept_t: now_ms,
        }
    }

    /// Changes whenever the series of a server have to be bound again: because other rules look at them, or slots are
    /// not theirs any more.
    #[must_use]
    pub fn generation(&self, server: i64) -> u64 {
        self.generation + self.server_generations.get(&server).copied().unwrap_or(0)
    }

    /// What could not be done.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many series are looked at, and how many things are judged.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.series.len(), self.targets.len())
    }

    /// The rules, by number.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values().map(|rule| &**rule)
    }

    /// Sets the silences and windows.
    pub fn set_mutes(&mut self, mutes: Vec<Mute>) {
        self.mutes = mutes;
    }

    /// The pending and open alerts, by number.
    #[must_use]
    pub fn alerts(&self) -> Vec<&Alert> {
        let mut alerts: Vec<&Alert> = self
            .busy
            .iter()
            .filter_map(|slot| self.targets.get(*slot)?.open.as_deref())
            .map(|open| &open.alert)
            .chain(self.groups.values().map(|group| &group.open.alert))
            .collect();
        alerts.sort_unstable_by_key(|alert| alert.id);
        alerts
    }

    /// How many things are judged, and of how many of them there is a number now.
    #[must_use]
    pub fn judged_and_known(&self) -> (usize, usize) {
        let known = self.targets.iter().filter(|(_, target)| {
            self.rules.get(&target.key.rule).is_some_and(|rule| {
                self.value(target, rule, target::Which::Live, self.clock.now_ms())
                    .is_some()
            })
        });
        (self.targets.len(), known.count())
    }

    /// Judges one row: samples of one time, in a report received at `now_ms`. `is_late`: the report came so long after
    /// it was made that it is history. So are samples that a newer one of their series has overtaken: after a break what is
    /// newest comes first, and what was must not end what is.
    pub fn row(
        &mut self,
        now_ms: i64,
        is_late: bool,
        time_ms: i64,
        samples: impl Iterator<Item = (SeriesSlot, f64)>,
        changes: &mut Vec<Change>,
    ) {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        self.stamp += 1;
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.clear();
        let t = self.clock.t();
        let mut overtaken = Vec::new();
        for (slot, value) in samples {
            let Some(series) = self.series.get_mut(slot.0) else {
                continue;
            };
            if is_late {
                series.history.take(time_ms, value, t);
            } else if !series.info.is_fact && series.live.is_overtaken(time_ms) {
                series.history.take(time_ms, value, t);
                overtaken.extend(series.edges.iter().map(|(target, _)| *target));
                continue;
            } else {
                series.live.take(time_ms, value, t);
            }
            for (target, _) in &series.edges {
                if let Some(target_data) = self.targets.get_mut(*target)
                    && target_data.stamp != self.stamp
                {
                    target_data.stamp = self.stamp;
                    dirty.push(*target);
                }
            }
        }
        for target in &dirty {
            if is_late {
                self.judge_history(*target, time_ms, changes);
            } else {
                self.judge(*target, time_ms, changes);
            }
        }
        overtaken.sort_unstable();
        overtaken.dedup();
        for target in overtaken {
            self.judge_history(target, time_ms, changes);
        }
        self.dirty = dirty;
    }

    fn take_alert_id(&mut self) -> AlertId {
        let id = self.next_alert;
        self.next_alert += 1;
        id
    }
}

#[cfg(test)]
pub(crate) mod tests;
