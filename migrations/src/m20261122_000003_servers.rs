//! Servers. A server's id is the id of its resource, so the table of resources comes along.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, boolean, integer, json_binary, json_binary_null, string,
    string_null, text, text_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(resource()).await?;
        let by_key = Index::create()
            .name("resource_server_key")
            .table("resource")
            .col("server_id")
            .col("key")
            .unique()
            .to_owned();
        manager.create_index(by_key).await?;
        manager.create_table(server()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("server").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("resource").to_owned())
            .await
    }
}

fn resource() -> TableCreateStatement {
    Table::create()
        .table("resource")
        // Auto-increment, so that the id of a deleted row is never given again.
        .col(big_pk_auto("id"))
        // No foreign key: the row of the server itself is made before the server.
        .col(big_integer("server_id"))
        .col(string("kind"))
        .col(string("key"))
        .col(text("name"))
        .col(string("health"))
        .col(json_binary("health_reasons"))
        .col(json_binary("attributes"))
        // Attributes that are whole documents; kept apart so that lists need not read them.
        .col(json_binary_null("raw"))
        .col(big_integer("observed_ms"))
        .col(big_integer("first_seen_ms"))
        .col(big_integer_null("gone_ms"))
        .to_owned()
}

fn server() -> TableCreateStatement {
    Table::create()
        .table("server")
        .col(big_integer("id").primary_key())
        .col(string("hostname"))
        .col(string_null("ip_address"))
        .col(integer("ssh_port"))
        .col(string_null("username"))
        .col(big_integer_null("ssh_key_id"))
        .col(big_integer_null("credential_id"))
        .col(text_null("description"))
        .col(json_binary("tags"))
        .col(boolean("monitoring_enabled"))
        // Seconds.
        .col(big_integer_null("collection_interval_s"))
        .col(big_integer("created_ms"))
        .col(big_integer("updated_ms"))
        // A tombstone: ids are never used again, and history keeps its name.
        .col(big_integer_null("deleted_ms"))
        .col(big_integer_null("last_seen_ms"))
        .foreign_key(ForeignKey::create().from("server", "id").to("resource", "id"))
        .to_owned()
}
