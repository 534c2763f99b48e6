//! Servers: listing, creating with a bound enrolment token, changing, deleting.

mod bulk;
mod fields;

use std::collections::HashMap;
use std::sync::Arc;

use muster_base::id::{AgentId, ServerId};
use muster_model::ResourceKind;

use tokio::sync::broadcast;

use super::enrolment::{CreatedToken, NewToken};
use super::live::Cadence;
use super::status::{Evidence, ServerStatus};
use super::{App, AppError, Page, PageRequest, page};
use crate::store::{ServerFields, ServerRow};

/// A server as the API shows it. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerView {
    /// Its id.
    pub id: ServerId,
    /// The name people gave it; need not be unique.
    pub hostname: String,
    /// Address, if someone wrote one down.
    pub ip_address: Option<String>,
    /// Port of its SSH daemon.
    pub ssh_port: u16,
    /// Account on it.
    pub username: Option<String>,
    /// SSH key to use.
    pub ssh_key_id: Option<i64>,
    /// Credential to use.
    pub credential_id: Option<i64>,
    /// Free text.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Whether it is monitored.
    pub monitoring_enabled: bool,
    /// Time between collections, in seconds, if someone set one.
    pub collection_interval: Option<u32>,
    /// How it is.
    pub status: ServerStatus,
    /// When it was last heard.
    pub last_seen_ms: Option<i64>,
    /// How far its clock is ahead of ours, ms, if it is connected.
    pub clock_skew_ms: Option<i64>,
    /// What fails, if something does.
    pub last_error: Option<String>,
    /// Its agent's identity, if it has a valid one.
    pub agent_id: Option<AgentId>,
    /// Version of its agent.
    pub agent_version: Option<String>,
    /// How many devices it has.
    pub device_count: u64,
    /// How many pools.
    pub pool_count: u64,
    /// How many databases.
    pub database_count: u64,
    /// When it was created.
    pub created_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
}

/// Which servers are wanted.
#[derive(Debug, Clone, Default)]
pub struct ServerFilter {
    /// Only those that are (not) monitored.
    pub monitoring_enabled: Option<bool>,
}

/// A server to be created.
#[derive(Debug, Clone, Default)]
pub struct NewServer {
    /// Its name, 1 to 255 bytes.
    pub hostname: String,
    /// Its address.
    pub ip_address: Option<String>,
    /// Port of its SSH daemon; 22 if not given.
    pub ssh_port: Option<u16>,
    /// Account on it.
    pub username: Option<String>,
    /// SSH key to use.
    pub ssh_key_id: Option<i64>,
    /// Credential to use.
    pub credential_id: Option<i64>,
    /// Free text.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Whether it is monitored; yes if not given.
    pub monitoring_enabled: Option<bool>,
    /// Time between collections, in seconds.
    pub collection_interval: Option<u32>,
}

/// Changes to a server. `None` leaves a field; `Some(None)` empties it.
#[derive(Debug, Clone, Default)]
pub struct ServerPatch {
    /// Its name.
    pub hostname: Option<String>,
    /// Its address.
    pub ip_address: Option<Option<String>>,
    /// Port of its SSH daemon.
    pub ssh_port: Option<u16>,
    /// Account on it.
    pub username: Option<Option<String>>,
    /// SSH key to use.
    pub ssh_key_id: Option<Option<i64>>,
    /// Credential to use.
    pub credential_id: Option<Option<i64>>,
    /// Free text.
    pub description: Option<Option<String>>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Whether it is monitored.
    pub monitoring_enabled: Option<bool>,
    /// Time between collections, in seconds.
    pub collection_interval: Option<Option<u32>>,
}

/// A server that was just created.
#[derive(Debug, Clone)]
pub struct CreatedServer {
    /// The server.
    pub server: ServerView,
    /// The enrolment token bound to it.
    pub token: CreatedToken,
    /// What to type on the server to install its agent; contains the token.
    pub install_command: String,
}

/// What joins a server's series when they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    /// The name people gave it.
    pub hostname: String,
    /// Tags.
    pub tags: Vec<String>,
}

impl App {
    /// All servers that a filter takes, in order of their ids.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn all_servers(&self, filter: ServerFilter) -> Result<Vec<ServerView>, AppError> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let wanted = PageRequest {
                limit: Some(super::PAGE_LIMIT_MAX),
                cursor,
            };
            let page = self.servers(filter.clone(), wanted).await?;
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Servers in order of their ids.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn servers(
        &self,
        filter: ServerFilter,
        wanted: PageRequest,
    ) -> Result<Page<ServerView>, AppError> {
        let limit = wanted.limit();
        let after = wanted.after()?;
        let (rows, total) = self
            .store
            .servers(filter.monitoring_enabled, after, u64::from(limit) + 1)
            .await?;
        let rows = page(rows, limit, total, |row| row.id.to_string());
        Ok(Page {
            items: self.views(rows.items).await?,
            total: rows.total,
            next: rows.next,
        })
    }

    /// One server.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn server(&self, id: ServerId) -> Result<ServerView, AppError> {
        let row = self.store.server(id).await?.ok_or_else(|| no_server(id))?;
        self.view(row).await
    }

    /// Creates a server and an enrolment token bound to it.
    ///
    /// # Errors
    /// [`AppError::Invalid`] naming each field, or a failure of the database.
    pub async fn create_server(&self, new: NewServer, by: &str) -> Result<CreatedServer, AppError> {
        let fields = ServerFields {
            hostname: new.hostname,
            ip_address: new.ip_address,
            ssh_port: new.ssh_port.unwrap_or(22),
            username: new.username,
            ssh_key_id: new.ssh_key_id,
            credential_id: new.credential_id,
            description: new.description,
            tags: new.tags,
            monitoring_enabled: new.monitoring_enabled.unwrap_or(true),
            collection_interval_s: new.collection_interval,
        };
        fields::check(&fields)?;
        let row = self.store.create_server(fields, self.clock.now_ms()).await?;
        self.forget_names().await;
        tracing::info!(server.id = row.id.0, user = by, "server created");
        let token = NewToken {
            ttl: None,
            uses: 1,
            server: Some(row.id),
            created_by: by.to_owned(),
        };
        let token = self.create_token(token).await?;
        Ok(CreatedServer {
            install_command: install_command(&self.settings.agent_address, &token.text),
            server: self.view(row).await?,
            token,
        })
    }

    /// Changes a server.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Invalid`], or a failure of the database.
    pub async fn patch_server(
        &self,
        id: ServerId,
        patch: ServerPatch,
        by: &str,
    ) -> Result<ServerView, AppError> {
        let before = self.store.server(id).await?.ok_or_else(|| no_server(id))?;
        let mut patched = before.fields;
        patch.clone().apply(&mut patched);
        fields::check(&patched)?;
        let now_ms = self.clock.now_ms();
        // Applied again to what is there by then: another change in between is not undone.
        let row = self
            .store
            .update_server(id, now_ms, |fields| patch.apply(fields))
            .await?;
        let row = row.ok_or_else(|| no_server(id))?;
        // Nobody listens while the agent port is not served; agents then read it when they connect.
        let _ = self.cadence_tx.send((id, row.fields.cadence()));
        self.forget_names().await;
        tracing::info!(server.id = id.0, user = by, "server changed");
        self.view(row).await
    }

    /// Deletes a server: its identity is revoked, a tombstone and its history stay.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn delete_server(&self, id: ServerId, by: &str) -> Result<(), AppError> {
        let revoked = self
            .store
            .delete_server(id, self.clock.now_ms())
            .await?
            .ok_or_else(|| no_server(id))?;
        let kept = self.cut_off(&revoked).await;
        self.presence.forget(id);
        self.forget_names().await;
        tracing::info!(server.id = id.0, user = by, "server deleted");
        Ok(kept?)
    }

    /// Names and tags of all servers, for joining `instance` and `server_id` to series.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn server_names(&self) -> Result<Arc<HashMap<ServerId, ServerName>>, AppError> {
        // Held while reading, so that a change that comes in between empties what was read before it.
        let mut names = self.names.lock().await;
        if let Some(known) = &*names {
            return Ok(Arc::clone(known));
        }
        let rows = self.store.server_names().await?;
        let read: HashMap<_, _> = rows
            .into_iter()
            .map(|(id, hostname, tags)| (id, ServerName { hostname, tags }))
            .collect();
        let read = Arc::new(read);
        *names = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Hears of every server whose cadence is set from now on.
    #[must_use]
    pub fn cadences(&self) -> broadcast::Receiver<(ServerId, Cadence)> {
        self.cadence_tx.subscribe()
    }

    /// To be called after every change of a server's name or tags.
    pub(super) async fn forget_names(&self) {
        *self.names.lock().await = None;
    }

    /// Fails unless there is such a server.
    pub(super) async fn need_server(&self, id: ServerId) -> Result<(), AppError> {
        self.store
            .server(id)
            .await?
            .map(drop)
            .ok_or_else(|| no_server(id))
    }

    /// What the status of a server rests on.
    pub(super) fn evidence(&self, row: &ServerRow, is_failing: bool) -> Evidence {
        Evidence {
            monitoring_enabled: row.fields.monitoring_enabled,
            last_seen_ms: row.last_seen_ms,
            live: self.presence.of(row.id),
            is_failing,
            started_ms: self.started_ms,
        }
    }

    async fn view(&self, row: ServerRow) -> Result<ServerView, AppError> {
        let id = row.id;
        self.views(vec![row]).await?.pop().ok_or_else(|| no_server(id))
    }

    async fn views(&self, rows: Vec<ServerRow>) -> Result<Vec<ServerView>, AppError> {
        const COUNTED: [ResourceKind; 3] = [ResourceKind::Device, ResourceKind::Pool, ResourceKind::Database];
        let ids: Vec<ServerId> = rows.iter().map(|row| row.id).collect();
        let counts = self.store.resource_counts(Some(&ids), &COUNTED).await?;
        let mut agents = self.store.agents_of(&ids).await?;
        let mut failing = self.store.failing(Some(&ids)).await?;
        let now_ms = self.clock.now_ms();
        let views = rows.into_iter().map(|row| {
            let last_error = failing.remove(&row.id);
            let evidence = self.evidence(&row, last_error.is_some());
            let (agent_id, agent_version) = agents.remove(&row.id).unzip();
            let [device_count, pool_count, database_count] =
                COUNTED.map(|kind| counts.get(&(row.id, kind)).copied().unwrap_or(0));
            let fields = row.fields;
            ServerView {
                id: row.id,
                hostname: fields.hostname,
                ip_address: fields.ip_address,
                ssh_port: fields.ssh_port,
                username: fields.username,
                ssh_key_id: fields.ssh_key_id,
                credential_id: fields.credential_id,
                description: fields.description,
                tags: fields.tags,
                monitoring_enabled: fields.monitoring_enabled,
                collection_interval: fields.collection_interval_s,
                status: evidence.status(now_ms),
                last_seen_ms: evidence.last_heard_ms(),
                clock_skew_ms: evidence.clock_skew_ms(),
                last_error,
                agent_id,
                agent_version: agent_version.flatten(),
                device_count,
                pool_count,
                database_count,
                created_ms: row.created_ms,
                updated_ms: row.updated_ms,
            }
        });
        Ok(views.collect())
    }
}

pub(super) fn no_server(id: ServerId) -> AppError {
    AppError::NotFound {
        what: "server",
        id: id.0,
    }
}

/// Writes the token by a here-document, so that it stands in no process's arguments.
fn install_command(controller: &str, token: &str) -> String {
    format!(
        "umask 077; cat > muster.token <<'END'\n{token}\nEND\n\
         muster-agent enroll --controller {controller} --token-file muster.token --data-dir /var/lib/muster-agent"
    )
}

#[cfg(test)]
mod tests;
