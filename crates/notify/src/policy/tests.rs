use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_763_820_000_000;
const AT_ONCE: Policy = Policy {
    merges: true,
    digest: None,
    per_minute: 20,
};

fn news(id: i64, lane: i64) -> Waiting {
    Waiting {
        id,
        lane,
        is_urgent: false,
        is_alone: false,
        created_ms: NOW,
        due_ms: NOW,
        attempts: 0,
    }
}

fn ids(plan: Plan) -> Vec<i64> {
    match plan {
        Plan::Send(sent) => sent.iter().map(|news| news.id).collect(),
        other => panic!("nothing is sent: {other:?}"),
    }
}

const LATER: Outcome = Outcome::Temporary {
    blame: Blame::Message,
    retry_after: None,
};
const DOWN: Outcome = Outcome::Temporary {
    blame: Blame::Channel,
    retry_after: None,
};

#[test]
fn a_resolve_waits_for_its_alert_and_for_nothing_else() {
    let mut flow = Flow::new(&AT_ONCE, NOW);
    let mut first = news(1, 10);
    first.due_ms = NOW + 60_000;
    let waiting = [first, news(2, 10), news(3, 11)];
    assert_eq!(ids(flow.plan(&AT_ONCE, &waiting, NOW)), [3]);
    assert_eq!(
        flow.plan(&AT_ONCE, &waiting[..2], NOW),
        Plan::Wait(Duration::from_secs(60))
    );
    assert_eq!(ids(flow.plan(&AT_ONCE, &waiting[..2], NOW + 60_000)), [1]);
}

#[test]
fn what_is_more_than_the_rate_allows_is_told_of_together() {
    let policy = Policy {
        per_minute: 2,
        ..AT_ONCE
    };
    let mut flow = Flow::new(&policy, NOW);
    let waiting: Vec<Waiting> = (0..5).map(|id| news(id, id)).collect();
    assert_eq!(ids(flow.plan(&policy, &waiting, NOW)), [0, 1, 2, 3, 4]);
    assert_eq!(ids(flow.plan(&policy, &waiting[..1], NOW)), [0]);
    let Plan::Wait(wait) = flow.plan(&policy, &waiting, NOW) else {
        panic!()
    };
    assert_eq!(wait, Duration::from_millis(30_001));
    let apart = Policy {
        merges: false,
        ..policy
    };
    let mut flow = Flow::new(&apart, NOW);
    assert_eq!(ids(flow.plan(&apart, &waiting, NOW)), [0]);
}

#[test]
fn news_are_collected_until_the_time_is_up_or_something_is_urgent() {
    let policy = Policy {
        digest: Some(Duration::from_secs(600)),
        ..AT_ONCE
    };
    let mut flow = Flow::new(&policy, NOW);
    let mut waiting = vec![news(1, 1), news(2, 2)];
    assert_eq!(
        flow.plan(&policy, &waiting, NOW + 1_000),
        Plan::Wait(Duration::from_secs(599))
    );
    assert_eq!(ids(flow.plan(&policy, &waiting, NOW + 600_000)), [1, 2]);
    waiting.push(Waiting {
        is_urgent: true,
        ..news(3, 3)
    });
    assert_eq!(ids(flow.plan(&policy, &waiting, NOW + 1_000)), [1, 2, 3]);
    // A clock that went back a year does not make it a year.
    assert_eq!(
        ids(flow.plan(&policy, &waiting[..2], NOW - 31_536_000_000)),
        [1, 2]
    );
}

#[test]
fn one_that_is_refused_does_not_take_the_others_along() {
    let policy = Policy {
        per_minute: 3,
        ..AT_ONCE
    };
    let mut flow = Flow::new(&policy, NOW);
    let waiting: Vec<Waiting> = (0..4).map(|id| news(id, id)).collect();
    let Plan::Send(sent) = flow.plan(&policy, &waiting, NOW) else {
        panic!()
    };
    assert_eq!(sent.len(), 4);
    let fates = flow.settle(&sent, Outcome::Permanent, NOW, 0.5);
    assert!(fates.iter().all(|(_, fate)| *fate == Fate::Retry(NOW)));
    let Plan::Send(sent) = flow.plan(&policy, &waiting, NOW) else {
        panic!()
    };
    assert_eq!(sent.len(), 1);
    assert_eq!(
        flow.settle(&sent, Outcome::Permanent, NOW, 0.5),
        [(0, Fate::Dead)]
    );
}

#[test]
fn waits_double_up_to_a_bound_and_what_is_asked_for_is_kept() {
    let mut flow = Flow::new(&AT_ONCE, NOW);
    let mut waits = Vec::new();
    let mut one = news(1, 1);
    for _ in 0..12 {
        let [(_, Fate::Retry(due_ms))] = flow.settle(&[one], LATER, NOW, 1.0)[..] else {
            panic!()
        };
        waits.push((due_ms - NOW) / 1_000);
        one.attempts += 1;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]);
    let asked = Outcome::Temporary {
        blame: Blame::Channel,
        retry_after: Some(Duration::from_secs(1_800)),
    };
    flow.settle(&[one], asked, NOW, 0.0);
    let other = news(2, 2);
    assert_eq!(
        flow.plan(&AT_ONCE, &[other], NOW),
        Plan::Wait(Duration::from_secs(1_800))
    );
    // A clock that went back by a day does not make the wait longer.
    assert_eq!(ids(flow.plan(&AT_ONCE, &[other], NOW - 86_400_000)), [2]);
}

#[test]
fn nothing_is_given_up_before_days_of_trying() {
    let mut flow = Flow::new(&AT_ONCE, NOW);
    let old = NOW + 4 * 86_400_000;
    let mut one = news(1, 1);
    assert!(matches!(
        flow.settle(&[one], DOWN, old, 0.5)[..],
        [(1, Fate::Retry(_))]
    ));
    one.attempts = 20;
    assert!(matches!(
        flow.settle(&[one], DOWN, NOW + 86_400_000, 0.5)[..],
        [(1, Fate::Retry(_))]
    ));
    assert_eq!(flow.settle(&[one], DOWN, old, 0.5), [(1, Fate::Dead)]);
}

/// What the other side does in the simulation.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Takes,
    Refuses,
    Fails,
    IsDown,
}

fn moods() -> impl Strategy<Value = Vec<Mood>> {
    let mood = prop_oneof![
        5 => Just(Mood::Takes),
        1 => Just(Mood::Refuses),
        2 => Just(Mood::Fails),
        2 => Just(Mood::IsDown),
    ];
    prop::collection::vec(mood, 0..60)
}

/// When a message was sent, by a clock that does not jump, of what it told, and whether it was taken.
type Message = (i64, Vec<i64>, bool);

/// Runs a channel until nothing waits; returns what was sent, and when, and what was given up.
fn run(
    policy: Policy,
    mut waiting: Vec<Waiting>,
    moods: &[Mood],
    jumps: &BTreeMap<usize, i64>,
) -> (Vec<Message>, Vec<i64>) {
    let mut flow = Flow::new(&policy, NOW);
    let (mut steady_ms, mut jumped_ms) = (0_i64, 0_i64);
    let (mut messages, mut dead) = (Vec::new(), Vec::new());
    let mut moods = moods.iter();
    for step in 0.. {
        assert!(step < 20_000, "it never ends: {waiting:?}");
        jumped_ms += jumps.get(&step).copied().unwrap_or(0);
        let now_ms = NOW + steady_ms + jumped_ms;
        match flow.plan(&policy, &waiting, now_ms) {
            Plan::Nothing => break,
            Plan::Wait(wait) => {
                assert!(wait <= RETRY_AFTER_MAX.max(policy.digest.unwrap_or_default()));
                steady_ms += i64::try_from(wait.as_millis()).unwrap().max(1);
            }
            Plan::Send(sent) => {
                let outcome = match moods.next() {
                    None | Some(Mood::Takes) => Outcome::Delivered,
                    Some(Mood::Refuses) => Outcome::Permanent,
                    Some(Mood::Fails) => LATER,
                    Some(Mood::IsDown) => DOWN,
                };
                let ids = sent.iter().map(|news| news.id).collect();
                messages.push((steady_ms, ids, outcome == Outcome::Delivered));
                for (id, fate) in flow.settle(&sent, outcome, now_ms, 0.7) {
                    let at = waiting.iter().position(|news| news.id == id).unwrap();
                    match fate {
                        Fate::Done => drop(waiting.remove(at)),
                        Fate::Dead => dead.push(waiting.remove(at).id),
                        Fate::Retry(due_ms) => {
                            waiting[at].due_ms = due_ms;
                            waiting[at].attempts += 1;
                        }
                    }
                }
            }
        }
    }
    (messages, dead)
}

fn policies() -> impl Strategy<Value = Policy> {
    (any::<bool>(), prop::option::of(1_u64..3_600), 1_u32..40).prop_map(|(merges, digest, per_minute)| {
        Policy {
            merges,
            digest: digest.filter(|_| merges).map(Duration::from_secs),
            per_minute,
        }
    })
}

fn queues() -> impl Strategy<Value = Vec<Waiting>> {
    let one = (1_i64..8, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..60).prop_map(|all| {
        let waiting = all
            .into_iter()
            .enumerate()
            .map(|(id, (lane, is_urgent, is_alone))| Waiting {
                is_urgent,
                is_alone,
                ..news(i64::try_from(id).unwrap(), lane)
            });
        waiting.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// D14
    #[test]
    fn everything_is_delivered_once_or_given_up_with_a_reason(
        policy in policies(), queue in queues(), moods in moods(),
    ) {
        let (messages, dead) = run(policy, queue.clone(), &moods, &BTreeMap::new());
        let mut ended: Vec<i64> = messages.iter().filter(|(_, _, done)| *done).flat_map(|(_, ids, _)| ids.clone()).collect();
        ended.extend(&dead);
        ended.sort_unstable();
        let all: Vec<i64> = queue.iter().map(|news| news.id).collect();
        prop_assert_eq!(ended, all);
        let refusals = moods.iter().filter(|mood| matches!(mood, Mood::Refuses)).count();
        prop_assert!(dead.len() <= refusals, "only what was refused by itself is given up");
    }

    #[test]
    fn news_of_one_alert_arrive_in_their_order(policy in policies(), queue in queues(), moods in moods()) {
        let (messages, _) = run(policy, queue.clone(), &moods, &BTreeMap::new());
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        for id in messages.iter().filter(|(_, _, done)| *done).flat_map(|(_, ids, _)| ids) {
            let lane = queue.iter().find(|news| news.id == *id).unwrap().lane;
            prop_assert!(last.insert(lane, *id).is_none_or(|before| before < *id));
        }
    }

    #[test]
    fn no_minute_has_more_messages_than_the_rate_and_one_burst(
        policy in policies(), queue in queues(), moods in moods(),
    ) {
        let (messages, _) = run(policy, queue, &moods, &BTreeMap::new());
        for (at, (from_ms, _, _)) in messages.iter().enumerate() {
            let within = messages[at..].iter().filter(|(ms, _, _)| ms - from_ms < 60_000).count();
            prop_assert!(within <= 2 * policy.per_minute as usize, "{within} in a minute");
        }
        if !policy.merges {
            prop_assert!(messages.iter().all(|(_, ids, _)| ids.len() == 1));
        }
    }

    /// D12
    #[test]
    fn jumps_of_the_clock_lose_nothing_and_keep_nothing_back_for_long(
        policy in policies(), queue in queues(), moods in moods(),
        jumps in prop::collection::btree_map(0_usize..200, prop_oneof![
            Just(-31_536_000_000_i64), Just(-3_600_000), Just(3_600_000), Just(31_536_000_000), Just(-86_400_000),
        ], 0..4),
    ) {
        let (messages, dead) = run(policy, queue.clone(), &moods, &jumps);
        let delivered: usize = messages.iter().filter(|(_, _, done)| *done).map(|(_, ids, _)| ids.len()).sum();
        prop_assert_eq!(delivered + dead.len(), queue.len());
        let longest = Duration::from_secs(3_600).max(policy.digest.unwrap_or_default()).as_millis() as i64;
        let steps = i64::try_from(messages.len()).unwrap() + 1;
        let last = messages.last().map_or(0, |(ms, _, _)| *ms);
        prop_assert!(last <= steps * longest + 4 * longest, "{last} ms");
    }
}
