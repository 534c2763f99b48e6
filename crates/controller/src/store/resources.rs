//! Reading resources.

mod counts;

use std::collections::{HashMap, HashSet};

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attributes, Health, ResourceKey, ResourceKind};
use sea_orm::sea_query::{BinOper, Expr, Func, LikeExpr};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbBackend, EntityTrait as _, ExprTrait as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::entity::{resource, server};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, corrupt};
use crate::app::resources::{NO_DISKS, ResourceFilter, ResourceView};

impl Store {
    /// Resources after the given id, in order of their ids, without raw documents; and how many there are in all.
    pub(crate) async fn resources(
        &self,
        filter: &ResourceFilter,
        after: i64,
        limit: u64,
    ) -> Result<(Vec<ResourceView>, u64), StoreError> {
        const DOING: &str = "list resources";
        let wanted = select(filter, self.reader.get_database_backend());
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        let rows = wanted
            .select_only()
            .columns(without_raw())
            .filter(resource::Column::Id.gt(after))
            .order_by_asc(resource::Column::Id)
            .limit(limit)
            .into_tuple::<Row>()
            .all(&self.reader)
            .await
            .doing(DOING)?;
        let views = rows.into_iter().map(view).collect::<Result<_, _>>()?;
        Ok((views, total))
    }

    /// A resource with its raw documents.
    pub(crate) async fn resource(&self, id: ResourceId) -> Result<Option<ResourceView>, StoreError> {
        find(&self.reader, id).await
    }

    /// The resources with these ids, gone or not, in order of their ids, without raw documents.
    pub(crate) async fn resources_of_ids(&self, ids: &[ResourceId]) -> Result<Vec<ResourceView>, StoreError> {
        let everything = ResourceFilter {
            include_gone: true,
            ..ResourceFilter::default()
        };
        let mut views = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(ROWS_PER_STATEMENT) {
            let rows = select(&everything, self.reader.get_database_backend())
                .filter(resource::Column::Id.is_in(chunk.iter().map(|id| id.0)))
                .select_only()
                .columns(without_raw())
                .into_tuple::<Row>()
                .all(&self.reader)
                .await
                .doing("read resources by their ids")?;
            for row in rows {
                views.push(view(row)?);
            }
        }
        views.sort_unstable_by_key(|view| view.id.0);
        Ok(views)
    }

    /// How many resources of these servers are of each kind and not gone.
    pub(crate) async fn resource_counts(
        &self,
        servers: Option<&[ServerId]>,
        kinds: &[ResourceKind],
    ) -> Result<HashMap<(ServerId, ResourceKind), u64>, StoreError> {
        let mut wanted = select(&ResourceFilter::default(), self.reader.get_database_backend())
            .select_only()
            .column(resource::Column::ServerId)
            .column(resource::Column::Kind)
            .column_as(resource::Column::Id.count(), "count")
            .filter(resource::Column::Kind.is_in(kinds.iter().map(|kind| kind.as_str())))
            .group_by(resource::Column::ServerId)
            .group_by(resource::Column::Kind);
        if let Some(servers) = servers {
            wanted = wanted.filter(resource::Column::ServerId.is_in(servers.iter().map(|id| id.0)));
        }
        let rows: Vec<(i64, String, i64)> = wanted
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("count resources")?;
        rows.into_iter()
            .map(|(server, word, count)| {
                Ok((
                    (ServerId(server), kind(&word)?),
                    u64::try_from(count).unwrap_or(0),
                ))
            })
            .collect()
    }

    /// The ids of all resources that are gone, of servers that are there.
    pub(crate) async fn gone_resources(&self) -> Result<HashSet<ResourceId>, StoreError> {
        let everything = ResourceFilter {
            include_gone: true,
            ..ResourceFilter::default()
        };
        let ids: Vec<i64> = select(&everything, self.reader.get_database_backend())
            .filter(resource::Column::GoneMs.is_not_null())
            .select_only()
            .column(resource::Column::Id)
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read which resources are gone")?;
        Ok(ids.into_iter().map(ResourceId).collect())
    }

    /// The ids of all resources of a server that were described, by key, gone ones included.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn resource_ids(
        &self,
        server: ServerId,
    ) -> Result<HashMap<ResourceKey, ResourceId>, StoreError> {
        let rows: Vec<(String, i64)> = resource::Entity::find()
            .select_only()
            .columns([resource::Column::Key, resource::Column::Id])
            .filter(resource::Column::ServerId.eq(server.0))
            .filter(resource::Column::Kind.ne(super::held::KIND))
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read the ids of resources")?;
        Ok(rows
            .into_iter()
            .map(|(key, id)| (ResourceKey::new(key), ResourceId(id)))
            .collect())
    }
}

/// A resource with its raw documents.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: ResourceId,
) -> Result<Option<ResourceView>, StoreError> {
    const DOING: &str = "read a resource";
    let everything = ResourceFilter {
        include_gone: true,
        ..ResourceFilter::default()
    };
    let found = select(&everything, connection.get_database_backend())
        .filter(resource::Column::Id.eq(id.0))
        .select_only()
        .columns(without_raw())
        .into_tuple::<Row>()
        .one(connection)
        .await
        .doing(DOING)?;
    let Some(row) = found else { return Ok(None) };
    let mut view = view(row)?;
    let raw: Option<Option<serde_json::Value>> = resource::Entity::find_by_id(id.0)
        .select_only()
        .column(resource::Column::Raw)
        .into_tuple()
        .one(connection)
        .await
        .doing(DOING)?;
    if let Some(raw) = raw.flatten() {
        view.attributes.extend(attributes(raw));
    }
    Ok(Some(view))
}

/// The columns of [`without_raw`], in its order.
type Row = (
    i64,
    i64,
    String,
    String,
    String,
    String,
    serde_json::Value,
    serde_json::Value,
    i64,
    i64,
    Option<i64>,
);

fn without_raw() -> [resource::Column; 11] {
    [
        resource::Column::Id,
        resource::Column::ServerId,
        resource::Column::Kind,
        resource::Column::Key,
        resource::Column::Name,
        resource::Column::Health,
        resource::Column::HealthReasons,
        resource::Column::Attributes,
        resource::Column::ObservedMs,
        resource::Column::FirstSeenMs,
        resource::Column::GoneMs,
    ]
}

fn select(filter: &ResourceFilter, backend: DbBackend) -> Select<resource::Entity> {
    let deleted = server::Entity::find()
        .select_only()
        .column(server::Column::Id)
        .filter(server::Column::DeletedMs.is_not_null());
    let mut wanted = resource::Entity::find()
        .filter(resource::Column::ServerId.not_in_subquery(sea_orm::QueryTrait::into_query(deleted)))
        // Those that only samples have named are held back until they are described.
        .filter(resource::Column::Kind.ne(super::held::KIND));
    if let Some(server) = filter.server {
        wanted = wanted.filter(resource::Column::ServerId.eq(server.0));
    }
    if let Some(kind) = filter.kind {
        wanted = wanted.filter(resource::Column::Kind.eq(kind.as_str()));
    }
    if filter.disks_only {
        wanted = wanted.filter(counts_as_disk());
    }
    if let Some(health) = filter.health {
        wanted = wanted.filter(resource::Column::Health.eq(health.as_str()));
    }
    if let Some(name) = &filter.hostname {
        let named = server::Entity::find()
            .select_only()
            .column(server::Column::Id)
            .filter(server::Column::Hostname.eq(name.as_str()));
        wanted =
            wanted.filter(resource::Column::ServerId.in_subquery(sea_orm::QueryTrait::into_query(named)));
    }
    if let Some(word) = &filter.pool_type {
        wanted = wanted.filter(attribute_text(backend, "pool_type").eq(word.as_str()));
    }
    if let Some(word) = &filter.device_type {
        let text = attribute_text(backend, "device_type");
        wanted = wanted.filter(Expr::expr(Func::coalesce([text, Expr::value("unknown")])).eq(word.as_str()));
    }
    for (name, part) in [("model", &filter.model), ("serial_number", &filter.serial)] {
        if let Some(part) = part {
            let text = Expr::expr(Func::lower(attribute_text(backend, name)));
            wanted = wanted.filter(text.like(LikeExpr::new(contains(&part.to_lowercase())).escape('\\')));
        }
    }
    if let Some(since_ms) = filter.gone_since_ms {
        wanted = wanted.filter(resource::Column::GoneMs.gte(since_ms));
    } else if !filter.include_gone {
        wanted = wanted.filter(resource::Column::GoneMs.is_null());
    }
    wanted
}

/// What is no device, and devices that count as disks.
fn counts_as_disk() -> Condition {
    let is_device = resource::Column::Kind.eq(ResourceKind::Device.as_str());
    let is_disk = NO_DISKS.iter().fold(Condition::all(), |all, stem| {
        all.add(resource::Column::Name.not_like(format!("{stem}%")))
    });
    Condition::any().add(is_device.not()).add(is_disk)
}

/// The text of an attribute, as the database takes it out of the document.
fn attribute_text(backend: DbBackend, name: &'static str) -> Expr {
    let document = Expr::col((resource::Entity, resource::Column::Attributes));
    match backend {
        // `->>` (PostgreSQL 9.3, SQLite 3.38) gives text on PostgreSQL, whatever the value is.
        DbBackend::Postgres => document.binary(BinOper::Custom("->>"), Expr::value(name)),
        _ => Expr::expr(Func::cust("json_extract").args([document, Expr::value(format!("$.{name}"))])),
    }
}

/// A pattern for texts that have this part somewhere.
fn contains(part: &str) -> String {
    let mut pattern = String::from("%");
    for letter in part.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn view(row: Row) -> Result<ResourceView, StoreError> {
    let (id, server, kind_word, key, name, health, reasons, json, observed_ms, first_seen_ms, gone_ms) = row;
    Ok(ResourceView {
        id: ResourceId(id),
        server: ServerId(server),
        kind: kind(&kind_word)?,
        key,
        name,
        health: Health::from_word(&health).ok_or_else(|| corrupt("resource.health", health))?,
        health_reasons: serde_json::from_value(reasons).unwrap_or_default(),
        attributes: attributes(json),
        observed_ms,
        first_seen_ms,
        gone_ms,
    })
}

fn kind(word: &str) -> Result<ResourceKind, StoreError> {
    word.parse().map_err(|_| corrupt("resource.kind", word))
}

/// Attributes from their JSON object; what no attribute can be is left out.
fn attributes(json: serde_json::Value) -> Attributes {
    let serde_json::Value::Object(object) = json else {
        return Attributes::new();
    };
    object
        .into_iter()
        .filter_map(|(name, value)| Some((name, serde_json::from_value(value).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use sea_orm::QueryTrait as _;

    use super::*;

    #[test]
    fn both_databases_are_asked_in_their_own_words_for_attributes() {
        let filter = ResourceFilter {
            device_type: Some("ssd".to_owned()),
            model: Some("50%".to_owned()),
            ..ResourceFilter::default()
        };
        for (backend, words) in [
            (
                DbBackend::Sqlite,
                r#"LOWER(json_extract("resource"."attributes", '$.model')) LIKE '%50\%%' ESCAPE '\'"#,
            ),
            (
                DbBackend::Postgres,
                r#"LOWER("resource"."attributes" ->> 'model') LIKE E'%50\\%%' ESCAPE E'\\'"#,
            ),
        ] {
            let asked = select(&filter, backend).build(backend).to_string();
            assert!(asked.contains(words), "{asked}");
            assert!(asked.contains("COALESCE("), "{asked}");
        }
    }
}
