//! Updates of containers: policies, windows, what there is to update to, what became of it, who was told, digests that
//! did harm, roll-outs, and the freeze switch.
//!
//! An older program can run on this schema: it neither reads nor writes these tables, and updates nothing.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, json, string, string_len, string_uniq,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 8] = [
    "update_policy",
    "maintenance_window",
    "container_update",
    "update_history",
    "update_notification",
    "bad_digest",
    "rollout",
    "update_setting",
];

#[expect(clippy::too_many_lines, reason = "a table after the other")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["update_policy", "maintenance_window"] {
            let document = Table::create()
                .table(name)
                .col(big_pk_auto("id"))
                .col(json("body"))
                .col(big_integer("created_ms"))
                .col(big_integer("updated_ms"))
                .col(string("updated_by"))
                .to_owned();
            manager.create_table(document).await?;
        }
        // What a container could be updated to; one row for each digest that was offered and not passed over.
        let update = Table::create()
            .table("container_update")
            .col(big_pk_auto("id"))
            .col(big_integer("server_id"))
            // Number of the container's resource.
            .col(big_integer("container_id"))
            .col(string_len("digest", 128))
            .col(string("state"))
            .col(json("body"))
            .col(big_integer("created_ms"))
            .col(big_integer("changed_ms"))
            .to_owned();
        manager.create_table(update).await?;
        let once = Index::create()
            .name("container_update_once")
            .table("container_update")
            .col("container_id")
            .col("digest")
            .unique()
            .to_owned();
        manager.create_index(once).await?;
        let history = Table::create()
            .table("update_history")
            .col(big_pk_auto("id"))
            .col(big_integer("server_id"))
            .col(big_integer("container_id"))
            .col(big_integer("update_id"))
            .col(string("status"))
            .col(json("body"))
            .col(big_integer("started_ms"))
            .col(big_integer_null("completed_ms"))
            .to_owned();
        manager.create_table(history).await?;
        let notification = Table::create()
            .table("update_notification")
            .col(big_pk_auto("id"))
            .col(big_integer_null("container_id"))
            .col(big_integer_null("update_history_id"))
            .col(json("body"))
            .col(big_integer("created_ms"))
            .to_owned();
        manager.create_table(notification).await?;
        let bad = Table::create()
            .table("bad_digest")
            .col(big_pk_auto("id"))
            .col(string_uniq("digest"))
            .col(json("body"))
            .col(big_integer("created_ms"))
            .to_owned();
        manager.create_table(bad).await?;
        let rollout = Table::create()
            .table("rollout")
            .col(big_pk_auto("id"))
            .col(string("state"))
            .col(json("body"))
            .col(string("created_by"))
            .col(big_integer("created_ms"))
            .col(big_integer("changed_ms"))
            .to_owned();
        manager.create_table(rollout).await?;
        let setting = Table::create()
            .table("update_setting")
            .col(ColumnDef::new("name").string().not_null().primary_key())
            .col(json("body"))
            .col(big_integer("changed_ms"))
            .to_owned();
        manager.create_table(setting).await?;
        for (table, column) in [
            ("container_update", "state"),
            ("update_history", "container_id"),
            ("update_notification", "container_id"),
            ("rollout", "state"),
        ] {
            let index = Index::create()
                .name(format!("{table}_by_{column}"))
                .table(table)
                .col(column)
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
