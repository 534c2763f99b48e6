//! Resources of all servers.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "resource")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub server_id: i64,
    pub kind: String,
    pub key: String,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    pub health: String,
    pub health_reasons: Json,
    pub attributes: Json,
    pub raw: Option<Json>,
    pub observed_ms: i64,
    pub first_seen_ms: i64,
    pub gone_ms: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
