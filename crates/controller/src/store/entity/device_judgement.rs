//! What people decided about devices.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_judgement")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub resource_id: i64,
    pub baseline: Option<Json>,
    pub baseline_ms: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub baseline_by: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub baseline_note: Option<String>,
    pub overrides: Option<Json>,
    pub overrides_ms: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub overrides_by: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
