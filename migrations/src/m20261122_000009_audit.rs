//! The audit log: a chain of signed entries, and where it starts.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, string, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let entry = Table::create()
            .table("audit_entry")
            // Given by the chain, not by the database: part of what is signed.
            .col(big_integer("id").primary_key())
            .col(big_integer("time_ms"))
            .col(string("actor_kind"))
            .col(string("actor_id"))
            .col(string("actor_name"))
            .col(string("peer"))
            .col(string("action"))
            .col(text("target"))
            .col(string("outcome"))
            .col(string("reason"))
            .col(text("detail"))
            // How many events the entry stands for.
            .col(big_integer("count"))
            // Hash of the entry before, and HMAC of that and all other columns.
            .col(binary("previous"))
            .col(binary("hash"))
            .to_owned();
        manager.create_table(entry).await?;
        let by_time = Index::create()
            .name("audit_entry_time")
            .table("audit_entry")
            .col("time_ms")
            .to_owned();
        manager.create_index(by_time).await?;
        let start = Table::create()
            .table("audit_start")
            // Always 1.
            .col(big_integer("id").primary_key())
            // The oldest entry that retention left, and the hash of the one before it.
            .col(big_integer("first_id"))
            .col(binary("previous"))
            .col(big_integer("removed_ms"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(start).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("audit_start").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("audit_entry").to_owned())
            .await
    }
}
