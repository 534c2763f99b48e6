//! How far consumers have come, and what is known of agents' clocks.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let position = Table::create()
            .table("consumer_position")
            .col(string("name").primary_key())
            .col(big_integer("position"))
            .to_owned();
        manager.create_table(position).await?;
        let clock = Table::create()
            .table("boot_clock")
            .col(string("agent"))
            .col(string("boot_id"))
            // Wall clock minus time since boot.
            .col(big_integer("offset_ms"))
            .col(big_integer("seen_ms"))
            .primary_key(Index::create().col("agent").col("boot_id"))
            .to_owned();
        manager.create_table(clock).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("boot_clock").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("consumer_position").to_owned())
            .await
    }
}
