//! Renewal of agents' certificates.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::blob_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter()
            .table("agent_identity")
            // SHA-256 of the public key of the generation before, until a certificate of this one was shown.
            .add_column(blob_null("previous_key_sha256"))
            .to_owned();
        manager.alter_table(alter).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter()
            .table("agent_identity")
            .drop_column("previous_key_sha256")
            .to_owned();
        manager.alter_table(alter).await
    }
}
