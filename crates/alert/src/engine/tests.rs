mod chaos;
mod late;
mod many;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{AlertState, End, NotificationKind, Severity, mute, rule};

pub(super) const START: i64 = 1_800_000_000_000;
pub(super) const SERVER: i64 = 1;
pub(super) const DISK: i64 = 10;
pub(super) const MINUTE: i64 = 60_000;

/// An engine, the rows it asked to keep, and the news it asked to deliver.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: i64,
    pub(super) rows: BTreeMap<AlertId, Alert>,
    pub(super) news: Vec<Notification>,
    pub(super) rules: Vec<Rule>,
    pub(super) mutes: Vec<Mute>,
}

impl World {
    pub(super) fn new(rules: &[Value]) -> Self {
        let mut world = Self {
            engine: Engine::new(START, 1, Settings::default()),
            now: START,
            rows: BTreeMap::new(),
            news: Vec::new(),
            rules: Vec::new(),
            mutes: Vec::new(),
        };
        world.rules = rules
            .iter()
            .enumerate()
            .map(|(index, body)| rule_of(index as i64 + 1, body))
            .collect();
        world.boot();
        world
    }

    /// Starts the engine from what is kept.
    pub(super) fn boot(&mut self) {
        let mut changes = Vec::new();
        let next = self.rows.keys().max().map_or(1, |id| id + 1);
        self.engine = Engine::new(self.now, next, Settings::default());
        self.engine.set_mutes(self.mutes.clone());
        for rule in self.rules.clone() {
            self.engine.set_rule(self.now, rule, &mut changes);
        }
        let (over, open): (Vec<Alert>, Vec<Alert>) = self
            .rows
            .values()
            .cloned()
            .partition(|alert| alert.state == AlertState::Resolved);
        self.engine.remember(&over);
        self.engine.restore(open, &mut changes);
        let facts = ServerFacts {
            name: "db1".to_owned(),
            tags: vec!["prod".to_owned()],
        };
        self.engine.set_server(self.now, SERVER, facts, &mut changes);
        self.engine.set_connected(self.now, SERVER, true);
        self.commit(changes);
    }

    pub(super) fn commit(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Alert(alert) => {
                    self.rows.insert(alert.id, *alert);
                }
                Change::Forget(id) => {
                    self.rows.remove(&id);
                }
                Change::News(news, _) => self.news.push(*news),
            }
        }
    }

    pub(super) fn act<T>(&mut self, act: impl FnOnce(&mut Engine, i64, &mut Vec<Change>) -> T) -> T {
        let mut changes = Vec::new();
        let result = act(&mut self.engine, self.now, &mut changes);
        self.commit(changes);
        result
    }

    pub(super) fn slot_of(engine: &mut Engine, server: i64, resource: i64) -> Option<SeriesSlot> {
        engine.bind(SeriesInfo {
            server,
            resource,
            kind: ResourceKind::Device,
            name: "smartctl_device_temperature".to_owned(),
            labels: Labels::of(&[("temperature_type", "current")]),
            interval_ms: 10_000,
            is_fact: false,
        })
    }

    /// A temperature of the disk, now.
    pub(super) fn sample(&mut self, value: f64) {
        self.act(|engine, now, changes| {
            let slot = Self::slot_of(engine, SERVER, DISK);
            engine.row(
                now,
                false,
                now,
                slot.map(|slot| (slot, value)).into_iter(),
                changes,
            );
        });
    }

    pub(super) fn fact(&mut self, name: &str, kind: ResourceKind, server: i64, resource: i64, value: f64) {
        self.act(|engine, now, changes| {
            let slot = engine.bind(SeriesInfo {
                server,
                resource,
                kind,
                name: name.to_owned(),
                labels: Labels::default(),
                interval_ms: 10_000,
                is_fact: true,
            });
            engine.row(
                now,
                false,
                now,
                slot.map(|slot| (slot, value)).into_iter(),
                changes,
            );
        });
    }

    pub(super) fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while self.now < end {
            self.now = (self.now + 1_000).min(end);
            self.act(|engine, now, changes| engine.tick(now, changes));
        }
    }

    /// The same temperature every ten seconds.
    pub(super) fn hold(&mut self, value: f64, ms: i64) {
        let end = self.now + ms;
        while self.now < end {
            self.sample(value);
            self.pass(10_000);
        }
    }

    pub(super) fn kinds(&self) -> Vec<NotificationKind> {
        self.news.iter().map(|news| news.kind).collect()
    }

    pub(super) fn state(&self) -> Vec<AlertState> {
        self.rows.values().map(|alert| alert.state).collect()
    }
}

pub(super) fn rule_of(id: i64, body: &Value) -> Rule {
    let mut rule = rule::read(body.clone()).unwrap_or_else(|problems| panic!("{body}: {problems:?}"));
    rule.id = id;
    rule
}

/// Hot above 60, very hot above 70, without waiting.
pub(super) fn hot(extra: &Value) -> Value {
    let mut body = json!({"name": "hot", "metric_name": "temperature_celsius", "condition": "gt",
        "warning_threshold": 60, "critical_threshold": 70, "cooldown": 0});
    for (name, value) in extra.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

use NotificationKind::{Acknowledged, Escalated, Firing, Repeat, Resolved};

#[test]
fn an_alert_fires_escalates_and_is_over_and_each_is_told_once() {
    let mut world = World::new(&[hot(&json!({}))]);
    for value in [50.0, 65.0, 66.0, 75.0, 76.0, 66.0, 50.0, 50.0] {
        world.sample(value);
        world.pass(10_000);
    }
    assert_eq!(world.kinds(), [Firing, Escalated, Resolved]);
    let alert = &world.rows[&1];
    assert_eq!(
        (alert.state, alert.end),
        (AlertState::Resolved, Some(End::Cleared))
    );
    assert_eq!(world.news[1].severity, Severity::Critical);
    assert_eq!(world.news[0].value, Some(65.0));
    // How bad it is stands in a field of its own, and is not said twice.
    assert_eq!(world.news[0].title, "hot: device 10 on db1");
}

#[test]
fn a_condition_that_does_not_hold_for_long_enough_comes_to_nothing() {
    let mut world = World::new(&[hot(&json!({"for": "5m"}))]);
    world.hold(65.0, 4 * MINUTE);
    assert_eq!(world.state(), [AlertState::Pending]);
    world.hold(50.0, MINUTE);
    assert!(world.rows.is_empty() && world.news.is_empty());
    world.hold(65.0, 6 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
}

#[test]
fn a_pending_alert_goes_on_over_a_restart() {
    let mut world = World::new(&[hot(&json!({"for": "5m"}))]);
    world.hold(65.0, 3 * MINUTE);
    world.boot();
    world.hold(65.0, 3 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    assert_eq!(world.rows[&1].started_ms, START);
}

#[test]
fn what_is_not_known_neither_ends_an_alert_nor_makes_one() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    for value in [f64::NAN, f64::INFINITY, muster_model::STALE_NAN] {
        world.sample(value);
        world.pass(20 * MINUTE);
        assert_eq!(world.state(), [AlertState::Active], "{value}");
    }
    assert_eq!(world.kinds(), [Firing]);
}

#[test]
fn a_gap_begins_the_wait_anew() {
    let mut world = World::new(&[hot(&json!({"for": "8m"}))]);
    world.hold(65.0, MINUTE);
    world.pass(7 * MINUTE);
    world.sample(65.0);
    assert!(world.news.is_empty());
    world.hold(65.0, 9 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
}

#[test]
fn between_the_bounds_an_alert_goes_on_until_the_clear_bound() {
    let mut world = World::new(&[hot(&json!({"clear_threshold": 55}))]);
    for value in [65.0, 58.0, 56.0] {
        world.hold(value, MINUTE);
        assert_eq!(world.state(), [AlertState::Active]);
    }
    world.sample(55.0);
    assert_eq!(world.kinds(), [Firing, Resolved]);
}

#[test]
fn people_are_reminded_until_somebody_acknowledges() {
    let mut world = World::new(&[hot(&json!({"repeat": "10m"}))]);
    world.hold(65.0, 25 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Repeat, Repeat]);
    world
        .act(|engine, now, changes| engine.acknowledge(now, 1, "ada", Some("on it"), changes))
        .unwrap();
    world.hold(65.0, 60 * MINUTE);
    assert_eq!(world.kinds()[3..], [Acknowledged]);
    assert_eq!(world.news[3].by.as_deref(), Some("ada"));
    let again = world.act(|engine, now, changes| engine.acknowledge(now, 1, "bob", None, changes));
    assert_eq!(again, Err(PersonError::Acknowledged));
    world.sample(50.0);
    assert_eq!(world.kinds()[4..], [Resolved]);
    assert_eq!(world.rows[&1].state, AlertState::Resolved);
}

#[test]
fn a_snooze_ends_with_a_reminder() {
    let mut world = World::new(&[hot(&json!({"repeat": "5m"}))]);
    world.sample(65.0);
    let until = world.now + 30 * MINUTE;
    world
        .act(|engine, now, changes| engine.snooze(now, 1, Some(until), changes))
        .unwrap();
    world.hold(65.0, 29 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    world.hold(65.0, 2 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Repeat]);
    assert_eq!(world.rows[&1].snoozed_until_ms, None);
}

#[test]
fn what_a_person_resolved_opens_again_after_the_cooldown_if_it_goes_on() {
    let mut world = World::new(&[hot(&json!({"cooldown": "10m"}))]);
    world.sample(65.0);
    world
        .act(|engine, now, changes| engine.resolve(now, 1, "ada", None, changes))
        .unwrap();
    world.hold(65.0, 9 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    world.hold(65.0, 3 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved, Firing]);
    let unknown = world.act(|engine, now, changes| engine.resolve(now, 99, "ada", None, changes));
    assert_eq!(unknown, Err(PersonError::NotOpen));
}

#[test]
fn flapping_is_one_alert_after_the_third_time() {
    let mut world = World::new(&[hot(&json!({}))]);
    for _ in 0..40 {
        world.hold(65.0, 20_000);
        world.hold(50.0, 20_000);
    }
    assert_eq!(world.kinds(), [Firing, Resolved, Firing, Resolved, Firing]);
    world.hold(50.0, 12 * MINUTE);
    assert_eq!(world.kinds()[5..], [Resolved]);
}

#[test]
fn within_the_cooldown_nothing_is_told_and_what_outlasts_it_is() {
    let mut world = World::new(&[hot(&json!({"cooldown": "15m"}))]);
    world.hold(65.0, MINUTE);
    world.hold(50.0, MINUTE);
    world.hold(65.0, MINUTE);
    assert_eq!(world.state(), [AlertState::Resolved, AlertState::Active]);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    world.hold(65.0, 13 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved, Firing]);
}

#[test]
fn worse_than_what_was_told_is_told_within_the_cooldown() {
    let mut world = World::new(&[hot(&json!({"cooldown": "15m"}))]);
    world.hold(65.0, MINUTE);
    world.hold(50.0, MINUTE);
    world.hold(75.0, MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved, Firing]);
}

#[test]
fn a_silence_mutes_news_and_not_judgement_and_what_outlasts_it_is_told() {
    let mut world = World::new(&[hot(&json!({}))]);
    let ends = jiff::Timestamp::from_millisecond(START + 30 * MINUTE)
        .unwrap()
        .to_string();
    let silence = json!({"name": "swap", "scope": {"tags": ["prod"]}, "ends": ends});
    world.mutes = vec![mute::read(silence, START).unwrap()];
    world.boot();
    world.hold(65.0, 10 * MINUTE);
    world.hold(50.0, 5 * MINUTE);
    world.hold(65.0, 14 * MINUTE);
    assert_eq!(world.state(), [AlertState::Resolved, AlertState::Active]);
    assert!(world.news.is_empty());
    world.hold(65.0, 2 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
}

#[test]
fn who_was_told_before_a_silence_is_told_the_end_within_it() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    let silence = json!({"name": "n", "scope": {"resources": [DISK]}, "from": "00:00", "to": "24:00"});
    world.mutes = vec![mute::read(silence, START).unwrap()];
    world.engine.set_mutes(world.mutes.clone());
    world.hold(50.0, MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved]);
}

#[test]
fn a_deleted_or_disabled_rule_ends_its_alerts_and_says_so() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    world.act(|engine, now, changes| engine.remove_rule(now, 1, changes));
    assert_eq!(world.kinds(), [Firing, Resolved]);
    assert_eq!(world.rows[&1].end, Some(End::RuleGone));
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    let disabled = rule_of(1, &hot(&json!({"enabled": false})));
    world.act(|engine, now, changes| engine.set_rule(now, disabled, changes));
    assert_eq!(world.rows[&1].end, Some(End::RuleGone));
}

#[test]
fn a_rule_that_is_edited_while_active_keeps_its_alert_unless_it_judges_something_else() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    let other_bound = rule_of(1, &hot(&json!({"warning_threshold": 63})));
    world.act(|engine, now, changes| engine.set_rule(now, other_bound, changes));
    world.sample(65.0);
    assert_eq!(world.state(), [AlertState::Active]);
    let other_scope = rule_of(1, &hot(&json!({"scope": {"servers": ["other"]}})));
    world.act(|engine, now, changes| engine.set_rule(now, other_scope, changes));
    assert_eq!(world.rows[&1].end, Some(End::RuleChanged));
    assert_eq!(world.kinds(), [Firing, Resolved]);
    world.sample(75.0);
    assert_eq!(world.rows.len(), 1);
}

#[test]
fn a_rule_that_was_edited_during_a_restart_ends_what_it_does_not_judge() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    world.rules = vec![rule_of(1, &hot(&json!({"scope": {"tags": ["lab"]}})))];
    world.boot();
    assert_eq!(world.rows[&1].end, Some(End::RuleChanged));
    assert_eq!(world.kinds(), [Firing, Resolved]);
}

#[test]
fn what_is_gone_ends_its_alerts_without_being_called_well() {
    let mut world = World::new(&[hot(&json!({}))]);
    let disk = ResourceFacts {
        id: DISK,
        kind: ResourceKind::Device,
        name: "sda".to_owned(),
    };
    world.act(|engine, now, changes| engine.set_resources(now, SERVER, vec![disk.clone()], &[], changes));
    world.sample(65.0);
    assert!(
        world.news[0].title.contains("sda on db1"),
        "{}",
        world.news[0].title
    );
    world.act(|engine, now, changes| engine.set_resources(now, SERVER, vec![], &[], changes));
    assert_eq!(world.rows[&1].end, Some(End::Gone));
    assert!(
        world.news[1].text.contains("not there any more"),
        "{}",
        world.news[1].text
    );
    world.boot();
    world.sample(65.0);
    assert_eq!(world.kinds(), [Firing, Resolved, Firing]);
    world.boot();
    world.act(|engine, now, changes| engine.set_resources(now, SERVER, vec![], &[], changes));
    assert_eq!(world.rows[&2].end, Some(End::Gone));
}

#[test]
fn a_series_that_was_said_to_end_takes_its_alert_with_it_after_an_hour() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    world.sample(muster_model::STALE_NAN);
    world.pass(59 * MINUTE);
    assert_eq!(world.state(), [AlertState::Active]);
    world.pass(2 * MINUTE);
    assert_eq!(world.rows[&1].end, Some(End::Gone));
}

#[test]
fn a_lost_server_sends_no_news_of_what_it_has() {
    let mut world = World::new(&[hot(&json!({"repeat": "5m", "for": "1m"}))]);
    world.hold(65.0, 2 * MINUTE);
    world.act(|engine, now, _| engine.set_connected(now, SERVER, false));
    world.pass(10 * 24 * 60 * MINUTE / 10);
    assert_eq!(world.kinds(), [Firing]);
    assert_eq!(world.state(), [AlertState::Active]);
    world.act(|engine, now, _| engine.set_connected(now, SERVER, true));
    world.sample(50.0);
    assert_eq!(world.kinds(), [Firing, Resolved]);
}

#[test]
fn absence_fires_when_nothing_comes_from_a_server_that_is_heard() {
    let absent =
        json!({"name": "silent", "kind": "absence", "metric_name": "temperature_celsius", "for": "10m"});
    let mut world = World::new(&[absent]);
    world.hold(50.0, 2 * MINUTE);
    world.pass(9 * MINUTE);
    assert!(world.news.is_empty());
    world.pass(2 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    world.hold(50.0, MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    world.act(|engine, now, _| engine.set_connected(now, SERVER, false));
    world.pass(60 * MINUTE);
    world.act(|engine, now, _| engine.set_connected(now, SERVER, true));
    world.pass(9 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    world.pass(2 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved, Firing]);
}

#[test]
fn a_clock_that_jumps_changes_no_verdict() {
    for jump in [
        3_600_000,
        -3_600_000,
        86_400_000,
        -86_400_000,
        -START,
        378_000_000_000,
    ] {
        let absent =
            json!({"name": "silent", "kind": "absence", "metric_name": "temperature_celsius", "for": "10m"});
        let mut world = World::new(&[hot(&json!({"for": "5m", "repeat": "1h"})), absent]);
        world.hold(65.0, 3 * MINUTE);
        world.now += jump;
        world.hold(65.0, MINUTE);
        assert!(world.news.is_empty(), "{jump}: {:?}", world.kinds());
        world.hold(65.0, 2 * MINUTE);
        assert_eq!(world.kinds(), [Firing], "{jump}");
        world.now -= jump;
        world.hold(65.0, 2 * MINUTE);
        assert_eq!(world.kinds(), [Firing], "{jump}");
        world.sample(50.0);
        assert_eq!(world.kinds(), [Firing, Resolved], "{jump}");
    }
}

#[test]
fn growth_fires_on_any_increase_and_is_clear_only_when_the_window_is_whole() {
    let grows = json!({"name": "grows", "kind": "growth", "metric_name": "temperature_celsius", "threshold": 0,
        "window": "1h"});
    let mut world = World::new(&[grows]);
    world.hold(5.0, 10 * MINUTE);
    world.hold(6.0, 50 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    world.hold(6.0, 25 * MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    world.boot();
    world.hold(7.0, MINUTE);
    world.hold(8.0, MINUTE);
    assert_eq!(world.kinds()[2..], [Firing]);
    world.boot();
    world.hold(8.0, 50 * MINUTE);
    assert_eq!(
        world.kinds()[2..],
        [Firing],
        "a restart forgets the window, and that is not being clear"
    );
}

#[test]
fn what_changes_on_one_server_does_not_have_the_series_of_others_bound_again() {
    let mut world = World::new(&[hot(&json!({}))]);
    let facts = |name: &str| ServerFacts {
        name: name.to_owned(),
        tags: vec![],
    };
    world.act(|engine, now, changes| engine.set_server(now, 2, facts("db2"), changes));
    let (one, two) = (world.engine.generation(SERVER), world.engine.generation(2));
    world.act(|engine, now, changes| engine.set_server(now, 2, facts("renamed"), changes));
    assert_eq!(world.engine.generation(SERVER), one);
    assert!(two < world.engine.generation(2));
    let other = rule_of(2, &hot(&json!({"name": "other"})));
    world.act(|engine, now, changes| engine.set_rule(now, other, changes));
    assert!(one < world.engine.generation(SERVER));
}
