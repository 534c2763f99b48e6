//! Rules, and the alerts that came of them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, json, string, string_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rule = Table::create()
            .table("alert_rule")
            // Given by the engine, and never given again.
            .col(big_integer("id").primary_key())
            // Which of the rules that come along it is.
            .col(string_null("default_key").unique_key())
            .col(json("body"))
            .col(big_integer("created_ms"))
            .col(big_integer("updated_ms"))
            .col(string("updated_by"))
            // One that came along and was deleted stays, so that it does not come again.
            .col(big_integer_null("deleted_ms"))
            .to_owned();
        manager.create_table(rule).await?;
        let alert = Table::create()
            .table("alert")
            .col(big_integer("id").primary_key())
            .col(string("state"))
            .col(string("severity"))
            .col(big_integer("rule_id"))
            .col(big_integer_null("server_id"))
            .col(big_integer_null("resource_id"))
            .col(big_integer("started_ms"))
            .col(big_integer_null("ended_ms"))
            // All of it.
            .col(json("body"))
            .to_owned();
        manager.create_table(alert).await?;
        for (name, columns) in [
            ("alert_state", &["state", "id"][..]),
            ("alert_server", &["server_id", "id"][..]),
            ("alert_ended", &["ended_ms"][..]),
        ] {
            let mut index = Index::create().name(name).table("alert").to_owned();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("alert").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("alert_rule").to_owned())
            .await
    }
}
