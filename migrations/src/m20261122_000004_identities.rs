//! Agents' identities and the tokens that make them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, blob, integer, string, string_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(agent_identity()).await?;
        let by_server = Index::create()
            .name("agent_identity_server")
            .table("agent_identity")
            .col("server_id")
            .to_owned();
        manager.create_index(by_server).await?;
        manager.create_table(enrolment_token()).await?;
        manager.create_table(token_redemption()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("token_redemption").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("enrolment_token").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("agent_identity").to_owned())
            .await
    }
}

fn agent_identity() -> TableCreateStatement {
    Table::create()
        .table("agent_identity")
        .col(string("agent").primary_key())
        .col(big_integer("server_id"))
        // Rises by one with each renewal.
        .col(integer("generation"))
        .col(string("serial"))
        // SHA-256 of the public key (SubjectPublicKeyInfo).
        .col(blob("key_sha256"))
        .col(big_integer("not_after_ms"))
        .col(string("status"))
        .col(string_null("agent_version"))
        .col(big_integer("created_ms"))
        .col(big_integer_null("revoked_ms"))
        .foreign_key(
            ForeignKey::create()
                .from("agent_identity", "server_id")
                .to("server", "id"),
        )
        .to_owned()
}

fn enrolment_token() -> TableCreateStatement {
    Table::create()
        .table("enrolment_token")
        .col(string("public_id").primary_key())
        .col(blob("secret_sha256"))
        // Bound to a server, or free.
        .col(big_integer_null("server_id"))
        .col(integer("uses_total"))
        .col(integer("uses_left"))
        .col(big_integer("created_ms"))
        .col(big_integer("expires_ms"))
        .col(string("created_by"))
        .foreign_key(
            ForeignKey::create()
                .from("enrolment_token", "server_id")
                .to("server", "id"),
        )
        .to_owned()
}

fn token_redemption() -> TableCreateStatement {
    Table::create()
        .table("token_redemption")
        .col(string("public_id"))
        .col(blob("key_sha256"))
        .col(string("agent"))
        .col(big_integer("redeemed_ms"))
        .primary_key(Index::create().col("public_id").col("key_sha256"))
        .foreign_key(
            ForeignKey::create()
                .from("token_redemption", "public_id")
                .to("enrolment_token", "public_id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .foreign_key(
            ForeignKey::create()
                .from("token_redemption", "agent")
                .to("agent_identity", "agent"),
        )
        .to_owned()
}
