//! "Why is this not updating?": every rule that was asked, what it said, and what follows.
//!
//! All rules are asked, also after one has said no, so that whoever mends the first does not meet the second tomorrow.
//! What follows is the strictest of what they said: [`Decision`] is ordered by that.

mod rules;

use serde::Serialize;

use self::rules::{Asked, Terms};
use crate::{Candidate, Change, Container, Hold, Limit, Mode, Policy, Window};

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", content = "because", rename_all = "snake_case")]
pub enum Decision {
    /// What runs is what the registry has.
    UpToDate,
    /// It cannot be told whether there is something new.
    Unknown(String),
    /// It is not done, whatever the time, until somebody changes something.
    Blocked(Vec<String>),
    /// It is not done while something stands in its way.
    Held(Vec<String>),
    /// Somebody must say yes.
    NeedsApproval,
    /// It is done when it is time: from then, Unix ms; `None` if that time never comes.
    WaitsForWindow(Option<i64>),
    /// It may begin now.
    Ready,
}

impl Decision {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Unknown(_) => "unknown",
            Self::Blocked(_) => "blocked",
            Self::Held(_) => "held",
            Self::NeedsApproval => "needs_approval",
            Self::WaitsForWindow(_) => "waits_for_window",
            Self::Ready => "ready",
        }
    }
}

/// What a rule said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has nothing against it.
    Pass,
    /// It has something against it.
    Stop,
    /// It asks to wait.
    Wait,
    /// It could not tell.
    Unknown,
    /// It only says what is.
    Note,
}

/// One rule that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub rule: &'static str,
    /// What it said.
    pub outcome: Outcome,
    /// Why, in words, and what to do.
    pub words: String,
}

/// What is decided, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What is decided.
    #[serde(flatten)]
    pub decision: Decision,
    /// Number of the policy that decided; `None` if none speaks of the container.
    pub policy_id: Option<i64>,
    /// What happens by itself.
    pub mode: Mode,
    /// How far the update goes, if there is one.
    pub change: Option<Change>,
    /// Every rule that was asked, in order.
    pub steps: Vec<Step>,
}

/// What people said of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Approval {
    /// Nothing.
    #[default]
    None,
    /// It is wanted, when it is time.
    Approved(String),
    /// It is not wanted.
    Rejected(String),
    /// It is wanted now: neither age nor window counts.
    Now(String),
    /// A roll-out that somebody began has it: age and window count.
    Rollout(String),
}

/// Everything else that counts.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Every policy.
    pub policies: &'a [Policy],
    /// Every window.
    pub windows: &'a [Window],
    /// What stands in the way.
    pub holds: &'a [Hold],
    /// Why the offered digest is known to be bad, if it is.
    pub bad_digest: Option<&'a str>,
    /// Why nothing at all is changed, if the switch is on.
    pub freeze: Option<&'a str>,
    /// What people said.
    pub approval: &'a Approval,
    /// Now, Unix ms.
    pub now_ms: i64,
}

/// The policy that decides about a container: the highest priority, then the narrower scope, then the older one.
#[must_use]
pub fn select<'a>(container: &Container, policies: &'a [Policy]) -> Option<&'a Policy> {
    policies
        .iter()
        .filter(|policy| policy.takes(container))
        .max_by_key(|policy| (policy.priority(), policy.body.scope, std::cmp::Reverse(policy.id)))
}

/// What is asked of a registry for a container, by its policy and its own labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// How far updates go.
    pub limit: Limit,
    /// How long a digest must have been known, ms.
    pub min_age_ms: i64,
}

impl Reach {
    /// Of what the container's labels make of its policy: what is looked for is what may be taken, so that a label that
    /// narrows leads to the newest version within it, and one that would widen does not lead past the policy.
    #[must_use]
    pub fn of(container: &Container, policy: Option<&Policy>) -> Self {
        let terms = Terms::of(container, policy);
        Self {
            limit: terms.limit,
            min_age_ms: terms.min_age_ms,
        }
    }
}

/// What may be done with a container for which there is `candidate`, and why.
#[must_use]
pub fn explain(container: &Container, candidate: &Candidate, at: &Circumstances<'_>) -> Explanation {
    let policy = select(container, at.policies);
    let mut asked = Asked::of(container, policy, at);
    let (decision, change) = match candidate {
        Candidate::Unknown(reason) => {
            asked.step("candidate", Outcome::Unknown, unknown_words(reason));
            (Decision::Unknown(reason.clone()), None)
        }
        Candidate::Current => {
            let words = "what runs is what the registry has";
            asked.step("candidate", Outcome::Pass, words.to_owned());
            (Decision::UpToDate, None)
        }
        Candidate::Available(offer) => (asked.all(offer), Some(offer.change_from(&container.image))),
    };
    Explanation {
        decision,
        policy_id: policy.map(|policy| policy.id),
        mode: asked.mode(),
        change,
        steps: asked.steps(),
    }
}

fn unknown_words(reason: &str) -> String {
    format!("whether there is something new can't be told: {reason}")
}
