//! Containers that became unhealthy, and those that are well again, as notices that are kept.
//!
//! People are told by the rules of alerts; nothing is sent from here, so that nobody hears it twice. What cannot be told,
//! because the server, its engine or its collection is silent, is neither: a container stays what it was known to be.

use std::collections::{BTreeMap, HashMap, HashSet};

use muster_base::id::ServerId;
use muster_model::Health;
use serde_json::Value;

use super::inventory::text;
use super::{NoticeBody, Seen, UpdateError, Updates, model};
use crate::app::servers::ServerFilter;
use crate::app::status::ServerStatus;
use crate::store::{NoticeRow, UpdateWrite};

/// Under which name it is kept what was unhealthy.
const KEPT_AS: &str = "container_health";
/// Collector that tells of containers.
const COLLECTOR: &str = "containers";
/// Most containers that are remembered as unhealthy; more are told of again when they are looked at next.
const KEPT_MAX: usize = 20_000;

/// How a look at the health of all containers went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealthLook {
    /// Containers that are well.
    pub healthy: usize,
    /// Containers that are not.
    pub unhealthy: usize,
    /// Of which it cannot be told.
    pub unknown: usize,
    /// Notices that were written.
    pub notices: usize,
}

/// Where what is told of containers is what they are now.
struct Fresh {
    servers: HashSet<ServerId>,
    engines: HashSet<(ServerId, String)>,
    hostnames: HashMap<ServerId, String>,
}

impl Fresh {
    /// `None`: it cannot be told.
    fn is_well(&self, seen: &Seen) -> Option<bool> {
        let engine = (seen.server(), seen.target.runtime.to_string());
        if !self.servers.contains(&seen.server()) || !self.engines.contains(&engine) {
            return None;
        }
        match seen.view.health {
            Health::Healthy => Some(true),
            Health::Critical | Health::Failed => Some(false),
            // Paused, or stopped by somebody: neither.
            Health::Warning | Health::Unknown => None,
        }
    }
}

impl Updates {
    /// Looks how well every container is, and writes a notice of each that became unhealthy or is well again. To be called
    /// every ten minutes.
    ///
    /// # Errors
    /// A failure of the database; what was not written is the next time.
    pub async fn look_at_health(&self) -> Result<HealthLook, UpdateError> {
        let fresh = self.fresh().await?;
        let kept = self.app().store().update_setting(KEPT_AS).await?;
        let before: BTreeMap<String, i64> = kept
            .and_then(|(body, _)| serde_json::from_value(body).ok())
            .unwrap_or_default();
        let now_ms = self.now_ms();
        let mut after = BTreeMap::new();
        let mut writes = Vec::new();
        let mut look = HealthLook::default();
        for seen in self.containers(None).await? {
            let id = seen.container.id.to_string();
            let since_ms = before.get(&id).copied();
            match (fresh.is_well(&seen), since_ms) {
                (Some(true), None) => look.healthy += 1,
                (Some(true), Some(_)) => {
                    look.healthy += 1;
                    writes.push(notice(&fresh, &seen, true, now_ms)?);
                }
                (Some(false), since_ms) => {
                    look.unhealthy += 1;
                    if since_ms.is_none() {
                        writes.push(notice(&fresh, &seen, false, now_ms)?);
                    }
                    after.insert(id, since_ms.unwrap_or(now_ms));
                }
                (None, since_ms) => {
                    look.unknown += 1;
                    after.extend(since_ms.map(|since_ms| (id, since_ms)));
                }
            }
            if KEPT_MAX < after.len() {
                after.pop_first();
            }
        }
        look.notices = writes.len();
        let store = self.app().store();
        store.write_updates(&writes).await?;
        if after != before {
            store
                .put_update_setting(KEPT_AS, model::write(&after)?, now_ms)
                .await?;
        }
        Ok(look)
    }

    async fn fresh(&self) -> Result<Fresh, UpdateError> {
        let mut fresh = Fresh {
            servers: HashSet::new(),
            engines: HashSet::new(),
            hostnames: HashMap::new(),
        };
        let runtimes = self.runtimes().await?;
        let with_engines: HashSet<ServerId> = runtimes.iter().map(|runtime| runtime.view.server).collect();
        for server in self.app().all_servers(ServerFilter::default()).await? {
            let is_heard = matches!(server.status, ServerStatus::Online | ServerStatus::Failing);
            if !is_heard || !with_engines.contains(&server.id) {
                continue;
            }
            let collectors = self.app().collectors(server.id).await?;
            let has_failed = collectors
                .iter()
                .any(|run| run.collector == COLLECTOR && 0 < run.failures);
            if !has_failed {
                fresh.servers.insert(server.id);
            }
            fresh.hostnames.insert(server.id, server.hostname);
        }
        let answering = runtimes
            .into_iter()
            .filter(|runtime| text(&runtime.view, "status") != Some("silent"));
        fresh.engines = answering
            .map(|runtime| (runtime.view.server, runtime.view.key))
            .collect();
        Ok(fresh)
    }
}

fn notice(fresh: &Fresh, seen: &Seen, is_well: bool, now_ms: i64) -> Result<UpdateWrite, UpdateError> {
    let hostname = fresh.hostnames.get(&seen.server()).map_or("", String::as_str);
    let (word, what, severity) = if is_well {
        ("healthy", "is well again", "info")
    } else {
        ("unhealthy", "is unhealthy", "critical")
    };
    let body = NoticeBody {
        notification_type: word.to_owned(),
        title: format!("{} on {hostname} {what}", seen.container.name),
        message: seen.view.health_reasons.join("; "),
        severity: severity.to_owned(),
        channels: Vec::new(),
        // Alerts tell people.
        status: "kept".to_owned(),
        delivery: String::new(),
    };
    let body: Value = model::write(&body)?;
    Ok(UpdateWrite::Notice(NoticeRow {
        id: 0,
        container_id: Some(seen.container.id),
        update_history_id: None,
        body,
        created_ms: now_ms,
    }))
}
