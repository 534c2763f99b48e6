//! Servers, and the resource that stands for each.

mod bulk;

use std::collections::{BTreeMap, HashMap};

use muster_base::id::{AgentId, ServerId};
use muster_model::{Health, ResourceKey, ResourceKind};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};
use serde_json::json;

use super::entity::{agent_identity, resource, server};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit};
use crate::store::identities;

/// What people may set of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerFields {
    pub(crate) hostname: String,
    pub(crate) ip_address: Option<String>,
    pub(crate) ssh_port: u16,
    pub(crate) username: Option<String>,
    pub(crate) ssh_key_id: Option<i64>,
    pub(crate) credential_id: Option<i64>,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) monitoring_enabled: bool,
    pub(crate) collection_interval_s: Option<u32>,
}

impl ServerFields {
    /// A monitored server of which only the name is known.
    pub(crate) fn named(hostname: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            ip_address: None,
            ssh_port: 22,
            username: None,
            ssh_key_id: None,
            credential_id: None,
            description: None,
            tags: Vec::new(),
            monitoring_enabled: true,
            collection_interval_s: None,
        }
    }
}

/// A server that is not deleted.
#[derive(Debug, Clone)]
pub(crate) struct ServerRow {
    pub(crate) id: ServerId,
    pub(crate) fields: ServerFields,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) last_seen_ms: Option<i64>,
}

impl From<server::Model> for ServerRow {
    fn from(row: server::Model) -> Self {
        Self {
            id: ServerId(row.id),
            fields: ServerFields {
                hostname: row.hostname,
                ip_address: row.ip_address,
                ssh_port: u16::try_from(row.ssh_port).unwrap_or(22),
                username: row.username,
                ssh_key_id: row.ssh_key_id,
                credential_id: row.credential_id,
                description: row.description,
                tags: tags(row.tags),
                monitoring_enabled: row.monitoring_enabled,
                collection_interval_s: row.collection_interval_s.and_then(|s| u32::try_from(s).ok()),
            },
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            last_seen_ms: row.last_seen_ms,
        }
    }
}

impl Store {
    /// Servers after the given id, in order of their ids, and how many there are in all.
    pub(crate) async fn servers(
        &self,
        monitoring_enabled: Option<bool>,
        after: i64,
        limit: u64,
    ) -> Result<(Vec<ServerRow>, u64), StoreError> {
        const DOING: &str = "list servers";
        let mut wanted = present();
        if let Some(enabled) = monitoring_enabled {
            wanted = wanted.filter(server::Column::MonitoringEnabled.eq(enabled));
        }
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        let rows = wanted
            .filter(server::Column::Id.gt(after))
            .order_by_asc(server::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows.into_iter().map(ServerRow::from).collect(), total))
    }

    pub(crate) async fn server(&self, id: ServerId) -> Result<Option<ServerRow>, StoreError> {
        let row = find(&self.reader, id).await?;
        Ok(row.map(ServerRow::from))
    }

    /// Name and tags of every server.
    pub(crate) async fn server_names(&self) -> Result<Vec<(ServerId, String, Vec<String>)>, StoreError> {
        let rows: Vec<(i64, String, serde_json::Value)> = present()
            .select_only()
            .columns([server::Column::Id, server::Column::Hostname, server::Column::Tags])
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read the names of servers")?;
        Ok(rows
            .into_iter()
            .map(|(id, hostname, json)| (ServerId(id), hostname, tags(json)))
            .collect())
    }

    /// Identity and version of each server's agent, of those servers that have a valid identity.
    pub(crate) async fn agents_of(
        &self,
        servers: &[ServerId],
    ) -> Result<HashMap<ServerId, (AgentId, Option<String>)>, StoreError> {
        let rows: Vec<(i64, String, Option<String>)> = agent_identity::Entity::find()
            .select_only()
            .columns([
                agent_identity::Column::ServerId,
                agent_identity::Column::Agent,
                agent_identity::Column::AgentVersion,
            ])
            .filter(agent_identity::Column::ServerId.is_in(servers.iter().map(|id| id.0)))
            .filter(agent_identity::Column::Status.eq(identities::ACTIVE))
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read the agents of servers")?;
        rows.into_iter()
            .map(|(server, agent, version)| Ok((ServerId(server), (identities::agent_id(&agent)?, version))))
            .collect()
    }

    pub(crate) async fn create_server(
        &self,
        fields: ServerFields,
        now_ms: i64,
    ) -> Result<ServerRow, StoreError> {
        const DOING: &str = "create a server";
        let transaction = self.begin(DOING).await?;
        let id = insert(&transaction, fields.clone(), now_ms).await?;
        commit(transaction, DOING).await?;
        Ok(ServerRow {
            id,
            fields,
            created_ms: now_ms,
            updated_ms: now_ms,
            last_seen_ms: None,
        })
    }

    /// Changes a server by `change`, read and written in one transaction. `None` if there is no such server.
    pub(crate) async fn update_server(
        &self,
        id: ServerId,
        now_ms: i64,
        change: impl FnOnce(&mut ServerFields),
    ) -> Result<Option<ServerRow>, StoreError> {
        const DOING: &str = "change a server";
        let transaction = self.begin(DOING).await?;
        let Some(found) = find(&transaction, id).await? else {
            return Ok(None);
        };
        let mut row = ServerRow::from(found);
        change(&mut row.fields);
        row.updated_ms = now_ms;
        let mut model = active(row.fields.clone());
        model.id = Set(id.0);
        model.updated_ms = Set(now_ms);
        server::Entity::update(model)
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Some(row))
    }

    /// Leaves a tombstone, revokes the server's identities and voids its tokens. Returns the revoked identities;
    /// `None` if there is no such server.
    pub(crate) async fn delete_server(
        &self,
        id: ServerId,
        now_ms: i64,
    ) -> Result<Option<Vec<AgentId>>, StoreError> {
        const DOING: &str = "delete a server";
        let transaction = self.begin(DOING).await?;
        let deleted = server::Entity::update_many()
            .col_expr(server::Column::DeletedMs, Expr::value(now_ms))
            .col_expr(server::Column::UpdatedMs, Expr::value(now_ms))
            .filter(server::Column::Id.eq(id.0))
            .filter(server::Column::DeletedMs.is_null())
            .exec(&transaction)
            .await
            .doing(DOING)?;
        if deleted.rows_affected == 0 {
            return Ok(None);
        }
        let revoked = identities::revoke_all_of(&transaction, id, "server deleted", now_ms).await?;
        identities::void_tokens_of(&transaction, id).await?;
        commit(transaction, DOING).await?;
        Ok(Some(revoked))
    }

    /// Notes when servers were last heard (heartbeats without reports); older times change nothing.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn note_seen(&self, heard: &[(ServerId, i64)]) -> Result<(), StoreError> {
        const DOING: &str = "note when servers were last heard";
        let transaction = self.begin(DOING).await?;
        seen_all(&transaction, heard).await?;
        commit(transaction, DOING).await
    }
}

/// Makes a server and the resource that stands for it, under one new id.
pub(super) async fn insert(
    db: &impl ConnectionTrait,
    fields: ServerFields,
    now_ms: i64,
) -> Result<ServerId, StoreError> {
    const DOING: &str = "make a server";
    let itself = resource::ActiveModel {
        id: NotSet,
        // Corrected below, once the id is known; unique until then because key and server are unique together.
        server_id: Set(0),
        kind: Set(ResourceKind::Server.as_str().to_owned()),
        key: Set(format!("new:{}", uuid::Uuid::new_v4())),
        name: Set(fields.hostname.clone()),
        health: Set(Health::Unknown.as_str().to_owned()),
        health_reasons: Set(json!([])),
        attributes: Set(json!({})),
        raw: Set(None),
        // Any observation is newer than none.
        observed_ms: Set(0),
        first_seen_ms: Set(now_ms),
        gone_ms: Set(None),
    };
    let id = resource::Entity::insert(itself)
        .exec(db)
        .await
        .doing(DOING)?
        .last_insert_id;
    resource::Entity::update_many()
        .col_expr(resource::Column::ServerId, Expr::value(id))
        .col_expr(resource::Column::Key, Expr::value(ResourceKey::server().as_str()))
        .filter(resource::Column::Id.eq(id))
        .exec(db)
        .await
        .doing(DOING)?;
    let mut row = active(fields);
    row.id = Set(id);
    row.created_ms = Set(now_ms);
    row.updated_ms = Set(now_ms);
    row.deleted_ms = Set(None);
    row.last_seen_ms = Set(None);
    server::Entity::insert(row)
        .exec_without_returning(db)
        .await
        .doing(DOING)?;
    Ok(ServerId(id))
}

/// Raises the times at which servers were last heard: one statement for all that were heard within the same second,
/// each of which is then noted with the earliest time of that second. A fleet is heard all the time, and a statement
/// for each server would cost more than all that is heard.
pub(super) async fn seen_all(db: &impl ConnectionTrait, heard: &[(ServerId, i64)]) -> Result<(), StoreError> {
    let mut by_second: BTreeMap<i64, (i64, Vec<i64>)> = BTreeMap::new();
    for &(server, at_ms) in heard {
        let (earliest_ms, servers) = by_second
            .entry(at_ms.div_euclid(1_000))
            .or_insert_with(|| (at_ms, Vec::new()));
        *earliest_ms = Ord::min(at_ms, *earliest_ms);
        servers.push(server.0);
    }
    for (at_ms, servers) in by_second.into_values() {
        for servers in servers.chunks(ROWS_PER_STATEMENT) {
            let older = server::Column::LastSeenMs
                .is_null()
                .or(server::Column::LastSeenMs.lt(at_ms));
            server::Entity::update_many()
                .col_expr(server::Column::LastSeenMs, Expr::value(at_ms))
                .filter(server::Column::Id.is_in(servers.iter().copied()))
                .filter(older)
                .exec(db)
                .await
                .doing("note when servers were last heard")?;
        }
    }
    Ok(())
}

/// The row of a server that is not deleted.
pub(super) async fn find(
    db: &impl ConnectionTrait,
    id: ServerId,
) -> Result<Option<server::Model>, StoreError> {
    present()
        .filter(server::Column::Id.eq(id.0))
        .one(db)
        .await
        .doing("find a server")
}

fn present() -> Select<server::Entity> {
    server::Entity::find().filter(server::Column::DeletedMs.is_null())
}

fn active(fields: ServerFields) -> server::ActiveModel {
    server::ActiveModel {
        id: NotSet,
        hostname: Set(fields.hostname),
        ip_address: Set(fields.ip_address),
        ssh_port: Set(i32::from(fields.ssh_port)),
        username: Set(fields.username),
        ssh_key_id: Set(fields.ssh_key_id),
        credential_id: Set(fields.credential_id),
        description: Set(fields.description),
        tags: Set(json!(fields.tags)),
        monitoring_enabled: Set(fields.monitoring_enabled),
        collection_interval_s: Set(fields.collection_interval_s.map(i64::from)),
        created_ms: NotSet,
        updated_ms: NotSet,
        deleted_ms: NotSet,
        last_seen_ms: NotSet,
    }
}

fn tags(json: serde_json::Value) -> Vec<String> {
    serde_json::from_value(json).unwrap_or_default()
}
