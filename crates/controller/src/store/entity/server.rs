//! Servers, deleted ones included.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "server")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub hostname: String,
    pub ip_address: Option<String>,
    pub ssh_port: i32,
    pub username: Option<String>,
    pub ssh_key_id: Option<i64>,
    pub credential_id: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    pub tags: Json,
    pub monitoring_enabled: bool,
    pub collection_interval_s: Option<i64>,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub deleted_ms: Option<i64>,
    pub last_seen_ms: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
