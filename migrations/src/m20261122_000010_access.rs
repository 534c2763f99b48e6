//! API tokens, and from where people logged in.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, big_pk_auto, binary, string, string_uniq};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_the_account = |table: &'static str| {
            ForeignKey::create()
                .from(table, "user_id")
                .to("user_account", "id")
                .on_delete(ForeignKeyAction::Cascade)
                .to_owned()
        };
        let token = Table::create()
            .table("api_token")
            .col(big_pk_auto("id"))
            // Part of the token's text, and no secret.
            .col(string_uniq("public_id"))
            .col(big_integer("user_id"))
            .col(string("name"))
            .col(binary("secret_sha256"))
            // Words with a space between.
            .col(string("scopes"))
            .col(big_integer("created_ms"))
            .col(big_integer("expires_ms"))
            // To the minute.
            .col(big_integer_null("last_used_ms"))
            .foreign_key(&mut of_the_account("api_token"))
            .to_owned();
        manager.create_table(token).await?;
        let by_user = Index::create()
            .name("api_token_user")
            .table("api_token")
            .col("user_id")
            .to_owned();
        manager.create_index(by_user).await?;
        let origin = Table::create()
            .table("login_origin")
            .col(big_integer("user_id"))
            // An IPv4 address, or the first 64 bits of an IPv6 address.
            .col(string("network"))
            .col(big_integer("last_ms"))
            .primary_key(Index::create().col("user_id").col("network"))
            .foreign_key(&mut of_the_account("login_origin"))
            .to_owned();
        manager.create_table(origin).await?;
        let alter = Table::alter()
            .table("user_account")
            .add_column(big_integer_null("last_login_ms"))
            .to_owned();
        manager.alter_table(alter).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter()
            .table("user_account")
            .drop_column("last_login_ms")
            .to_owned();
        manager.alter_table(alter).await?;
        manager
            .drop_table(Table::drop().table("login_origin").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("api_token").to_owned())
            .await
    }
}
