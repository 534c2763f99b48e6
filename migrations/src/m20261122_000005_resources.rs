//! Links, and which collector lists which resource.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let by_kind = Index::create()
            .name("resource_kind_gone")
            .table("resource")
            .col("kind")
            .col("gone_ms")
            .to_owned();
        manager.create_index(by_kind).await?;
        // Keys, not ids: a link may be told before the resource it names.
        let link = Table::create()
            .table("link")
            .col(big_integer("server_id"))
            .col(string("collector"))
            .col(string("from_key"))
            .col(string("to_key"))
            .col(string("link_type"))
            .primary_key(
                Index::create()
                    .col("server_id")
                    .col("collector")
                    .col("from_key")
                    .col("to_key")
                    .col("link_type"),
            )
            .foreign_key(ForeignKey::create().from("link", "server_id").to("server", "id"))
            .to_owned();
        manager.create_table(link).await?;
        let listed = Table::create()
            .table("collector_resource")
            .col(big_integer("server_id"))
            .col(string("collector"))
            .col(string("resource_key"))
            .primary_key(
                Index::create()
                    .col("server_id")
                    .col("collector")
                    .col("resource_key"),
            )
            .foreign_key(
                ForeignKey::create()
                    .from("collector_resource", "server_id")
                    .to("server", "id"),
            )
            .to_owned();
        manager.create_table(listed).await?;
        let inventory = Table::create()
            .table("collector_inventory")
            .col(big_integer("server_id"))
            .col(string("collector"))
            .col(big_integer("observed_ms"))
            .primary_key(Index::create().col("server_id").col("collector"))
            .foreign_key(
                ForeignKey::create()
                    .from("collector_inventory", "server_id")
                    .to("server", "id"),
            )
            .to_owned();
        manager.create_table(inventory).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["collector_inventory", "collector_resource", "link"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        let by_kind = Index::drop()
            .name("resource_kind_gone")
            .table("resource")
            .to_owned();
        manager.drop_index(by_kind).await
    }
}
