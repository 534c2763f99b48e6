//! The last run of each collector.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "collector_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub server_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collector: String,
    pub outcome: String,
    #[sea_orm(column_type = "Text")]
    pub message: String,
    pub started_ms: i64,
    pub duration_ms: i64,
    pub last_success_ms: Option<i64>,
    pub failures: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
