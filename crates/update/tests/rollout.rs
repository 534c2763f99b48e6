//! Roll-outs on a clock that is set: waves, gates, and an end between any two steps.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use muster_update::{Action, Gate, MemberState, Rollout, RolloutBody, RolloutState, Wave, step};

const MINUTE: i64 = 60_000;

fn plan(servers: i64) -> Rollout {
    let body = RolloutBody {
        name: "nginx".to_owned(),
        ..RolloutBody::default()
    };
    let updates: Vec<(i64, i64, i64)> = (1..=servers).map(|n| (n, 100 + n, n)).collect();
    Rollout::plan(&body, &updates).unwrap()
}

/// Servers whose updates end after a minute, as the given function says.
struct Fleet<F: Fn(i64) -> MemberState> {
    outcome: F,
    began_ms: BTreeMap<i64, i64>,
    starts: u64,
}

impl<F: Fn(i64) -> MemberState> Fleet<F> {
    fn new(outcome: F) -> Self {
        Self {
            outcome,
            began_ms: BTreeMap::new(),
            starts: 0,
        }
    }

    fn act(&mut self, actions: &[Action], now_ms: i64) {
        for Action::Start(update) in actions {
            // Begun under the same id again is not begun again.
            self.began_ms.entry(*update).or_insert_with(|| {
                self.starts += 1;
                now_ms
            });
        }
    }

    fn gate(&self, now_ms: i64) -> Gate {
        let over = self
            .began_ms
            .iter()
            .filter(|(_, began)| **began + MINUTE <= now_ms);
        Gate {
            over: over
                .map(|(update, _)| (*update, (self.outcome)(*update)))
                .collect(),
            ..Gate::default()
        }
    }

    /// Runs until nothing goes on, at most for a week; written down before each deed.
    fn run(&mut self, rollout: &mut Rollout, forgets: bool) -> i64 {
        let mut now_ms = 0;
        while rollout.state == RolloutState::Running && now_ms < 7 * 24 * 60 * MINUTE {
            let (next, actions) = step(rollout, &self.gate(now_ms), now_ms);
            let stored = serde_json::to_string(&next).unwrap();
            *rollout = serde_json::from_str(&stored).unwrap();
            if forgets && now_ms % 15_000 == 0 {
                // The end comes after it was written down and before it was done.
                let (_, again) = step(rollout, &self.gate(now_ms), now_ms);
                self.act(&again, now_ms);
            } else {
                self.act(&actions, now_ms);
            }
            now_ms += 5_000;
        }
        now_ms
    }
}

#[test]
fn waves_are_one_then_five_then_twenty_five_then_all() {
    let rollout = plan(100);
    let mut sizes = vec![0; rollout.waves.len()];
    for member in &rollout.members {
        sizes[member.wave] += 1;
    }
    assert_eq!(sizes, [1, 4, 20, 75]);
    // Of few, there are fewer waves.
    assert_eq!(plan(1).waves, [Wave::Servers(1)]);
    let few = plan(2);
    assert_eq!(
        few.members.iter().map(|member| member.wave).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn a_good_update_reaches_everybody_and_each_wave_soaks() {
    let mut rollout = plan(100);
    let mut fleet = Fleet::new(|_| MemberState::Completed);
    let took_ms = fleet.run(&mut rollout, false);
    assert_eq!(rollout.state, RolloutState::Completed, "{}", rollout.reason);
    assert!(4 * 10 * MINUTE <= took_ms);
    assert_eq!(fleet.starts, 100);
    println!("100 servers in {} min", took_ms / MINUTE);
}

/// S30
#[test]
fn an_update_that_kills_stops_at_the_first_server() {
    let mut rollout = plan(100);
    let mut fleet = Fleet::new(|_| MemberState::Failed);
    fleet.run(&mut rollout, false);
    assert_eq!(rollout.state, RolloutState::Stopped);
    assert_eq!(fleet.starts, 1, "{}", rollout.reason);
}

/// S30
#[test]
fn a_server_that_is_silent_or_alerts_after_its_update_stops_it_while_it_soaks() {
    let mut rollout = plan(100);
    let mut fleet = Fleet::new(|_| MemberState::Completed);
    for n in 0..20 {
        let (next, actions) = step(&rollout, &fleet.gate(n * 5_000), n * 5_000);
        rollout = next;
        fleet.act(&actions, n * 5_000);
    }
    assert_eq!(rollout.reached_servers(), [1]);
    for gate in [
        Gate {
            silent_servers: vec![1],
            ..fleet.gate(100_000)
        },
        Gate {
            new_alerts: vec!["nginx is down".to_owned()],
            ..fleet.gate(100_000)
        },
    ] {
        let (stopped, actions) = step(&rollout, &gate, 100_000);
        assert_eq!((stopped.state, actions), (RolloutState::Stopped, vec![]));
        assert!(!stopped.reason.is_empty());
    }
}

#[test]
fn in_later_waves_more_than_five_percent_stop_it() {
    // Of the third wave's twenty (servers 6 to 25) one may fail, and not two.
    for (bad, expected) in [
        (vec![10], RolloutState::Completed),
        (vec![10, 11], RolloutState::Stopped),
    ] {
        let mut rollout = plan(100);
        let mut fleet = Fleet::new(|update| {
            if bad.contains(&update) {
                MemberState::Failed
            } else {
                MemberState::Completed
            }
        });
        fleet.run(&mut rollout, false);
        assert_eq!(rollout.state, expected, "{bad:?}: {}", rollout.reason);
    }
}

#[test]
fn an_end_between_writing_down_and_doing_loses_and_doubles_nothing() {
    let mut rollout = plan(40);
    let mut fleet = Fleet::new(|_| MemberState::Completed);
    fleet.run(&mut rollout, true);
    assert_eq!(rollout.state, RolloutState::Completed, "{}", rollout.reason);
    assert_eq!(fleet.starts, 40);
}

#[test]
fn while_frozen_paused_stopped_or_aborted_nothing_begins() {
    let frozen = Gate {
        freeze: Some("holidays".to_owned()),
        ..Gate::default()
    };
    assert_eq!(step(&plan(5), &frozen, 0).1, []);
    let mut paused = plan(5);
    assert!(paused.pause("anna") && !paused.pause("anna"));
    assert_eq!(step(&paused, &Gate::default(), 0).1, []);
    assert!(paused.resume(0));
    assert_eq!(step(&paused, &Gate::default(), 0).1, [Action::Start(1)]);
    assert!(paused.abort("anna") && !paused.abort("anna") && !paused.resume(0));
    assert_eq!(step(&paused, &Gate::default(), 0).1, []);
    assert!(
        paused
            .members
            .iter()
            .all(|member| member.state == MemberState::Skipped)
    );
}

#[test]
fn what_was_stopped_goes_on_when_somebody_says_so() {
    let mut rollout = plan(10);
    let (next, _) = step(&rollout, &Gate::default(), 0);
    let failed = Gate {
        over: vec![(1, MemberState::Failed)],
        ..Gate::default()
    };
    let (next, _) = step(&next, &failed, 5_000);
    assert_eq!(next.state, RolloutState::Stopped);
    rollout = next;
    assert!(rollout.resume(10_000));
    let mut now_ms = 10_000;
    while rollout.wave == 0 {
        rollout = step(&rollout, &Gate::default(), now_ms).0;
        assert_eq!(rollout.state, RolloutState::Running, "{}", rollout.reason);
        now_ms += 5_000;
    }
    assert!(10 * MINUTE <= now_ms, "it soaks all the same");
}

#[test]
fn the_canary_is_the_server_that_was_named() {
    let body = RolloutBody {
        name: "nginx".to_owned(),
        canary_server_id: Some(7),
        soak_s: Some(0),
        ..RolloutBody::default()
    };
    let updates: Vec<(i64, i64, i64)> = (1..=9).map(|n| (n, 100 + n, n)).collect();
    let rollout = Rollout::plan(&body, &updates).unwrap();
    assert_eq!(step(&rollout, &Gate::default(), 0).1, [Action::Start(7)]);
    for (body, field) in [
        (
            RolloutBody {
                canary_server_id: Some(70),
                ..body.clone()
            },
            "canary_server_id",
        ),
        (
            RolloutBody {
                soak_s: Some(-1),
                ..body.clone()
            },
            "soak_s",
        ),
        (
            RolloutBody {
                waves: Some(vec![]),
                ..body.clone()
            },
            "waves",
        ),
        (
            RolloutBody {
                waves: Some(vec![Wave::Percent(0)]),
                ..body.clone()
            },
            "waves",
        ),
        (
            RolloutBody {
                name: String::new(),
                ..body
            },
            "name",
        ),
    ] {
        assert_eq!(Rollout::plan(&body, &updates).unwrap_err()[0].field, field);
    }
}
