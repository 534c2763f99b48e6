//! How collections went, what failed, and what is lost.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, big_pk_auto, string, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(collector_status()).await?;
        manager.create_table(collection_error()).await?;
        let same = Index::create()
            .name("collection_error_same")
            .table("collection_error")
            .col("server_id")
            .col("service_name")
            .col("error_type")
            .col("error_message")
            .unique()
            .to_owned();
        manager.create_index(same).await?;
        manager.create_table(gap()).await?;
        let by_range = Index::create()
            .name("gap_range")
            .table("gap")
            .col("server_id")
            .col("epoch")
            .col("first")
            .col("last")
            .unique()
            .to_owned();
        manager.create_index(by_range).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["gap", "collection_error", "collector_status"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn collector_status() -> TableCreateStatement {
    Table::create()
        .table("collector_status")
        .col(big_integer("server_id"))
        .col(string("collector"))
        .col(string("outcome"))
        .col(text("message"))
        .col(big_integer("started_ms"))
        .col(big_integer("duration_ms"))
        .col(big_integer_null("last_success_ms"))
        // Failed runs in a row.
        .col(big_integer("failures"))
        .primary_key(Index::create().col("server_id").col("collector"))
        .foreign_key(
            ForeignKey::create()
                .from("collector_status", "server_id")
                .to("server", "id"),
        )
        .to_owned()
}

fn collection_error() -> TableCreateStatement {
    Table::create()
        .table("collection_error")
        .col(big_pk_auto("id"))
        .col(big_integer("server_id"))
        .col(string("service_name"))
        .col(string("error_type"))
        .col(text("error_message"))
        .col(big_integer("first_ms"))
        .col(big_integer("occurred_ms"))
        .col(big_integer("count"))
        .foreign_key(
            ForeignKey::create()
                .from("collection_error", "server_id")
                .to("server", "id"),
        )
        .to_owned()
}

fn gap() -> TableCreateStatement {
    Table::create()
        .table("gap")
        .col(big_pk_auto("id"))
        .col(big_integer("server_id"))
        // Unsigned 64-bit numbers of the wire, bit for bit.
        .col(big_integer("epoch"))
        // 0 and 0: which numbers is not known.
        .col(big_integer("first"))
        .col(big_integer("last"))
        // The time that is not covered, where it is known.
        .col(big_integer_null("from_ms"))
        .col(big_integer_null("to_ms"))
        .col(big_integer_null("sample_count"))
        .col(string("reason"))
        .col(big_integer("noted_ms"))
        .foreign_key(ForeignKey::create().from("gap", "server_id").to("server", "id"))
        .to_owned()
}
