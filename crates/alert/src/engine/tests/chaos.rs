//! Anything in any order: no alert is lost, none is told more often than it should, none is stuck.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Sample(f64),
    Pass(i64),
    Late(i64, f64),
    /// The controller is killed: what the step before changed is kept, or not.
    Restart,
    /// The same, while this sample was being judged: its changes are lost, and it is judged again.
    Crash(f64),
    Edit(f64),
    Delete,
    Restore,
    Gone,
    Connected(bool),
    Jump(i64),
    Acknowledge,
    Resolve,
    Snooze(i64),
    Silence(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let value = || {
        prop_oneof![4 => Just(50.0), 3 => Just(65.0), 2 => Just(75.0), 1 => Just(58.0), 1 => Just(f64::NAN),
        1 => Just(muster_model::STALE_NAN)]
    };
    prop_oneof![
        10 => value().prop_map(Step::Sample),
        6 => (1_000i64..400_000).prop_map(Step::Pass),
        2 => ((70_000i64..7_200_000), value()).prop_map(|(ago, value)| Step::Late(ago, value)),
        2 => Just(Step::Restart),
        2 => value().prop_map(Step::Crash),
        1 => prop_oneof![Just(60.0), Just(62.0)].prop_map(Step::Edit),
        1 => Just(Step::Delete),
        2 => Just(Step::Restore),
        1 => Just(Step::Gone),
        1 => any::<bool>().prop_map(Step::Connected),
        1 => prop_oneof![-90_000_000i64..90_000_000, Just(378_000_000_000)].prop_map(Step::Jump),
        1 => Just(Step::Acknowledge),
        1 => Just(Step::Resolve),
        1 => (1_000i64..600_000).prop_map(Step::Snooze),
        1 => (1_000i64..600_000).prop_map(Step::Silence),
    ]
}

fn body(for_s: i64, bound: f64) -> Value {
    hot(
        &json!({"for": for_s, "warning_threshold": bound, "cooldown": "5m", "repeat": "10m", "clear_threshold": 55}),
    )
}

fn disk(world: &mut World) {
    let disk = ResourceFacts {
        id: DISK,
        kind: ResourceKind::Device,
        name: "sda".to_owned(),
    };
    world.act(|engine, now, changes| engine.set_resources(now, SERVER, vec![disk], &[], changes));
}

fn apply(world: &mut World, for_s: i64, step: &Step) {
    match step {
        Step::Sample(value) => world.sample(*value),
        Step::Pass(ms) => world.pass(*ms),
        Step::Late(ago, value) => world.act(|engine, now, changes| {
            let slot = World::slot_of(engine, SERVER, DISK);
            engine.row(
                now,
                true,
                now - ago,
                slot.map(|slot| (slot, *value)).into_iter(),
                changes,
            );
        }),
        Step::Restart => restart(world),
        Step::Crash(value) => {
            let mut lost = Vec::new();
            let now = world.now;
            let slot = World::slot_of(&mut world.engine, SERVER, DISK);
            world.engine.row(
                now,
                false,
                now,
                slot.map(|slot| (slot, *value)).into_iter(),
                &mut lost,
            );
            restart(world);
            world.sample(*value);
        }
        Step::Edit(bound) => {
            let rule = rule_of(1, &body(for_s, *bound));
            world.rules = vec![rule.clone()];
            world.act(|engine, now, changes| engine.set_rule(now, rule, changes));
        }
        Step::Delete => {
            world.rules.clear();
            world.act(|engine, now, changes| engine.remove_rule(now, 1, changes));
        }
        Step::Restore => apply(world, for_s, &Step::Edit(60.0)),
        Step::Gone => {
            world.act(|engine, now, changes| engine.set_resources(now, SERVER, vec![], &[], changes));
            disk(world);
        }
        Step::Connected(is_connected) => {
            world.act(|engine, now, _| engine.set_connected(now, SERVER, *is_connected));
        }
        Step::Jump(ms) => world.now = (world.now + ms).max(0),
        Step::Acknowledge | Step::Resolve | Step::Snooze(_) => people(world, step),
        Step::Silence(ms) => {
            world.mutes = vec![Mute {
                id: 1,
                name: "n".to_owned(),
                enabled: true,
                scope: crate::MuteScope {
                    everything: true,
                    ..crate::MuteScope::default()
                },
                schedule: crate::Schedule::Once {
                    start_ms: world.now,
                    end_ms: world.now + ms,
                },
            }];
            world.engine.set_mutes(world.mutes.clone());
        }
    }
}

fn people(world: &mut World, step: &Step) {
    let open: Vec<AlertId> = world.engine.alerts().iter().map(|alert| alert.id).collect();
    for id in open {
        let until = world.now;
        let _ = world.act(|engine, now, changes| match step {
            Step::Acknowledge => engine.acknowledge(now, id, "ada", None, changes),
            Step::Resolve => engine.resolve(now, id, "ada", None, changes),
            Step::Snooze(ms) => engine.snooze(now, id, Some(until + ms), changes),
            _ => Ok(()),
        });
    }
}

fn restart(world: &mut World) {
    world.boot();
    disk(world);
}

/// What must be true of every story so far.
fn check(world: &World) {
    let mut told: BTreeMap<AlertId, Vec<NotificationKind>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for news in &world.news {
        assert!(ids.insert(news.id.clone()), "{} twice", news.id);
        told.entry(news.alert.id).or_default().push(news.kind);
    }
    for (id, kinds) in &told {
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        assert_eq!(kinds[0], Firing, "alert {id} begins with {kinds:?}");
        assert_eq!(count(Firing), 1, "alert {id}: {kinds:?}");
        assert!(
            count(Resolved) <= 1 && count(Acknowledged) <= 1 && count(Escalated) <= 2,
            "alert {id}: {kinds:?}"
        );
        let alert = world.rows.get(id).expect("who was told can look it up");
        let is_over = alert.state == AlertState::Resolved;
        assert_eq!(
            kinds.last() == Some(&Resolved),
            is_over,
            "alert {id}: {kinds:?}, {:?}",
            alert.state
        );
    }
    for alert in world.rows.values() {
        assert_eq!(
            alert.told.is_some(),
            told.contains_key(&alert.id),
            "alert {}",
            alert.id
        );
        assert_eq!(
            alert.state == AlertState::Resolved,
            alert.ended_ms.is_some() && alert.end.is_some()
        );
        assert!(
            alert.ended_ms.is_none_or(|ended| alert.started_ms <= ended),
            "{alert:?}"
        );
    }
    let kept: Vec<AlertId> = world
        .rows
        .values()
        .filter(|alert| alert.state != AlertState::Resolved)
        .map(|alert| alert.id)
        .collect();
    let open: Vec<AlertId> = world.engine.alerts().iter().map(|alert| alert.id).collect();
    assert!(
        kept.iter().all(|id| open.contains(id)),
        "kept {kept:?}, known {open:?}"
    );
    assert!(open.len() <= 1, "one alert for one thing: {open:?}");
}

fn play(for_s: i64, steps: &[Step]) {
    let mut world = World::new(&[body(for_s, 60.0)]);
    disk(&mut world);
    for step in steps {
        apply(&mut world, for_s, step);
        check(&world);
    }
    // None is lost: with the rule there, the server heard and no silence, what fires is told.
    world.mutes.clear();
    world.engine.set_mutes(Vec::new());
    world.act(|engine, now, _| engine.set_connected(now, SERVER, true));
    if world.rules.is_empty() {
        apply(&mut world, for_s, &Step::Edit(60.0));
    }
    world.hold(75.0, for_s * 1_000 + 25 * MINUTE);
    check(&world);
    let open = world.engine.alerts();
    assert!(
        open.len() == 1 && open[0].told == Some(Severity::Critical),
        "lost: {open:?}"
    );
    // None is stuck: what is clear is over.
    world.hold(50.0, 15 * MINUTE);
    check(&world);
    assert!(
        world.engine.alerts().is_empty(),
        "stuck: {:?}",
        world.engine.alerts()
    );
}

fn cases() -> u32 {
    if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        1_500
    } else {
        200
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// D14: whatever happens, in any order, killed at any step.
    #[test]
    fn no_alert_is_lost_told_twice_or_stuck_whatever_happens(
        for_s in prop_oneof![Just(0i64), Just(30), Just(120)],
        steps in prop::collection::vec(step(), 1..40),
    ) {
        play(for_s, &steps);
    }
}
