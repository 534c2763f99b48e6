//! People and their sessions.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_pk_auto, boolean, string, string_uniq};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let account = Table::create()
            .table("user_account")
            .col(big_pk_auto("id"))
            .col(string_uniq("username"))
            .col(string("password_hash"))
            .col(string("role"))
            .col(boolean("disabled"))
            .col(big_integer("created_ms"))
            .to_owned();
        manager.create_table(account).await?;
        let session = Table::create()
            .table("session")
            // SHA-256 of the access token, hexadecimal.
            .col(string("token_sha256").primary_key())
            .col(big_integer("user_id"))
            .col(big_integer("created_ms"))
            .col(big_integer("expires_ms"))
            .foreign_key(
                ForeignKey::create()
                    .from("session", "user_id")
                    .to("user_account", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(session).await?;
        let by_user = Index::create()
            .name("session_user")
            .table("session")
            .col("user_id")
            .to_owned();
        manager.create_index(by_user).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("session").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("user_account").to_owned())
            .await
    }
}
