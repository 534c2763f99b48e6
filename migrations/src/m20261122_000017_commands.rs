//! Commands to agents, and how far the counter of each agent has come.
//!
//! An older program can run on this schema: it neither reads nor writes these tables, and what waits expires.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, blob, blob_null, boolean, double_null, integer, text, text_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let counter = Table::create()
            .table("command_counter")
            .col(text("agent").primary_key())
            .col(big_integer("counter"))
            .to_owned();
        manager.create_table(counter).await?;
        let command = Table::create()
            .table("command")
            .col(text("id").primary_key())
            .col(big_integer("server_id"))
            .col(text("agent"))
            .col(integer("generation"))
            .col(big_integer("counter"))
            .col(text("verb"))
            // What is asked, as JSON, for people; what is sent is the envelope.
            .col(text("body"))
            .col(text("issuer"))
            .col(text("state"))
            .col(double_null("progress"))
            .col(text("step"))
            .col(text("message"))
            .col(text("reason"))
            .col(text_null("result"))
            .col(boolean("needs_credential"))
            .col(big_integer("created_ms"))
            .col(big_integer("expires_ms"))
            .col(big_integer_null("sent_ms"))
            .col(big_integer_null("received_ms"))
            .col(big_integer_null("started_ms"))
            .col(big_integer_null("finished_ms"))
            .col(big_integer("changed_ms"))
            // The serialised CommandEnvelope without a credential.
            .col(blob("envelope"))
            .col(big_integer_null("audit_entries"))
            .col(blob_null("audit_head"))
            .to_owned();
        manager.create_table(command).await?;
        let index = |name: &str| Index::create().name(name).table("command").to_owned();
        let counter = index("command_counter_once")
            .col("agent")
            .col("counter")
            .unique()
            .to_owned();
        let state = index("command_state").col("state").col("expires_ms").to_owned();
        let server = index("command_server").col("server_id").col("id").to_owned();
        for index in [counter, state, server] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["command", "command_counter"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
