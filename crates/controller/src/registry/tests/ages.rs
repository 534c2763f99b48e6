//! The age of digests, on a clock that tests set.

use muster_image::{Digest, Track};
use proptest::prelude::*;

use super::*;
use crate::registry::decision::{Known, decide};
use crate::store::{CheckRow, DigestRow};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const START: i64 = 1_800_000_000_000;

fn digest(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string()
}

/// What checks know of `app:latest`, and what runs.
struct World {
    rows: Vec<DigestRow>,
    tagged: String,
    running: String,
    min_age_ms: i64,
    now_ms: i64,
    created_ms: Option<i64>,
}

impl World {
    fn new(min_age_ms: i64) -> Self {
        let mut world = Self {
            rows: Vec::new(),
            tagged: String::new(),
            running: String::new(),
            min_age_ms,
            now_ms: START,
            created_ms: None,
        };
        world.see("first");
        world.running = digest("first");
        world
    }

    /// A check finds this under the tag.
    fn see(&mut self, name: &str) {
        self.tagged = digest(name);
        if self.rows.first().is_some_and(|row| row.digest == self.tagged) {
            return;
        }
        let known = self.rows.iter().position(|row| row.digest == self.tagged);
        let mut row = match known {
            Some(index) => self.rows.remove(index),
            None => DigestRow {
                repository: "docker.io/library/app".to_owned(),
                platform: "linux/amd64".to_owned(),
                tag: "latest".to_owned(),
                digest: self.tagged.clone(),
                platform_digest: Some(digest(&format!("{name} for amd64"))),
                config_digest: Some(digest(&format!("{name} config"))),
                is_missing: false,
                first_seen_ms: self.now_ms,
                since_ms: self.now_ms,
                details: None,
            },
        };
        row.since_ms = self.now_ms;
        self.rows.insert(0, row);
    }

    fn decide(&self) -> Decision {
        let check = CheckRow {
            reference: "docker.io/library/app:latest".to_owned(),
            platform: "linux/amd64".to_owned(),
            digest: Some(self.tagged.clone()),
            checked_ms: Some(self.now_ms),
            tried_ms: self.now_ms,
            error: None,
            failures: 0,
        };
        let wanted = Wanted {
            reference: &"app".parse().unwrap(),
            platform: &"linux/amd64".parse().unwrap(),
            repo_digests: &[format!("app@{}", self.running)],
            image_id: None,
            created_ms: self.created_ms,
            track: &Track::Digest,
            min_age: Duration::from_millis(self.min_age_ms.unsigned_abs()),
            allowed: &[],
            excluded: &[],
            bad: &[],
            now_ms: self.now_ms,
        };
        let known = Known {
            check: Some(&check),
            digests: &self.rows,
            tags: None,
        };
        decide(&wanted, &known)
    }

    fn since(&self, digest: &str) -> i64 {
        let row = self.rows.iter().find(|row| row.digest == digest);
        row.unwrap().since_ms
    }
}

#[test]
fn a_tag_that_is_rebuilt_daily_is_followed_at_the_minimum_age() {
    let mut world = World::new(3 * DAY);
    let (mut updates, mut last_ms) = (0, START);
    for hour in 1..24 * 60 {
        world.now_ms = START + hour * HOUR;
        world.see(&format!("day {}", hour / 24));
        if let Decision::Update(offer) = world.decide() {
            let age_ms = world.now_ms - offer.first_seen_ms;
            assert!((3 * DAY..4 * DAY).contains(&age_ms), "{age_ms}");
            assert!(world.since(&world.running) < world.since(offer.digest.as_str()));
            world.running = offer.digest.to_string();
            updates += 1;
            last_ms = world.now_ms;
        }
        if 4 * 24 < hour {
            assert!(world.now_ms - last_ms <= DAY, "starved at hour {hour}");
        }
    }
    println!("60 daily rebuilds, minimum age 3 days: {updates} updates");
    assert!(55 <= updates);
}

#[test]
fn what_a_tag_was_taken_back_from_is_not_offered() {
    let mut world = World::new(DAY);
    world.now_ms += HOUR;
    world.see("broken");
    world.now_ms += HOUR;
    world.see("first");
    world.now_ms += 10 * DAY;
    assert_eq!(world.decide(), Decision::Current);
}

#[test]
fn the_change_of_another_platform_does_not_begin_the_age_anew() {
    let mut world = World::new(3 * DAY);
    world.now_ms += HOUR;
    world.see("second");
    let child = world.rows[0].platform_digest.clone();
    for day in 1..=3 {
        world.now_ms = START + HOUR + day * DAY;
        world.see(&format!("second, rebuilt for arm {day}"));
        world.rows[0].platform_digest.clone_from(&child);
    }
    let Decision::Update(offer) = world.decide() else {
        panic!("{:?}", world.decide());
    };
    assert_eq!(offer.digest.as_str(), world.tagged);
    assert_eq!(offer.first_seen_ms, START + HOUR);
}

#[test]
fn what_was_pulled_by_hand_between_two_checks_is_not_taken_back() {
    let mut world = World::new(0);
    world.running = digest("pulled by hand");
    world.created_ms = Some(world.now_ms + 60_000);
    let Decision::Unknown(why) = world.decide() else {
        panic!("{:?}", world.decide());
    };
    assert!(why.contains("since the container was made"), "{why}");
    // Once a check has seen it, it is what the tag names.
    world.now_ms += HOUR;
    world.see("pulled by hand");
    assert_eq!(world.decide(), Decision::Current);
}

#[test]
fn a_digest_that_is_too_young_is_told_with_the_time_it_takes() {
    let mut world = World::new(3 * DAY);
    world.now_ms += HOUR;
    world.see("second");
    let Decision::Waiting { offer, until_ms } = world.decide() else {
        panic!("{:?}", world.decide());
    };
    assert_eq!(
        (offer.digest.as_str(), until_ms),
        (world.tagged.as_str(), START + HOUR + 3 * DAY)
    );
}

#[test]
fn a_tag_that_is_excluded_is_passed_over_for_the_next_best() {
    let row = |name: &str| {
        let mut world = World::new(0);
        world.see(name);
        DigestRow {
            tag: name.to_owned(),
            ..world.rows.remove(0)
        }
    };
    let check = CheckRow {
        reference: "docker.io/library/app:1.0.0".to_owned(),
        platform: "linux/amd64".to_owned(),
        digest: Some(digest("1.0.0")),
        checked_ms: Some(START),
        tried_ms: START,
        error: None,
        failures: 0,
    };
    let tags = ["1.0.0", "1.1.0", "1.2.0"];
    let rows = tags.map(row);
    let tags = tags.map(str::to_owned);
    for (allowed, excluded, expected) in [
        (None, vec![], Some("1.2.0")),
        (None, vec!["*.2.*".to_owned()], Some("1.1.0")),
        (Some("<1.2"), vec![], Some("1.1.0")),
        (None, vec!["*".to_owned()], None),
    ] {
        let allowed: Vec<_> = allowed.iter().map(|text: &&str| text.parse().unwrap()).collect();
        let wanted = Wanted {
            reference: &"app:1.0.0".parse().unwrap(),
            platform: &"linux/amd64".parse().unwrap(),
            repo_digests: &[format!("app@{}", digest("1.0.0"))],
            image_id: None,
            created_ms: Some(START - DAY),
            track: &"semver:minor".parse().unwrap(),
            min_age: Duration::ZERO,
            allowed: &allowed,
            excluded: &excluded,
            bad: &[],
            now_ms: START,
        };
        let known = Known {
            check: Some(&check),
            digests: &rows,
            tags: Some(&tags),
        };
        let decision = decide(&wanted, &known);
        let offered = match &decision {
            Decision::Update(offer) => Some(offer.tag.as_str()),
            _ => None,
        };
        assert_eq!(offered, expected, "{allowed:?} {excluded:?}: {decision:?}");
    }
}

proptest! {
    /// Whatever tags do: nothing younger than the minimum age is offered, nothing that was under the tag before what
    /// runs, and whenever something newer is old enough, something is offered.
    #[test]
    fn updates_go_forward_and_are_never_starved(
        min_age_h in 0_i64..100,
        steps in proptest::collection::vec((1_i64..30, 0_u8..12), 1..80),
        takes in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let mut world = World::new(min_age_h * HOUR);
        for ((hours, name), take) in steps.into_iter().zip(takes) {
            world.now_ms += hours * HOUR;
            world.see(&format!("build {name}"));
            let from_ms = world.since(&world.running);
            let is_due = world.rows.iter().any(|row| {
                from_ms < row.since_ms && row.first_seen_ms + world.min_age_ms <= world.now_ms
            });
            match world.decide() {
                Decision::Update(offer) => {
                    prop_assert!(offer.first_seen_ms + world.min_age_ms <= world.now_ms);
                    prop_assert!(from_ms < world.since(offer.digest.as_str()));
                    if take {
                        world.running = offer.digest.to_string();
                    }
                }
                Decision::Waiting { .. } => prop_assert!(!is_due),
                Decision::Current => prop_assert_eq!(&world.running, &world.tagged),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
