//! Reading what rests on what.

use std::collections::HashMap;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{LinkType, ResourceKey};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::entity::{link, resource};
use super::{Doing as _, Store, StoreError, corrupt};
use crate::app::topology::{Known, LinkRow};

/// The word of [`LinkType::RestsOn`] in the table.
pub(super) const RESTS_ON: &str = "rests_on";

impl Store {
    /// The links of a server by the keys of their ends, each once, also those that name what nobody described yet. One
    /// that several collectors tell is present if one of them still tells it, else gone since the last of them ceased to.
    pub(crate) async fn links(
        &self,
        server: ServerId,
        include_gone: bool,
    ) -> Result<Vec<LinkRow>, StoreError> {
        let mut wanted = link::Entity::find().filter(link::Column::ServerId.eq(server.0));
        if !include_gone {
            wanted = wanted.filter(link::Column::GoneMs.is_null());
        }
        let rows = wanted
            .order_by_asc(link::Column::FromKey)
            .order_by_asc(link::Column::ToKey)
            .all(&self.reader)
            .await
            .doing("read links")?;
        let mut links: Vec<LinkRow> = Vec::with_capacity(rows.len());
        for row in rows {
            let link_type = match row.link_type.as_str() {
                RESTS_ON => LinkType::RestsOn,
                other => return Err(corrupt("link.link_type", other)),
            };
            let (from, to) = (ResourceKey::new(row.from_key), ResourceKey::new(row.to_key));
            match links.last_mut() {
                Some(last) if last.from == from && last.to == to && last.link_type == link_type => {
                    last.gone_ms = last.gone_ms.zip(row.gone_ms).map(|(a, b)| a.max(b));
                }
                _ => links.push(LinkRow {
                    from,
                    to,
                    link_type,
                    gone_ms: row.gone_ms,
                }),
            }
        }
        Ok(links)
    }

    /// Every resource of a server that was described, by key, gone ones included.
    pub(crate) async fn resource_index(
        &self,
        server: ServerId,
    ) -> Result<HashMap<ResourceKey, Known>, StoreError> {
        let rows: Vec<(String, i64, Option<i64>)> = resource::Entity::find()
            .select_only()
            .columns([
                resource::Column::Key,
                resource::Column::Id,
                resource::Column::GoneMs,
            ])
            .filter(resource::Column::ServerId.eq(server.0))
            .filter(resource::Column::Kind.ne(super::held::KIND))
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("read the index of resources")?;
        Ok(rows
            .into_iter()
            .map(|(key, id, gone_ms)| {
                let id = ResourceId(id);
                (ResourceKey::new(key), Known { id, gone_ms })
            })
            .collect())
    }
}
