//! What rests on what, by the keys of the resources.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "link")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub server_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collector: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub from_key: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub to_key: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub link_type: String,
    pub gone_ms: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
