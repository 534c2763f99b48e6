//! Channels.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "notification_channel")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(column_type = "Text", unique)]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    pub enabled: bool,
    pub settings: Json,
    pub options: Json,
    #[sea_orm(column_type = "Text")]
    pub secret_names: String,
    #[sea_orm(column_type = "Text")]
    pub seal_name: String,
    pub sealed: Option<Vec<u8>>,
    pub created_ms: i64,
    pub changed_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
