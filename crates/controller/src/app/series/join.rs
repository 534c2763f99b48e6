//! The joined labels: which there are, how conditions on them choose servers, and how they are added. Pure.

use std::collections::HashMap;

use muster_base::id::ServerId;
use muster_samples::{MatchOp, Matcher, NAME_LABEL, SeriesMeta};

use crate::app::servers::ServerName;

/// Names of the joined labels. An agent's own label of such a name is shown as `exported_…`, as Prometheus does it.
const JOINED: [&str; 3] = ["instance", "job", "server_id"];

/// Metrics whose names start otherwise belong to this job.
const JOB_OF_THE_REST: &str = "node";
/// The scrape jobs under which stock dashboards expect metrics, by the prefix of the metrics' names.
const PREFIXES: [(&str, &str); 8] = [
    ("cadvisor_", "cadvisor"),
    ("container_", "cadvisor"),
    ("machine_", "cadvisor"),
    ("muster_", "muster"),
    ("mysql_", "mysql"),
    ("pg_", "postgres"),
    ("smartctl_", "smartctl"),
    ("zfs_", "zfs"),
];

/// Every scrape job there is.
pub const JOBS: [&str; 7] = [
    "node", "smartctl", "zfs", "postgres", "mysql", "cadvisor", "muster",
];

/// A selector, split into what the store can judge and what only the join can.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    /// Conditions on stored names and labels.
    pub(super) own: Vec<Matcher>,
    of_server: Vec<Matcher>,
    is_empty: bool,
}

impl Joined {
    /// Splits a selector. What is said of the job becomes a condition on names, so that the store never reads what
    /// is not wanted.
    pub(super) fn split(matchers: Vec<Matcher>) -> Self {
        let mut split = Self::default();
        let mut of_job = Vec::new();
        for matcher in matchers {
            match matcher.name() {
                "job" => of_job.push(matcher),
                "instance" | "server_id" => split.of_server.push(matcher),
                _ => split.own.push(matcher),
            }
        }
        let takes = |job: &str| of_job.iter().all(|matcher| matcher.matches(job));
        let (taken, left): (Vec<_>, Vec<_>) = PREFIXES.into_iter().partition(|(_, job)| takes(job));
        let (op, prefixes) = if takes(JOB_OF_THE_REST) {
            (MatchOp::Nre, left)
        } else {
            split.is_empty = taken.is_empty();
            (MatchOp::Re, taken)
        };
        if !prefixes.is_empty() {
            let prefixes: Vec<&str> = prefixes.into_iter().map(|(prefix, _)| prefix).collect();
            let pattern = format!("(?:{}).*", prefixes.join("|"));
            let matcher =
                Matcher::new(NAME_LABEL, op, pattern).expect("prefixes joined by | are an expression");
            split.own.push(matcher);
        }
        split
    }

    /// Whether nothing can meet the conditions.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The servers that the conditions leave; `None` if they say nothing of servers.
    pub(super) fn servers(&self, names: &HashMap<ServerId, ServerName>) -> Option<Vec<ServerId>> {
        if self.of_server.is_empty() {
            return None;
        }
        let is_left = |id: ServerId, name: &ServerName| {
            self.of_server.iter().all(|matcher| match matcher.name() {
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
}

/// The scrape job of a metric.
pub(super) fn job(metric: &str) -> &'static str {
    let found = PREFIXES
        .into_iter()
        .find(|(prefix, _)| metric.starts_with(prefix));
    found.map_or(JOB_OF_THE_REST, |(_, job)| job)
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
        let metrics = [
            "smartctl_device_temperature",
            "muster_agent_info",
            "node_load1",
            "up",
        ];
        let takes = |op: MatchOp, job: &str| {
            let split = Joined::split(vec![Matcher::new("job", op, job).unwrap()]);
            let taken = metrics.into_iter().filter(|metric| {
                !split.is_empty() && split.own.iter().all(|matcher| matcher.matches(metric))
            });
            taken.collect::<Vec<_>>()
        };
        assert_eq!(takes(MatchOp::Eq, "smartctl"), metrics[..1]);
        assert_eq!(takes(MatchOp::Eq, "node"), metrics[2..]);
        assert_eq!(takes(MatchOp::Ne, "node"), metrics[..2]);
        assert_eq!(takes(MatchOp::Re, "node|muster"), metrics[1..]);
        assert_eq!(takes(MatchOp::Re, ".*"), metrics);
        assert!(takes(MatchOp::Eq, "postgres").is_empty());
        for metric in metrics {
            assert!(takes(MatchOp::Eq, job(metric)).contains(&metric));
            assert!(JOBS.contains(&job(metric)));
        }
        for (prefix, job) in PREFIXES {
            assert!(JOBS.contains(&job), "{prefix}");
        }
        assert!(JOBS.contains(&JOB_OF_THE_REST));
    }
}
