//! Silences and windows.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json, string};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mute = Table::create()
            .table("alert_mute")
            .col(big_integer("id").auto_increment().primary_key())
            .col(json("body"))
            .col(big_integer("created_ms"))
            .col(string("created_by"))
            .to_owned();
        manager.create_table(mute).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("alert_mute").to_owned())
            .await
    }
}
