//! What is judged and what becomes of it: rules, verdicts, the life of alerts, silences.
//!
//! The controller hands in what arrives; an [`Engine`] says what changes: rows to keep and news to deliver, which the
//! controller writes in one transaction. Pure: no I/O, no clock of its own, no table and no wire; whoever calls brings
//! the time, so that what was judged can be judged again with the same result.
//!
//! Invariants: what cannot be told never counts as good; an alert that was told is told to be over; nobody is told of
//! what was over before it could be told; everything that grows has a bound.

mod alert;
pub mod defaults;
pub mod engine;
mod fields;
pub mod measure;
pub mod mute;
mod notification;
pub mod preview;
pub mod rule;
mod severity;
mod verdict;

pub use alert::{Acknowledgement, Alert, AlertId, AlertState, End, RuleId, key};
pub use engine::{Change, Engine, SeriesInfo, SeriesSlot};
pub use fields::FieldProblem;
pub use mute::{Mute, MuteScope, Schedule};
pub use notification::{
    AFFECTED_MAX, AlertRef, Notification, NotificationKind, NotificationLink, ResourceRef, RuleRef,
    ServerRef, TEXT_CHARS_MAX, TITLE_CHARS_MAX,
};
pub use rule::{Rule, RuleKind};
pub use severity::Severity;
pub use verdict::{Comparison, Levels, Verdict};
