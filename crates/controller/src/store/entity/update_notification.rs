//! Who was told of updates.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "update_notification")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub container_id: Option<i64>,
    pub update_history_id: Option<i64>,
    pub body: Json,
    pub created_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
