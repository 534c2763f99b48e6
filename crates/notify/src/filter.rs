//! Which news a channel wants.

use std::collections::BTreeSet;

use muster_alert::{Notification, NotificationKind, Severity};
use serde::{Deserialize, Serialize};

/// Most entries of each list.
const ENTRIES_MAX: usize = 1_000;

/// What news must be like; everything that is given must hold. Empty lists ask nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// The least severity; all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity_min: Option<Severity>,
    /// One of these kinds.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<NotificationKind>,
    /// About one of these servers, by number. News of several servers pass.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub servers: BTreeSet<i64>,
    /// About a server with one of these tags. News of several servers pass.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Of one of these rules, by number.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub rules: BTreeSet<i64>,
}

impl Filter {
    /// Whether the channel wants these news. A test always passes: whoever presses the button wants to see it.
    #[must_use]
    pub fn passes(&self, news: &Notification) -> bool {
        if news.kind == NotificationKind::Test {
            return true;
        }
        let of_server = news.server.as_ref().is_none_or(|server| {
            (self.servers.is_empty() || self.servers.contains(&server.id))
                && (self.tags.is_empty() || server.tags.iter().any(|tag| self.tags.contains(tag)))
        });
        of_server
            && self.severity_min.is_none_or(|least| least <= news.severity)
            && (self.kinds.is_empty() || self.kinds.contains(&news.kind))
            && (self.rules.is_empty() || self.rules.contains(&news.rule.id))
    }

    /// Whether it has no more entries than it may.
    #[must_use]
    pub(crate) fn is_bounded(&self) -> bool {
        [self.servers.len(), self.tags.len(), self.rules.len()]
            .into_iter()
            .all(|entries| entries <= ENTRIES_MAX)
            && self.tags.iter().all(|tag| tag.len() <= 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn everything_that_is_asked_must_hold() {
        let news = sample::firing();
        for (filter, passes) in [
            (r"{}", true),
            (r#"{"severity_min":"critical"}"#, true),
            (r#"{"kinds":["resolved"]}"#, false),
            (
                r#"{"kinds":["firing"],"servers":[7],"rules":[3],"tags":["nas"]}"#,
                true,
            ),
            (r#"{"servers":[8]}"#, false),
            (r#"{"tags":["web"]}"#, false),
            (r#"{"rules":[4]}"#, false),
        ] {
            let filter: Filter = serde_json::from_str(filter).unwrap();
            assert_eq!(filter.passes(&news), passes, "{filter:?}");
        }
        let critical: Filter = serde_json::from_str(r#"{"severity_min":"critical"}"#).unwrap();
        let mut mild = sample::firing();
        mild.severity = Severity::Warning;
        assert!(!critical.passes(&mild));
        mild.kind = NotificationKind::Test;
        assert!(critical.passes(&mild));
    }

    #[test]
    fn news_of_many_servers_are_kept_from_nobody_because_of_servers() {
        let mut news = sample::firing();
        news.server = None;
        let filter: Filter = serde_json::from_str(r#"{"servers":[8],"tags":["web"]}"#).unwrap();
        assert!(filter.passes(&news));
    }
}
