//! Registries with their sealed credentials.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "registry")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(column_type = "Text", unique)]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub description: String,
    #[sea_orm(column_type = "Text")]
    pub registry_url: String,
    #[sea_orm(column_type = "Text", unique)]
    pub host: String,
    #[sea_orm(column_type = "Text")]
    pub username: String,
    #[sea_orm(column_type = "Text")]
    pub email: String,
    pub allow_http: bool,
    pub enabled: bool,
    #[sea_orm(column_type = "Text")]
    pub seal_name: String,
    pub sealed: Option<Vec<u8>>,
    pub validated_ms: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub validation_status: String,
    #[sea_orm(column_type = "Text")]
    pub validation_error: Option<String>,
    pub created_ms: i64,
    pub changed_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
