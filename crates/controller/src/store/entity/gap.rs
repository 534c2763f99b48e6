//! Reports that will never come.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "gap")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub server_id: i64,
    pub epoch: i64,
    pub first: i64,
    pub last: i64,
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    pub sample_count: Option<i64>,
    pub reason: String,
    pub noted_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
