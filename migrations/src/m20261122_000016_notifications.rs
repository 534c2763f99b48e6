//! Channels with their sealed secrets, and what is to be, was, or could not be delivered to them.
//!
//! An older program can run on this schema: it neither reads nor writes these tables, and what waits is sent later.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_pk_auto, blob_null, boolean, integer, json, text, text_null, text_uniq,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let channel = Table::create()
            .table("notification_channel")
            .col(big_pk_auto("id"))
            .col(text_uniq("name"))
            .col(text("kind"))
            .col(boolean("enabled"))
            .col(json("settings"))
            .col(json("options"))
            // Names of the secrets that are set, for people; the secrets themselves are sealed under seal_name.
            .col(text("secret_names"))
            .col(text("seal_name"))
            .col(blob_null("sealed"))
            .col(big_integer("created_ms"))
            .col(big_integer("changed_ms"))
            .to_owned();
        manager.create_table(channel).await?;
        let delivery = Table::create()
            .table("notification_delivery")
            .col(big_pk_auto("id"))
            .col(text("notification_id"))
            // 0 if it is for no channel: it was muted, or there was none.
            .col(big_integer("channel_id"))
            .col(big_integer("alert_id"))
            .col(text("kind"))
            .col(text("title"))
            // What is sent, as JSON; gone once it was.
            .col(text_null("body"))
            .col(text("state"))
            .col(integer("attempts"))
            .col(big_integer("created_ms"))
            .col(big_integer("due_ms"))
            .col(big_integer("changed_ms"))
            .col(text_null("answer"))
            .to_owned();
        manager.create_table(delivery).await?;
        let index = |name: &str| {
            Index::create()
                .name(name)
                .table("notification_delivery")
                .to_owned()
        };
        // The same news to the same channel, whoever hands it over again after a crash.
        let once = index("notification_delivery_once")
            .col("notification_id")
            .col("channel_id")
            .unique()
            .to_owned();
        let waiting = index("notification_delivery_waiting")
            .col("state")
            .col("channel_id")
            .col("id")
            .to_owned();
        let alert = index("notification_delivery_alert").col("alert_id").to_owned();
        let channel = index("notification_delivery_channel")
            .col("channel_id")
            .col("id")
            .to_owned();
        for index in [once, waiting, alert, channel] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["notification_delivery", "notification_channel"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
