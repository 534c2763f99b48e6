//! What the engine is told besides samples: what servers have, how healthy that is, and how the servers are.

use std::collections::HashSet;

use muster_alert::engine::{ResourceFacts, ServerFacts};
use muster_alert::{Change, SeriesInfo, rule};
use muster_base::id::ServerId;
use muster_model::{Labels, ResourceKind};
use tokio::time::Instant;

use super::Judge;
use crate::alert::{AlertError, Told, facts};
use crate::app::AppError;
use crate::app::servers::{ServerFilter, ServerView};
use crate::app::status::ServerStatus;

/// Facts that come with reports count for as long as reports of disks may be apart, ms.
const FACT_INTERVAL_MS: u32 = 2 * 3_600_000;
/// Facts that come every few seconds, ms.
const QUICK_INTERVAL_MS: u32 = 10_000;

impl Judge {
    /// Tells the engine what a server has now, and how healthy that is.
    pub(super) async fn look_at_resources(
        &mut self,
        server: ServerId,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) -> Result<(), AlertError> {
        let store = self.app.store();
        let rows = store.estate(server).await?;
        let links = store.links(server, false).await?;
        let known = self.known.entry(server).or_default();
        let is_changed = known.take(rows);
        let links: Vec<(i64, i64)> = links
            .iter()
            .filter_map(|link| known.id_of(&link.from).zip(known.id_of(&link.to)))
            .collect();
        if is_changed || known.links != links {
            known.links.clone_from(&links);
            let resources = known.rows.iter().map(|row| ResourceFacts {
                id: row.id,
                kind: row.kind,
                name: row.name.clone(),
            });
            self.engine
                .set_resources(now_ms, server.0, resources.collect(), &links, changes);
        }
        let facts: Vec<(i64, ResourceKind, f64)> = known
            .rows
            .iter()
            .filter(|row| row.kind != ResourceKind::Server)
            .map(|row| (row.id, row.kind, facts::of_health(row.health)))
            .collect();
        for (resource, kind, value) in facts {
            self.tell(now_ms, server.0, resource, kind, rule::HEALTH, value, changes);
        }
        Ok(())
    }

    /// Tells the engine a number that the controller knows.
    #[expect(clippy::too_many_arguments, reason = "they are what names a fact, each once")]
    pub(super) fn tell(
        &mut self,
        now_ms: i64,
        server: i64,
        resource: i64,
        kind: ResourceKind,
        name: &str,
        value: f64,
        changes: &mut Vec<Change>,
    ) {
        let interval_ms = if name == rule::HEALTH {
            FACT_INTERVAL_MS
        } else {
            QUICK_INTERVAL_MS
        };
        let slot = self.engine.bind(SeriesInfo {
            server,
            resource,
            kind,
            name: name.to_owned(),
            labels: Labels::default(),
            interval_ms,
            is_fact: true,
        });
        if let Some(slot) = slot {
            self.engine
                .row(now_ms, false, now_ms, std::iter::once((slot, value)), changes);
        }
    }

    /// Tells the engine numbers that other parts of the controller know.
    pub(super) async fn hear(&mut self, told: Vec<Told>) -> Result<(), AlertError> {
        self.flush().await?;
        let now_ms = self.app.clock().now_ms();
        let mut changes = Vec::new();
        for one in told {
            let server = one.server;
            if !self.servers.contains(&server.0) && !self.meet(server, &mut changes).await? {
                continue;
            }
            if !self.known.contains_key(&server) {
                self.look_at_resources(server, now_ms, &mut changes).await?;
            }
            let known = self.known.get(&server);
            // What is gone was taken from the engine, and must not come back.
            let is_there = one.resource == server.resource()
                || known.is_some_and(|known| known.rows.iter().any(|row| row.id == one.resource.0));
            if !is_there {
                continue;
            }
            let slot = self.engine.bind(SeriesInfo {
                server: server.0,
                resource: one.resource.0,
                kind: one.kind,
                name: one.name.to_owned(),
                labels: one.labels,
                interval_ms: one.interval_ms,
                is_fact: false,
            });
            if let Some(slot) = slot {
                let sample = std::iter::once((slot, one.value));
                self.engine.row(now_ms, false, now_ms, sample, &mut changes);
            }
        }
        self.want(changes);
        self.flush().await
    }

    /// Looks which servers are heard, and tells the engine at once of those that are lost or are back.
    pub(super) fn listen(&mut self, now_ms: i64, changes: &mut Vec<Change>) {
        let step_ms = i64::try_from(self.listened.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.listened = Instant::now();
        let mut turned = Vec::new();
        for id in &self.servers {
            let server = ServerId(*id);
            let before = self.hearing.verdict(server);
            let live = self.app.presence().of(server);
            let heard = self.hearing.look(server, live, step_ms);
            if heard != before
                && before.is_some()
                && let Some(is_connected) = heard
            {
                turned.push((*id, is_connected));
            }
        }
        for (id, is_connected) in turned {
            self.tell_connected(now_ms, id, is_connected, changes);
        }
    }

    pub(super) fn tell_connected(
        &mut self,
        now_ms: i64,
        id: i64,
        is_connected: bool,
        changes: &mut Vec<Change>,
    ) {
        self.engine.set_connected(now_ms, id, is_connected);
        let value = if is_connected { 1.0 } else { 0.0 };
        let (kind, name) = (ResourceKind::Server, rule::IS_CONNECTED);
        self.tell(now_ms, id, id, kind, name, value, changes);
    }

    /// Tells the engine how servers are. Those that are gone or not monitored are not judged.
    pub(super) async fn look_at_servers(&mut self, now_ms: i64) -> Result<(), AlertError> {
        let mut seen = HashSet::new();
        let mut changes = Vec::new();
        for server in &self.app.all_servers(ServerFilter::default()).await? {
            if server.status != ServerStatus::Disabled {
                seen.insert(server.id.0);
                self.look_at_server(now_ms, server, &mut changes);
            }
        }
        let gone: Vec<i64> = self.servers.difference(&seen).copied().collect();
        for server in gone {
            self.engine.remove_server(now_ms, server, &mut changes);
            self.known.remove(&ServerId(server));
            self.hearing.forget(ServerId(server));
        }
        self.servers = seen;
        self.want(changes);
        Ok(())
    }

    /// Looks at a server that is new here; says whether it is judged.
    pub(super) async fn meet(
        &mut self,
        server: ServerId,
        changes: &mut Vec<Change>,
    ) -> Result<bool, AlertError> {
        let server = match self.app.server(server).await {
            Ok(server) if server.status != ServerStatus::Disabled => server,
            Ok(_) | Err(AppError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.servers.insert(server.id.0);
        self.look_at_server(self.app.clock().now_ms(), &server, changes);
        Ok(true)
    }

    pub(super) fn look_at_server(&mut self, now_ms: i64, server: &ServerView, changes: &mut Vec<Change>) {
        let id = server.id.0;
        let facts = ServerFacts {
            name: server.hostname.clone(),
            tags: server.tags.clone(),
        };
        self.engine.set_server(now_ms, id, facts, changes);
        // Of one that never reported nothing is missed.
        let is_connected = (server.status != ServerStatus::NeverSeen)
            .then(|| self.hearing.verdict(server.id))
            .flatten();
        if let Some(is_connected) = is_connected {
            self.tell_connected(now_ms, id, is_connected, changes);
        }
        let whole_ms =
            i64::try_from(self.app.settings().agent_certificate_ttl.as_millis()).unwrap_or(i64::MAX);
        let certificate = self.certificates.get(&id).map(|ends_ms| (*ends_ms, whole_ms));
        for (name, value) in facts::of_server(server, certificate, now_ms) {
            // Whether it is heard was told above, by the one who listens.
            if name == rule::IS_CONNECTED {
                continue;
            }
            self.tell(now_ms, id, id, ResourceKind::Server, name, value, changes);
        }
    }
}
