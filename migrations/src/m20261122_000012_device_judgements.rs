//! What people decided about a device: the damage they accepted, and rules of its own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, json_null, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let judgement = Table::create()
            .table("device_judgement")
            .col(big_integer("resource_id").primary_key())
            .col(json_null("baseline"))
            .col(big_integer_null("baseline_ms"))
            .col(text_null("baseline_by"))
            .col(text_null("baseline_note"))
            .col(json_null("overrides"))
            .col(big_integer_null("overrides_ms"))
            .col(text_null("overrides_by"))
            .foreign_key(
                ForeignKey::create()
                    .from("device_judgement", "resource_id")
                    .to("resource", "id"),
            )
            .to_owned();
        manager.create_table(judgement).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("device_judgement").to_owned())
            .await
    }
}
