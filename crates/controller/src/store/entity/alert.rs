//! Alerts.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alert")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub state: String,
    pub severity: String,
    pub rule_id: i64,
    pub server_id: Option<i64>,
    pub resource_id: Option<i64>,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    pub body: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
