//! Agents with a certificate of ours whose identity is not known.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "held_agent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent: String,
    pub generation: Option<i32>,
    pub serial: String,
    pub key_sha256: Vec<u8>,
    pub not_after_ms: i64,
    pub hostname: Option<String>,
    pub agent_version: Option<String>,
    pub address: String,
    pub first_ms: i64,
    pub last_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
