//! Update policies.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "update_policy")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub body: Json,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub updated_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
