//! Agents' identities, revoked ones included.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_identity")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent: String,
    pub server_id: i64,
    pub generation: i32,
    pub serial: String,
    pub key_sha256: Vec<u8>,
    pub previous_key_sha256: Option<Vec<u8>>,
    pub not_after_ms: i64,
    pub status: String,
    pub agent_version: Option<String>,
    pub created_ms: i64,
    pub revoked_ms: Option<i64>,
    pub status_reason: Option<String>,
    pub status_ms: Option<i64>,
    pub roots_sha256: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
