//! Enrolment tokens, by their public id.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "enrolment_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub public_id: String,
    pub secret_sha256: Vec<u8>,
    pub server_id: Option<i64>,
    pub uses_total: i32,
    pub uses_left: i32,
    pub created_ms: i64,
    pub expires_ms: i64,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
