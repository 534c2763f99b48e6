//! Which installation and store this is, and its sealed secrets.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, blob, string};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let installation = Table::create()
            .table("installation")
            // Always 1: there is one installation in a database.
            .col(big_integer("id").primary_key())
            .col(string("uuid"))
            .col(string("store_id"))
            .col(big_integer("store_epoch"))
            .col(big_integer("created_ms"))
            .to_owned();
        manager.create_table(installation).await?;
        let secret = Table::create()
            .table("secret")
            .col(string("name").primary_key())
            .col(blob("sealed"))
            .col(big_integer("updated_ms"))
            .to_owned();
        manager.create_table(secret).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("secret").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("installation").to_owned())
            .await
    }
}
