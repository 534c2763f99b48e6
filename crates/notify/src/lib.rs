//! Telling people of alerts: channels, their wire formats, and the policy of delivery.
//!
//! A [`Channel`] is checked as a whole when it is set up, and then delivers news with a [`Courier`], which makes every
//! connection and refuses those that only serve an attacker. When a channel may be sent to, what is told of together,
//! and what happens after a failure is decided by [`policy`], which is pure: it is told the time. Who keeps the news
//! until they are delivered is no matter of this crate; it knows no database and no clock.
//!
//! What always holds: secrets are not printed, not serialised and cut out of answers; a text is escaped for whoever
//! reads it and no longer than they take; every answer is read up to a bound; nothing follows a redirect.

mod channel;
mod filter;
mod guard;
mod heartbeat;
mod http;
mod kind;
mod network;
mod outcome;
mod parcel;
pub mod policy;
#[cfg(test)]
mod sample;
mod secret;
mod smtp;
mod template;
mod text;
mod tls;

pub use channel::{Channel, Courier, Options, PER_MINUTE_DEFAULT};
pub use filter::Filter;
pub use guard::{Guard, Refused};
pub use heartbeat::Heartbeat;
pub use kind::{Kind, SecretField, SettingProblem};
pub use network::{ConnectError, Network, Resolve, SystemResolver};
pub use outcome::{ANSWER_BYTES_MAX, Attempt, Blame, Outcome, RETRY_AFTER_MAX};
pub use secret::{Secret, Secrets};
pub use template::{Template, test_news};
pub use tls::{AuthorityError, Roots};
