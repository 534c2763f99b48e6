//! The decision: a table of what follows from what, and what must hold whatever comes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use muster_update::{
    Approval, Candidate, Circumstances, Container, Decision, Explanation, Hold, HoldKind, LabelPower, Limit,
    Mode, Offer, Owner, Policy, PolicyBody, Reach, Scope, Window, WindowBody, explain, select,
};
use proptest::prelude::*;

/// 2026-03-29T00:00:00Z, an hour before clocks in Berlin are set forward.
const NOW: i64 = 1_774_742_400_000;
const HOUR: i64 = 3_600_000;

fn container(image: &str) -> Container {
    Container {
        id: 1,
        server: 1,
        name: "web".to_owned(),
        image: image.to_owned(),
        ..Container::default()
    }
}

fn offer(image: &str) -> Candidate {
    Candidate::Available(Offer {
        image: image.to_owned(),
        digest: format!("sha256:{}", "a".repeat(64)),
        platform_digest: None,
        first_seen_ms: Some(NOW - 48 * HOUR),
        release_notes: None,
    })
}

fn policy(id: i64, change: impl FnOnce(&mut PolicyBody)) -> Policy {
    let mut body = PolicyBody {
        name: format!("policy {id}"),
        mode: Mode::Automatic,
        limit: Some(Limit::Major),
        ..PolicyBody::default()
    };
    change(&mut body);
    let mut policy = Policy::read(body).unwrap();
    policy.id = id;
    policy
}

fn night() -> Window {
    let body = WindowBody {
        name: "nights".to_owned(),
        from: Some("22:00".to_owned()),
        to: Some("06:00".to_owned()),
        timezone: Some("Europe/Berlin".to_owned()),
        ..WindowBody::default()
    };
    Window::from_stored(1, body).unwrap()
}

struct World {
    policies: Vec<Policy>,
    windows: Vec<Window>,
    holds: Vec<Hold>,
    bad: Option<&'static str>,
    freeze: Option<&'static str>,
    approval: Approval,
    now_ms: i64,
}

impl World {
    fn with(policies: Vec<Policy>) -> Self {
        Self {
            policies,
            windows: vec![night()],
            holds: Vec::new(),
            bad: None,
            freeze: None,
            approval: Approval::None,
            now_ms: NOW,
        }
    }

    fn of(&self, container: &Container, candidate: &Candidate) -> Explanation {
        explain(
            container,
            candidate,
            &Circumstances {
                policies: &self.policies,
                windows: &self.windows,
                holds: &self.holds,
                bad_digest: self.bad,
                freeze: self.freeze,
                approval: &self.approval,
                now_ms: self.now_ms,
            },
        )
    }

    fn decides(&self, container: &Container, candidate: &Candidate) -> &'static str {
        self.of(container, candidate).decision.as_str()
    }
}

#[test]
fn modes_ask_whom_they_say() {
    let (web, new) = (container("nginx:1.27"), offer("nginx:1.27"));
    assert_eq!(World::with(vec![]).decides(&web, &new), "needs_approval");
    for (mode, auto, expected) in [
        (Mode::Manual, false, "needs_approval"),
        (Mode::Manual, true, "needs_approval"),
        (Mode::Notify, false, "needs_approval"),
        (Mode::Scheduled, false, "needs_approval"),
        (Mode::Scheduled, true, "ready"),
        (Mode::Automatic, false, "ready"),
    ] {
        let set = |body: &mut PolicyBody| {
            body.mode = mode;
            body.auto_approve = auto;
            // Open at this time.
            body.maintenance_window_id = Some(1);
        };
        let mut world = World::with(vec![policy(1, set)]);
        assert_eq!(world.decides(&web, &new), expected, "{mode:?} {auto}");
        world.approval = Approval::Approved("anna".to_owned());
        assert_eq!(world.decides(&web, &new), "ready", "{mode:?} approved");
        world.approval = Approval::Rejected("anna".to_owned());
        assert_eq!(world.decides(&web, &new), "blocked", "{mode:?} rejected");
    }
}

#[test]
fn what_cannot_be_told_is_never_up_to_date() {
    let world = World::with(vec![policy(1, |_| ())]);
    let unknown = Candidate::Unknown("the registry does not answer".to_owned());
    let explanation = world.of(&container("nginx:1.27"), &unknown);
    assert_eq!(
        explanation.decision,
        Decision::Unknown("the registry does not answer".to_owned())
    );
    assert!(
        explanation
            .steps
            .iter()
            .any(|step| step.words.contains("does not answer"))
    );
    assert_eq!(
        world.decides(&container("nginx:1.27"), &Candidate::Current),
        "up_to_date"
    );
}

#[test]
fn databases_go_to_another_major_version_only_when_that_is_said() {
    let mut strict = World::with(vec![policy(1, |_| ())]);
    let lax = World::with(vec![policy(1, |body| body.allow_major_databases = true)]);
    for (from, to, expected) in [
        ("postgres:15", "postgres:16", "blocked"),
        ("postgres:15.1", "postgres:15.2", "ready"),
        ("postgres:15", "postgres:15", "ready"),
        ("postgres:latest", "postgres:latest", "blocked"),
        ("postgres", "postgres", "blocked"),
        ("postgres:15-alpine", "postgres:16-bookworm", "blocked"),
        // MySQL and MariaDB do not go back from 8.4 to 8.0, nor from 10.11 to 10.6.
        ("mysql:8.0.36", "mysql:8.4.0", "blocked"),
        ("mysql:8.0.36", "mysql:8.0.40", "ready"),
        ("mysql:8", "mysql:8", "blocked"),
        (
            "example.org/mirror/mariadb:10.6",
            "example.org/mirror/mariadb:10.11",
            "blocked",
        ),
        ("nginx:1.27", "nginx:2.0", "ready"),
    ] {
        assert_eq!(
            strict.decides(&container(from), &offer(to)),
            expected,
            "{from} to {to}"
        );
        assert_eq!(
            lax.decides(&container(from), &offer(to)),
            "ready",
            "{from} to {to}"
        );
    }
    // Wanting it now is not saying so.
    strict.approval = Approval::Now("anna".to_owned());
    assert_eq!(
        strict.decides(&container("mysql:8"), &offer("mysql:9")),
        "blocked"
    );
}

#[test]
fn limits_and_versions_block_what_goes_further() {
    let limits = [
        (Limit::Digest, ["ready", "blocked", "blocked", "blocked"]),
        (Limit::Patch, ["ready", "ready", "blocked", "blocked"]),
        (Limit::Minor, ["ready", "ready", "ready", "blocked"]),
        (Limit::Major, ["ready", "ready", "ready", "ready"]),
    ];
    for (limit, expected) in limits {
        let world = World::with(vec![policy(1, |body| body.limit = Some(limit))]);
        let tags = ["app:1.2.3", "app:1.2.4", "app:1.3.0", "app:2.0.0"];
        let decided = tags.map(|tag| world.decides(&container("app:1.2.3"), &offer(tag)));
        assert_eq!(decided, expected, "{limit:?}");
    }
    let narrow = World::with(vec![policy(1, |body| {
        body.allowed_versions = Some(">=1.2, <2".to_owned());
        body.exclude_versions = vec!["1.5.*".to_owned()];
    })]);
    for (tag, expected) in [
        ("app:1.3", "ready"),
        ("app:2.0", "blocked"),
        ("app:1.5.1", "blocked"),
    ] {
        assert_eq!(
            narrow.decides(&container("app:1.2"), &offer(tag)),
            expected,
            "{tag}"
        );
    }
}

#[test]
fn what_engines_registries_and_builders_write_in_their_own_way_is_the_same_image() {
    let world = World::with(vec![policy(1, |body| body.limit = Some(Limit::Patch))]);
    for (from, to, expected) in [
        // No tag is latest, and no registry is Docker Hub.
        ("nginx", "docker.io/library/nginx:latest", "ready"),
        ("nginx:1.27.1", "docker.io/library/nginx:1.27.2", "ready"),
        // The number of a build is less than a patch.
        (
            "linuxserver/code-server:4.9.1-ls12",
            "linuxserver/code-server:4.9.1-ls13",
            "ready",
        ),
        (
            "linuxserver/code-server:4.9.1-ls12",
            "linuxserver/code-server:4.9.1-ls11",
            "blocked",
        ),
        ("nginx:1.27.1", "example.org/nginx:1.27.2", "blocked"),
        ("nginx:1.27.2", "nginx:1.27.1", "blocked"),
        ("nginx:1.27-alpine", "nginx:1.27", "blocked"),
    ] {
        assert_eq!(
            world.decides(&container(from), &offer(to)),
            expected,
            "{from} to {to}"
        );
    }
}

#[test]
fn the_highest_priority_decides_then_the_narrower_scope_then_the_older() {
    let everything = policy(1, |_| ());
    let of_server = policy(2, |body| {
        body.scope = Scope::Server;
        body.server_id = Some(1);
    });
    let of_image = policy(3, |body| {
        body.scope = Scope::Image;
        body.image_pattern = Some("nginx:.*".to_owned());
    });
    let strong = policy(4, |body| body.priority = Some(200));
    let off = policy(5, |body| {
        body.priority = Some(900);
        body.enabled = Some(false);
    });
    let twin = policy(6, |body| {
        body.scope = Scope::Image;
        body.image_pattern = Some("nginx.*".to_owned());
    });
    let web = container("nginx:1.27");
    let of = |policies: &[&Policy]| {
        let policies: Vec<Policy> = policies.iter().map(|policy| (*policy).clone()).collect();
        select(&web, &policies).map(|policy| policy.id)
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[&everything, &off]), Some(1));
    assert_eq!(of(&[&everything, &of_server]), Some(2));
    assert_eq!(of(&[&of_image, &of_server, &everything]), Some(3));
    assert_eq!(of(&[&twin, &of_image]), Some(3));
    assert_eq!(of(&[&of_image, &strong]), Some(4));
    let db = container("docker.io/nginx:1.27");
    assert!(!of_image.takes(&db), "a pattern matches the whole reference");
}

#[expect(clippy::too_many_lines, reason = "a case after the other")]
#[test]
fn labels_only_narrow_unless_the_policy_says_otherwise() {
    let labelled = |name: &str, value: &str| Container {
        labels: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..container("app:1.2")
    };
    let new = offer("app:1.3");
    let with = |power: LabelPower, mode: Mode, limit: Limit| {
        World::with(vec![policy(1, |body| {
            body.labels = power;
            body.mode = mode;
            body.limit = Some(limit);
        })])
    };
    for (power, mode, limit, name, value, expected) in [
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Major,
            "mode",
            "manual",
            "needs_approval",
        ),
        (
            LabelPower::Narrow,
            Mode::Manual,
            Limit::Major,
            "mode",
            "automatic",
            "needs_approval",
        ),
        (
            LabelPower::Any,
            Mode::Manual,
            Limit::Major,
            "mode",
            "automatic",
            "ready",
        ),
        (
            LabelPower::Ignored,
            Mode::Automatic,
            Limit::Major,
            "mode",
            "manual",
            "ready",
        ),
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Major,
            "track",
            "patch",
            "blocked",
        ),
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Patch,
            "track",
            "major",
            "blocked",
        ),
        (
            LabelPower::Any,
            Mode::Automatic,
            Limit::Patch,
            "track",
            "major",
            "ready",
        ),
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Major,
            "exclude",
            "true",
            "blocked",
        ),
        (
            LabelPower::Ignored,
            Mode::Automatic,
            Limit::Major,
            "exclude",
            "true",
            "ready",
        ),
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Major,
            "exclude",
            "perhaps",
            "blocked",
        ),
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Major,
            "min-age",
            "3d",
            "held",
        ),
        (
            LabelPower::Narrow,
            Mode::Automatic,
            Limit::Major,
            "min-age",
            "1d",
            "ready",
        ),
    ] {
        let subject = labelled(&format!("muster.update.{name}"), value);
        let decided = with(power, mode, limit).decides(&subject, &new);
        assert_eq!(decided, expected, "{power:?} {mode:?} {limit:?} {name}={value}");
    }
}

#[test]
fn what_is_looked_for_is_what_label_and_policy_permit_together() {
    for (power, policy_limit, label, reached, words) in [
        (
            LabelPower::Narrow,
            Limit::Minor,
            "patch",
            Limit::Patch,
            "narrows updates to patch",
        ),
        (
            LabelPower::Narrow,
            Limit::Minor,
            "major",
            Limit::Minor,
            "the policy permits up to minor",
        ),
        (
            LabelPower::Narrow,
            Limit::Minor,
            "minor",
            Limit::Minor,
            "as the policy does",
        ),
        (
            LabelPower::Any,
            Limit::Minor,
            "major",
            Limit::Major,
            "as the policy lets labels do",
        ),
        (
            LabelPower::Ignored,
            Limit::Minor,
            "patch",
            Limit::Minor,
            "mean nothing",
        ),
    ] {
        let labels = [("muster.update.track", label), ("muster.update.min-age", "3d")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let app = Container {
            labels: BTreeMap::from(labels),
            ..container("app:1.2.3")
        };
        let policy = policy(1, |body| {
            body.labels = power;
            body.limit = Some(policy_limit);
        });
        let reach = Reach::of(&app, Some(&policy));
        assert_eq!(reach.limit, reached, "{power:?} {label}");
        let age_ms = if power == LabelPower::Ignored {
            0
        } else {
            72 * HOUR
        };
        assert_eq!(reach.min_age_ms, age_ms, "{power:?} {label}");
        let said = World::with(vec![policy]).of(&app, &Candidate::Current);
        assert!(
            said.steps.iter().any(|step| step.words.contains(words)),
            "{power:?} {label}: {:?}",
            said.steps
        );
    }
    let nobody = Container {
        labels: BTreeMap::from([("muster.update.track".to_owned(), "minor".to_owned())]),
        ..container("app:1.2.3")
    };
    assert_eq!(Reach::of(&nobody, None).limit, Limit::Digest);
}

#[test]
fn a_window_over_the_night_in_which_clocks_change_is_waited_for() {
    let set = |body: &mut PolicyBody| body.maintenance_window_id = Some(1);
    let mut world = World::with(vec![policy(1, set)]);
    let (web, new) = (container("nginx:1.27"), offer("nginx:1.27"));
    // 22:00 to 06:00 in Berlin is 21:00 to 04:00 UTC in this night of seven hours, and 20:00 to 04:00 in the next.
    for (after, expected) in [
        (-4 * HOUR, "waits_for_window"),
        (-3 * HOUR, "ready"),
        (4 * HOUR - 1, "ready"),
        (4 * HOUR, "waits_for_window"),
        (20 * HOUR, "ready"),
    ] {
        world.now_ms = NOW + after;
        assert_eq!(world.decides(&web, &new), expected, "{after}");
    }
    world.now_ms = NOW + 5 * HOUR;
    let explanation = world.of(&web, &new);
    assert_eq!(
        explanation.decision,
        Decision::WaitsForWindow(Some(NOW + 20 * HOUR))
    );
    world.approval = Approval::Now("anna".to_owned());
    assert_eq!(world.decides(&web, &new), "ready");
    world.approval = Approval::None;
    world.windows.clear();
    assert_eq!(world.of(&web, &new).decision, Decision::WaitsForWindow(None));
}

#[test]
fn a_schedule_lets_updates_begin_for_an_hour() {
    let mut world = World::with(vec![policy(1, |body| {
        body.mode = Mode::Scheduled;
        body.auto_approve = true;
        body.update_schedule = Some("0 3 * * *".to_owned());
    })]);
    let (web, new) = (container("nginx:1.27"), offer("nginx:1.27"));
    for (hours, expected) in [(2, "waits_for_window"), (3, "ready"), (4, "waits_for_window")] {
        world.now_ms = NOW + hours * HOUR;
        assert_eq!(world.decides(&web, &new), expected, "{hours}");
    }
    assert_eq!(
        world.of(&web, &new).decision,
        Decision::WaitsForWindow(Some(NOW + 27 * HOUR))
    );
}

#[test]
fn policies_that_make_no_sense_name_their_fields() {
    let base = PolicyBody {
        name: "p".to_owned(),
        ..PolicyBody::default()
    };
    type Change = fn(&mut PolicyBody);
    let cases: [(&str, Change); 10] = [
        ("name", |body| body.name = " ".to_owned()),
        ("server_id", |body| body.scope = Scope::Server),
        ("image_pattern", |body| body.scope = Scope::Image),
        ("label_selector", |body| body.scope = Scope::Label),
        ("container_id", |body| body.scope = Scope::Container),
        ("scope", |body| body.server_id = Some(1)),
        ("mode", |body| body.mode = Mode::Scheduled),
        ("min_age", |body| body.min_age = Some("soon".to_owned())),
        ("allowed_versions", |body| {
            body.allowed_versions = Some("new ones".to_owned());
        }),
        ("update_schedule", |body| {
            body.update_schedule = Some("daily".to_owned());
        }),
    ];
    for (field, change) in cases {
        let mut body = base.clone();
        change(&mut body);
        assert_eq!(Policy::read(body).unwrap_err()[0].field, field);
    }
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(Mode::ALL.to_vec())
}

prop_compose! {
    fn any_policy()(
        id in 1..50_i64, mode in any_mode(), auto in any::<bool>(), limit in prop::sample::select(Limit::ALL.to_vec()),
        labels in prop::sample::select(vec![LabelPower::Ignored, LabelPower::Narrow, LabelPower::Any]),
        window in prop::option::of(1..3_i64), allow in any::<bool>(), priority in prop::option::of(0..3_i64),
        enabled in prop::option::of(any::<bool>()), server in prop::option::of(1..3_i64),
    ) -> Policy {
        policy(id, |body| {
            body.mode = mode;
            body.auto_approve = auto;
            body.limit = Some(limit);
            body.labels = labels;
            body.maintenance_window_id = if mode == Mode::Scheduled { window.or(Some(1)) } else { window };
            body.allow_major_databases = allow;
            body.priority = priority;
            body.enabled = enabled;
            if let Some(server) = server {
                body.scope = Scope::Server;
                body.server_id = Some(server);
            }
        })
    }
}

prop_compose! {
    fn any_container()(
        image in prop::sample::select(vec!["nginx:1.27", "postgres:15", "app", "app:1.2.3", "mysql:latest"]),
        owner in prop::sample::select(vec![Owner::None, Owner::Compose, Owner::Swarm, Owner::Kubernetes, Owner::Other]),
        labels in prop::collection::btree_map(
            prop::sample::select(muster_update::label_names::ALL.map(str::to_owned).to_vec()),
            prop::sample::select(
                ["true", "false", "automatic", "manual", "major", "digest", "3d", "x"].map(str::to_owned).to_vec(),
            ),
            0..3,
        ),
        is_auto_remove in any::<bool>(),
    ) -> Container {
        Container { owner, labels, is_auto_remove, ..container(image) }
    }
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    prop_oneof![
        Just(Candidate::Current),
        Just(Candidate::Unknown("no answer".to_owned())),
        prop::sample::select(vec![
            "nginx:1.27",
            "nginx:2",
            "postgres:15",
            "postgres:16",
            "app:1.2.4",
            "mysql:latest"
        ])
        .prop_map(offer),
    ]
}

fn any_approval() -> impl Strategy<Value = Approval> {
    let by = || "anna".to_owned();
    prop::sample::select(vec![
        Approval::None,
        Approval::Approved(by()),
        Approval::Rejected(by()),
        Approval::Now(by()),
        Approval::Rollout(by()),
    ])
}

proptest! {
    /// What must hold whatever is set and whoever asks.
    #[test]
    fn nothing_is_ready_against_a_hold_a_freeze_a_bad_digest_or_a_no(
        subject in any_container(), candidate in any_candidate(), policies in prop::collection::vec(any_policy(), 0..5),
        approval in any_approval(), is_held in any::<bool>(), is_bad in any::<bool>(), is_frozen in any::<bool>(),
        hours in 0..400_i64,
    ) {
        let mut world = World::with(policies);
        world.approval = approval.clone();
        world.now_ms = NOW + hours * HOUR;
        world.bad = is_bad.then_some("it killed a server");
        world.freeze = is_frozen.then_some("holidays");
        if is_held {
            world.holds.push(Hold { kind: HoldKind::Storage, words: "the pool is degraded".to_owned() });
        }
        let explanation = world.of(&subject, &candidate);
        // The same question has the same answer.
        prop_assert_eq!(&explanation, &world.of(&subject, &candidate));
        prop_assert!(!explanation.steps.is_empty());
        match &candidate {
            Candidate::Unknown(_) => prop_assert!(matches!(explanation.decision, Decision::Unknown(_))),
            Candidate::Current => prop_assert_eq!(&explanation.decision, &Decision::UpToDate),
            Candidate::Available(_) => {
                prop_assert!(!matches!(explanation.decision, Decision::Unknown(_) | Decision::UpToDate));
            }
        }
        let reasons = match &explanation.decision {
            Decision::Blocked(reasons) | Decision::Held(reasons) => reasons.len(),
            _ => 1,
        };
        prop_assert!(0 < reasons);
        if explanation.decision == Decision::Ready {
            prop_assert!(!is_held && !is_bad && !is_frozen);
            let is_of_unit = matches!(subject.owner, Owner::Systemd | Owner::Quadlet);
            prop_assert!(!subject.is_auto_remove || is_of_unit);
            prop_assert!(!matches!(approval, Approval::Rejected(_)));
            prop_assert!(subject.owner.held_because().is_none());
            // By itself only where a policy says so.
            let chosen = select(&subject, &world.policies);
            if approval == Approval::None {
                prop_assert!(chosen.is_some());
                prop_assert!(Mode::Scheduled <= explanation.mode);
            }
            let powers = chosen.map(|policy| policy.body.labels);
            if powers == Some(LabelPower::Narrow) {
                prop_assert!(explanation.mode <= chosen.unwrap().body.mode);
                prop_assert!(explanation.change.is_none_or(|change| chosen.unwrap().limit().permits(change)));
            }
        }
    }
}
