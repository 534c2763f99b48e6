//! Silences and windows: when and of what people want no news.
//!
//! They mute delivery and never judgement: an alert goes through its life as ever, and what is still active when a
//! mute ends is told then.

mod read;
mod schedule;

pub use read::read;
pub use schedule::{Cron, Schedule, Weekly};

use crate::{RuleId, alert::AlertId};

/// What a mute is about. What is empty restricts nothing, but something must be named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MuteScope {
    /// Whether it is about everything.
    pub everything: bool,
    /// Numbers of servers.
    pub servers: Vec<i64>,
    /// Tags, of which a server has at least one.
    pub tags: Vec<String>,
    /// Numbers of resources.
    pub resources: Vec<i64>,
    /// Numbers of rules.
    pub rules: Vec<RuleId>,
}

/// What is known of an alert when it is asked whether it is muted.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The alert.
    pub alert: AlertId,
    /// Its rule.
    pub rule: RuleId,
    /// Its server.
    pub server: Option<i64>,
    /// The server's tags.
    pub tags: &'a [String],
    /// Its resource, and what that rests on.
    pub resources: &'a [i64],
}

impl MuteScope {
    /// Whether the alert is in scope: of every list that is not empty, one entry fits.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        if self.everything {
            return true;
        }
        if self.servers.is_empty()
            && self.tags.is_empty()
            && self.resources.is_empty()
            && self.rules.is_empty()
        {
            return false;
        }
        let server = self.servers.is_empty()
            || subject
                .server
                .is_some_and(|server| self.servers.contains(&server));
        let tag = self.tags.is_empty() || self.tags.iter().any(|tag| subject.tags.contains(tag));
        let resource = self.resources.is_empty()
            || subject
                .resources
                .iter()
                .any(|resource| self.resources.contains(resource));
        let rule = self.rules.is_empty() || self.rules.contains(&subject.rule);
        server && tag && resource && rule
    }
}

/// A silence (once) or a window (again and again).
#[derive(Debug, Clone, PartialEq)]
pub struct Mute {
    /// Its number; 0 until it is stored.
    pub id: i64,
    /// What people call it, or why it is.
    pub name: String,
    /// Whether it counts.
    pub enabled: bool,
    /// Of what no news is wanted.
    pub scope: MuteScope,
    /// When.
    pub schedule: Schedule,
}

impl Mute {
    /// Whether it mutes at `now_ms`, Unix ms.
    #[must_use]
    pub fn is_in_force(&self, now_ms: i64) -> bool {
        self.enabled && self.schedule.contains(now_ms)
    }
}
