//! Whether a container is updated, and why not: policies, windows, labels, holds, the order of a roll-out.
//!
//! The controller hands in what is known; [`explain`] says what follows and names every rule that was asked, in words
//! people can act on. Pure: no I/O, no clock of its own, no table and no wire.
//!
//! Invariants: what cannot be told is never "up to date" and never updated by itself; a label on a container can only
//! narrow what an administrator's policy permits unless that policy says otherwise; holds, the freeze switch and
//! digests known to be bad hold for everybody.

mod explain;
mod field;
mod label;
mod limit;
mod policy;
mod rollout;
mod subject;
mod window;

pub use explain::{Approval, Circumstances, Decision, Explanation, Outcome, Reach, Step, explain, select};
pub use field::FieldProblem;
pub use label::{Labels, names as label_names};
pub use limit::Limit;
/// How far an update goes.
pub use muster_image::Step as Change;
pub use policy::{LabelPower, Mode, Policy, PolicyBody, Scope};
pub use rollout::{
    Action, Gate, Member, MemberState, Rollout, RolloutBody, RolloutState, SOAK_MS_DEFAULT, WAVES_DEFAULT,
    Wave, step,
};
pub use subject::{Candidate, Container, Hold, HoldKind, Offer, Owner};
pub use window::{Window, WindowBody};
