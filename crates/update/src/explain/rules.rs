//! The rules that are asked, in their order, each with what it says.

use muster_image::Reference;
use muster_image::database::{self, Jump};

use super::{Approval, Circumstances, Decision, Outcome, Step};
use crate::label::Labels;
use crate::policy::Scope;
use crate::subject::reference;
use crate::{Change, Container, HoldKind, LabelPower, Limit, Mode, Offer, Owner, Policy};

/// What counts for a container, of the policy and its own labels.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    mode: Mode,
    pub(super) limit: Limit,
    pub(super) min_age_ms: i64,
    labels: Labels,
    power: LabelPower,
}

impl Terms {
    pub(super) fn of(container: &Container, policy: Option<&Policy>) -> Self {
        let power = policy.map_or(LabelPower::Narrow, |policy| policy.body.labels);
        let labels = Labels::read(&container.labels);
        let mut terms = Self {
            mode: policy.map_or(Mode::Manual, |policy| policy.body.mode),
            limit: policy.map_or(Limit::Digest, Policy::limit),
            min_age_ms: policy.and_then(|policy| policy.min_age_ms).unwrap_or(0),
            labels: Labels::default(),
            power,
        };
        if power == LabelPower::Ignored {
            return terms;
        }
        let is_wide = power == LabelPower::Any;
        if let Some(mode) = labels.mode
            && (is_wide || mode <= terms.mode)
        {
            terms.mode = mode;
        }
        if let Some(track) = labels.track
            && (is_wide || track <= terms.limit)
        {
            terms.limit = track;
        }
        if let Some(age) = labels.min_age_ms
            && (is_wide || terms.min_age_ms <= age)
        {
            terms.min_age_ms = age;
        }
        terms.labels = labels;
        terms
    }
}

/// The rules, as they are asked one after the other, and what they said so far.
pub(super) struct Asked<'a> {
    container: &'a Container,
    at: &'a Circumstances<'a>,
    terms: Terms,
    policy: Option<&'a Policy>,
    steps: Vec<Step>,
    blocked: Vec<String>,
    held: Vec<String>,
    needs_approval: bool,
    /// It is not time: until then, or for ever.
    waits: Option<Option<i64>>,
}

impl<'a> Asked<'a> {
    /// Begins with which policy speaks.
    pub(super) fn of(
        container: &'a Container,
        policy: Option<&'a Policy>,
        at: &'a Circumstances<'a>,
    ) -> Self {
        let mut asked = Self {
            container,
            at,
            terms: Terms::of(container, policy),
            policy,
            steps: Vec::new(),
            blocked: Vec::new(),
            held: Vec::new(),
            needs_approval: false,
            waits: None,
        };
        asked.policy();
        asked
    }

    /// What happens by itself.
    pub(super) const fn mode(&self) -> Mode {
        self.terms.mode
    }

    /// What each rule said.
    pub(super) fn steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn step(&mut self, rule: &'static str, outcome: Outcome, words: String) {
        self.steps.push(Step { rule, outcome, words });
    }

    fn pass(&mut self, rule: &'static str, words: &str) {
        self.step(rule, Outcome::Pass, words.to_owned());
    }

    fn block(&mut self, rule: &'static str, words: String) {
        self.blocked.push(words.clone());
        self.step(rule, Outcome::Stop, words);
    }

    fn hold(&mut self, rule: &'static str, words: String) {
        self.held.push(words.clone());
        self.step(rule, Outcome::Stop, words);
    }

    /// Which policy speaks, and what the container's labels make of it.
    fn policy(&mut self) {
        let words = match self.policy {
            Some(policy) => format!(
                "policy {} ({:?}, priority {}) decides: mode {}, up to {}",
                policy.id,
                policy.body.name,
                policy.priority(),
                policy.body.mode.as_str(),
                policy.limit().as_str()
            ),
            None => "no policy speaks of it: somebody approves, or starts it".to_owned(),
        };
        self.step("policy", Outcome::Note, words);
        let labels = &self.terms.labels;
        let mut notes = Vec::new();
        if let Some(mode) = labels.mode
            && mode != self.terms.mode
        {
            notes.push(format!(
                "its label asks for the mode {}, which is more than the policy permits: set labels to any there",
                mode.as_str()
            ));
        } else if let Some(mode) = labels.mode {
            notes.push(format!("its label sets the mode {}", mode.as_str()));
        }
        notes.extend(labels.track.map(|track| self.track_words(track)));
        if self.terms.power == LabelPower::Ignored
            && self
                .container
                .labels
                .keys()
                .any(|name| name.starts_with("muster.update."))
        {
            notes.push("its labels mean nothing, as the policy says".to_owned());
        }
        for words in notes {
            self.step("labels", Outcome::Note, words);
        }
    }

    /// Asks every rule about what is offered.
    /// What its own label makes of how far updates go.
    fn track_words(&self, track: Limit) -> String {
        let limit = self.terms.limit;
        let permitted = self.policy.map_or(Limit::Digest, Policy::limit);
        if track != limit {
            return format!(
                "its label asks for updates up to {}, and {} permits up to {}: what goes no further than that is offered; \
                 set labels to any in a policy to let labels go further",
                track.as_str(),
                if self.policy.is_some() {
                    "the policy"
                } else {
                    "nobody"
                },
                limit.as_str()
            );
        }
        match track.cmp(&permitted) {
            std::cmp::Ordering::Less => format!(
                "its label narrows updates to {}, and the newest within that is offered; the policy would permit up to {}",
                track.as_str(),
                permitted.as_str()
            ),
            std::cmp::Ordering::Equal => format!(
                "its label sets updates up to {}, as the policy does",
                track.as_str()
            ),
            std::cmp::Ordering::Greater => format!(
                "its label sets updates up to {}, further than the policy's own {}, as the policy lets labels do",
                track.as_str(),
                permitted.as_str()
            ),
        }
    }

    pub(super) fn all(&mut self, offer: &Offer) -> Decision {
        let words = format!(
            "{} with the digest {} is there",
            offer.image,
            short(&offer.digest)
        );
        self.step("candidate", Outcome::Note, words);
        self.freeze();
        self.bad_digest();
        self.labels();
        self.engine();
        self.versions(offer);
        self.database(offer);
        self.holds();
        self.age(offer);
        self.approval();
        self.window();
        if !self.blocked.is_empty() {
            return Decision::Blocked(std::mem::take(&mut self.blocked));
        }
        if !self.held.is_empty() {
            return Decision::Held(std::mem::take(&mut self.held));
        }
        if self.needs_approval {
            return Decision::NeedsApproval;
        }
        match self.waits {
            Some(until) => Decision::WaitsForWindow(until),
            None => Decision::Ready,
        }
    }

    fn freeze(&mut self) {
        match self.at.freeze {
            Some(reason) => {
                let reason = if reason.is_empty() {
                    "without a reason"
                } else {
                    reason
                };
                self.hold(
                    "freeze",
                    format!("nothing is changed while the freeze switch is on: {reason}"),
                );
            }
            None => self.pass("freeze", "the freeze switch is off"),
        }
    }

    fn bad_digest(&mut self) {
        match self.at.bad_digest {
            Some(why) => self.block(
                "bad_digest",
                format!("this digest is known to be bad for the fleet: {why}; the next one is judged anew"),
            ),
            None => self.pass("bad_digest", "nothing bad is known of this digest"),
        }
    }

    fn labels(&mut self) {
        if self.terms.labels.exclude {
            self.block(
                "exclude",
                format!("its label {} says so", crate::label::names::EXCLUDE),
            );
        } else {
            self.pass("exclude", "it is not excluded");
        }
        for words in std::mem::take(&mut self.terms.labels.not_understood) {
            self.block("labels", format!("its label is not understood: {words}"));
        }
    }

    /// What the engine and the container's owner make impossible.
    fn engine(&mut self) {
        // A unit makes its container anew at each start, with --rm or without.
        let is_of_unit = matches!(self.container.owner, Owner::Systemd | Owner::Quadlet);
        if self.container.is_auto_remove && !is_of_unit {
            self.block(
                "auto_remove",
                "the engine removes it as soon as it stops (--rm), so there would be no way back: start it without"
                    .to_owned(),
            );
        }
        match self.container.owner.held_because() {
            Some(words) => self.hold("owner", words.to_owned()),
            None => self.pass("owner", "nobody else has to be asked"),
        }
    }

    fn versions(&mut self, offer: &Offer) {
        let change = offer.change_from(&self.container.image);
        let limit = self.terms.limit;
        if limit.permits(change) {
            self.step(
                "limit",
                Outcome::Pass,
                format!(
                    "it is a change of {}, and up to {} is permitted",
                    change.as_str(),
                    limit.as_str()
                ),
            );
        } else if change == Change::Unknown {
            self.block(
                "limit",
                format!(
                    "how far {} is from {} can't be told, so only the limit major lets it pass",
                    offer.image, self.container.image
                ),
            );
        } else {
            self.block(
                "limit",
                format!(
                    "it is a change of {}, and only up to {} is permitted: {}",
                    change.as_str(),
                    limit.as_str(),
                    if self.policy.is_some_and(|policy| policy.limit().permits(change)) {
                        "its own label says so"
                    } else {
                        "raise limit in the policy"
                    }
                ),
            );
        }
        let (Some(policy), Some(tag)) = (self.policy, offer.tag()) else {
            return;
        };
        if let Some(entry) = policy.excludes(&tag) {
            self.block(
                "exclude_versions",
                format!("the policy excludes {entry}, and the tag is {tag}"),
            );
        }
        match &policy.versions {
            Some(wanted) if !wanted.matches(&tag) => self.block(
                "allowed_versions",
                format!(
                    "the policy wants {}, and the tag is {tag}",
                    policy.body.allowed_versions.as_deref().unwrap_or_default()
                ),
            ),
            Some(_) => self.pass("allowed_versions", "the tag is one that the policy wants"),
            None => {}
        }
    }

    fn database(&mut self, offer: &Offer) {
        let (from, to) = (reference(&self.container.image), reference(&offer.image));
        let images = [from.as_ref(), to.as_ref()];
        let Some(database) = images.into_iter().flatten().find_map(database::of) else {
            return;
        };
        let tags = images.map(|image| image.and_then(Reference::effective_tag));
        let jump = match tags {
            [Some(from), Some(to)] => database.jump(from, to),
            _ => Jump::Unknown,
        };
        let is_allowed = self
            .policy
            .is_some_and(|policy| policy.body.allow_major_databases);
        let what = database.name;
        match jump {
            Jump::Same => self.pass("database", "it is a database, and its major version stays"),
            Jump::Major | Jump::Unknown if is_allowed => self.step(
                "database",
                Outcome::Note,
                format!("it is a database ({what}) that may go to another major version, which the policy allows"),
            ),
            // A tag such as latest may be another major version each time it is built.
            Jump::Unknown if tags[0] == tags[1] => self.block(
                "database",
                format!(
                    "it is a database ({what}) on a tag that does not name all of its major version, so another one may \
                     be behind it: name one, such as postgres:16 or mysql:8.4, or set allow_major_databases in its policy"
                ),
            ),
            Jump::Major | Jump::Unknown => self.block(
                "database",
                format!(
                    "it is a database ({what}), and another major version may not read its data: dump and restore it, \
                     or set allow_major_databases in its policy"
                ),
            ),
        }
    }

    fn holds(&mut self) {
        for hold in self.at.holds {
            let rule = match hold.kind {
                HoldKind::Storage => "storage",
                HoldKind::Space => "space",
                HoldKind::Server => "server",
                HoldKind::LocalPolicy => "local_policy",
                HoldKind::Rollout => "rollout",
            };
            self.hold(rule, hold.words.clone());
        }
        if self.at.holds.is_empty() {
            self.pass("holds", "nothing stands in the way on its server");
        }
    }

    fn age(&mut self, offer: &Offer) {
        let wanted_ms = self.terms.min_age_ms;
        if wanted_ms == 0 {
            return;
        }
        if let Approval::Now(by) = self.at.approval {
            let words = format!("{by} wants it now, whatever its age");
            return self.step("min_age", Outcome::Note, words);
        }
        let Some(since_ms) = offer.first_seen_ms else {
            let words = "how long this image has been known can't be told".to_owned();
            return self.hold("min_age", words);
        };
        let old_enough_ms = since_ms.saturating_add(wanted_ms);
        if old_enough_ms <= self.at.now_ms {
            self.pass("min_age", "the image has been known for long enough");
        } else {
            let words = format!(
                "the image was first seen at {}, and is waited for until {}",
                time(since_ms),
                time(old_enough_ms)
            );
            self.hold("min_age", words);
        }
    }

    fn approval(&mut self) {
        let has_yes = match (self.at.approval, self.terms.mode) {
            (Approval::Rejected(by), _) => {
                return self.block(
                    "approval",
                    format!("{by} rejected it: approve it, or wait for the next one"),
                );
            }
            (Approval::Approved(by) | Approval::Now(by), _) => Some(format!("{by} said yes")),
            (Approval::Rollout(by), _) => Some(format!("it is part of a roll-out that {by} began")),
            (Approval::None, Mode::Automatic) => Some("the mode automatic asks nobody".to_owned()),
            (Approval::None, _)
                if self.policy.is_some_and(|policy| policy.body.auto_approve)
                    && self.terms.mode == Mode::Scheduled =>
            {
                Some("the policy approves by itself".to_owned())
            }
            (Approval::None, _) => None,
        };
        match has_yes {
            Some(words) => self.step("approval", Outcome::Pass, words),
            None => {
                self.needs_approval = true;
                let words = format!(
                    "the mode is {}: an operator must approve it, or start it",
                    self.terms.mode.as_str()
                );
                self.step("approval", Outcome::Wait, words);
            }
        }
    }

    fn window(&mut self) {
        if let Approval::Now(by) = self.at.approval {
            return self.step(
                "window",
                Outcome::Note,
                format!("{by} wants it now, whatever the window"),
            );
        }
        let Some(policy) = self.policy else { return };
        let now_ms = self.at.now_ms;
        let mut opens: Vec<Option<i64>> = Vec::new();
        if let Some(id) = policy.body.maintenance_window_id {
            match self.at.windows.iter().find(|window| window.id == id) {
                Some(window) if window.is_open(now_ms) => {
                    let words = format!("the window {:?} is open", window.body.name);
                    self.step("window", Outcome::Pass, words);
                }
                Some(window) => {
                    let next = window.opens_next_ms(now_ms);
                    opens.push(next);
                    let words = match next {
                        Some(next) => format!("the window {:?} opens at {}", window.body.name, time(next)),
                        None => format!("the window {:?} never opens again: change it", window.body.name),
                    };
                    self.step("window", Outcome::Wait, words);
                }
                None => {
                    opens.push(None);
                    let words = format!("the policy's window {id} is not there: name another");
                    self.step("window", Outcome::Wait, words);
                }
            }
        }
        if let Some(schedule) = &policy.schedule {
            if schedule.contains(now_ms) {
                self.pass(
                    "schedule",
                    "it is within an hour of a time of the policy's schedule",
                );
            } else {
                let next = schedule.next_start_ms(now_ms);
                opens.push(next);
                let words = next.map_or_else(
                    || "the policy's schedule never comes again".to_owned(),
                    |next| format!("the policy's schedule comes next at {}", time(next)),
                );
                self.step("schedule", Outcome::Wait, words);
            }
        }
        if !opens.is_empty() {
            // With both, both must be open; what is said is the later of the two.
            let until = opens
                .iter()
                .copied()
                .reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)));
            self.waits = Some(until.flatten());
        } else if policy.body.maintenance_window_id.is_none() && policy.schedule.is_none() {
            let scope = if policy.body.scope == Scope::Global {
                "it"
            } else {
                "this policy"
            };
            self.step(
                "window",
                Outcome::Pass,
                format!("no window is set for {scope}: any time will do"),
            );
        }
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// A time for people.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| format!("{time:.0}"))
        .unwrap_or_default()
}
