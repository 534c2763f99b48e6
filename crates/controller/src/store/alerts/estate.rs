//! What judging needs to know of servers and what they have.

use std::collections::BTreeSet;

use muster_base::id::ServerId;
use muster_model::{Health, ResourceKind};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use crate::store::entity::{agent_identity, resource};
use crate::store::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, corrupt, held};

/// What judging needs of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EstateRow {
    /// Its number.
    pub(crate) id: i64,
    /// Its key.
    pub(crate) key: String,
    /// What it is.
    pub(crate) kind: ResourceKind,
    /// Its name.
    pub(crate) name: String,
    /// Its health as it is shown.
    pub(crate) health: Health,
}

impl Store {
    /// What a server has now.
    pub(crate) async fn estate(&self, server: ServerId) -> Result<Vec<EstateRow>, StoreError> {
        let rows = estate_columns()
            .filter(resource::Column::ServerId.eq(server.0))
            .filter(resource::Column::GoneMs.is_null())
            .filter(resource::Column::Kind.ne(held::KIND))
            .order_by_asc(resource::Column::Id)
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read what a server has")?;
        rows.into_iter().map(estate_row).collect()
    }

    /// What all servers have now, each with its server.
    pub(crate) async fn estates(&self) -> Result<Vec<(ServerId, EstateRow)>, StoreError> {
        let rows = estate_columns()
            .column(resource::Column::ServerId)
            .filter(resource::Column::GoneMs.is_null())
            .filter(resource::Column::Kind.ne(held::KIND))
            .order_by_asc(resource::Column::Id)
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read what all servers have")?;
        rows.into_iter()
            .map(|(id, key, kind, name, health, server)| {
                Ok((ServerId(server), estate_row((id, key, kind, name, health))?))
            })
            .collect()
    }

    /// What these numbers are of; those of nothing that was described are left out. Gone ones are among them.
    pub(crate) async fn named(&self, ids: &BTreeSet<i64>) -> Result<Vec<EstateRow>, StoreError> {
        let ids: Vec<i64> = ids.iter().copied().collect();
        let mut named = Vec::with_capacity(ids.len());
        for ids in ids.chunks(ROWS_PER_STATEMENT) {
            let rows = estate_columns()
                .filter(resource::Column::Id.is_in(ids.iter().copied()))
                .filter(resource::Column::Kind.ne(held::KIND))
                .into_tuple()
                .all(&self.reader)
                .await
                .doing("read names of resources")?;
            for row in rows {
                named.push(estate_row(row)?);
            }
        }
        Ok(named)
    }

    /// When the newest certificate of each server's agent ends, Unix ms.
    pub(crate) async fn certificate_ends(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        agent_identity::Entity::find()
            .select_only()
            .column(agent_identity::Column::ServerId)
            .column_as(agent_identity::Column::NotAfterMs.max(), "ends")
            .filter(agent_identity::Column::RevokedMs.is_null())
            .group_by(agent_identity::Column::ServerId)
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read when certificates end")
    }
}

fn estate_columns() -> Select<resource::Entity> {
    resource::Entity::find().select_only().columns([
        resource::Column::Id,
        resource::Column::Key,
        resource::Column::Kind,
        resource::Column::Name,
        resource::Column::Health,
    ])
}

fn estate_row(
    (id, key, kind, name, health): (i64, String, String, String, String),
) -> Result<EstateRow, StoreError> {
    Ok(EstateRow {
        id,
        key,
        kind: kind.parse().map_err(|_| corrupt("resource.kind", kind))?,
        name,
        health: Health::from_word(&health).ok_or_else(|| corrupt("resource.health", health))?,
    })
}
