//! The joined labels: which there are, how conditions on them choose servers, and how they are added. Pure.

use std::collections::HashMap;

use muster_base::id::ServerId;
use muster_samples::{Matcher, SeriesMeta};

use crate::app::servers::ServerName;

/// Names of the joined labels. An agent's own label of such a name is shown as `exported_…`, as Prometheus does it.
const JOINED: [&str; 3] = ["instance", "job", "server_id"];

/// A selector, split into what the store can judge and what only the join can.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    /// Conditions on stored names and labels.
    pub(super) own: Vec<Matcher>,
    joined: Vec<Matcher>,
}

impl Joined {
    /// Splits a selector.
    pub(super) fn split(matchers: Vec<Matcher>) -> Self {
        let (joined, own) = matchers
            .into_iter()
            .partition(|matcher| JOINED.contains(&matcher.name()));
        Self { own, joined }
    }

    /// The servers that the conditions leave; `None` if they say nothing of servers.
    pub(super) fn servers(&self, names: &HashMap<ServerId, ServerName>) -> Option<Vec<ServerId>> {
        let of_server: Vec<&Matcher> = self
            .joined
            .iter()
            .filter(|matcher| matcher.name() != "job")
            .collect();
        if of_server.is_empty() {
            return None;
        }
        let is_left = |id: ServerId, name: &ServerName| {
            of_server.iter().all(|matcher| match matcher.name() {
                "instance" => matcher.matches(&name.hostname),
                _ => matcher.matches(&id.to_string()),
            })
        };
        Some(
            names
                .iter()
                .filter(|(id, name)| is_left(**id, name))
                .map(|(id, _)| *id)
                .collect(),
        )
    }

    /// Whether the condition on `job` takes a metric.
    pub(super) fn takes_job_of(&self, metric: &str) -> bool {
        self.joined
            .iter()
            .filter(|matcher| matcher.name() == "job")
            .all(|matcher| matcher.matches(job(metric)))
    }
}

/// The scrape job under which stock dashboards expect a metric.
fn job(metric: &str) -> &'static str {
    if metric.starts_with("smartctl_") {
        "smartctl"
    } else if metric.starts_with("muster_") {
        "muster"
    } else {
        "node"
    }
}

/// A series' labels with the joined ones, by name; `None` if its server is deleted.
pub(super) fn labels(
    meta: &SeriesMeta,
    names: &HashMap<ServerId, ServerName>,
) -> Option<Vec<(String, String)>> {
    let server = names.get(&meta.server)?;
    let mut labels: Vec<(String, String)> = meta
        .labels
        .iter()
        .map(|(name, value)| {
            let name = if JOINED.contains(&name) {
                format!("exported_{name}")
            } else {
                name.to_owned()
            };
            (name, value.to_owned())
        })
        .collect();
    labels.push(("instance".to_owned(), server.hostname.clone()));
    labels.push(("job".to_owned(), job(&meta.name).to_owned()));
    labels.push(("server_id".to_owned(), meta.server.to_string()));
    labels.sort_unstable();
    Some(labels)
}

#[cfg(test)]
mod tests {
    use muster_samples::MatchOp;

    use super::*;

    fn names() -> HashMap<ServerId, ServerName> {
        [(1, "web"), (2, "db"), (3, "web")]
            .map(|(id, hostname)| {
                let name = ServerName {
                    hostname: hostname.to_owned(),
                    tags: Vec::new(),
                };
                (ServerId(id), name)
            })
            .into()
    }

    fn servers(matchers: Vec<Matcher>) -> Option<Vec<i64>> {
        let mut ids: Vec<i64> = Joined::split(matchers)
            .servers(&names())?
            .iter()
            .map(|id| id.0)
            .collect();
        ids.sort_unstable();
        Some(ids)
    }

    #[test]
    fn conditions_on_joined_labels_choose_servers() {
        assert_eq!(servers(vec![Matcher::equal("device", "sda")]), None);
        assert_eq!(servers(vec![Matcher::equal("job", "node")]), None);
        assert_eq!(servers(vec![Matcher::equal("instance", "web")]), Some(vec![1, 3]));
        assert_eq!(
            servers(vec![
                Matcher::equal("instance", "web"),
                Matcher::equal("server_id", "3")
            ]),
            Some(vec![3])
        );
        assert_eq!(servers(vec![Matcher::equal("instance", "mail")]), Some(vec![]));
        let not_web = Matcher::new("instance", MatchOp::Nre, "w.*").unwrap();
        assert_eq!(servers(vec![not_web]), Some(vec![2]));
    }

    #[test]
    fn the_job_follows_the_metrics_prefix() {
        let smart = Joined::split(vec![Matcher::equal("job", "smartctl")]);
        assert!(smart.takes_job_of("smartctl_device_temperature"));
        assert!(!smart.takes_job_of("node_load1"));
        assert!(!smart.takes_job_of("muster_collector_runs_total"));
        assert!(Joined::default().takes_job_of("node_load1"));
    }
}
