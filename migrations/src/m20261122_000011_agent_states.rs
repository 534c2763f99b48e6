//! Agents beside active and revoked: quarantined ones, and those nobody here has enrolled; and revocations as such.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, blob, blob_null, integer_null, string, string_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Why the identity is not active, and since when.
        manager.alter_table(add(string_null("status_reason"))).await?;
        manager.alter_table(add(big_integer_null("status_ms"))).await?;
        // SHA-256 of the roots that came with its newest certificate.
        manager.alter_table(add(blob_null("roots_sha256"))).await?;
        manager.create_table(revocation()).await?;
        manager.create_table(held_agent()).await?;
        manager
            .get_connection()
            .execute_unprepared(
                "INSERT INTO revocation (agent, revoked_ms, reason) \
                 SELECT agent, COALESCE(revoked_ms, created_ms), 'before' FROM agent_identity \
                 WHERE status = 'revoked'",
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["held_agent", "revocation"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        for column in ["roots_sha256", "status_ms", "status_reason"] {
            let alter = Table::alter()
                .table("agent_identity")
                .drop_column(column)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}

fn add(column: ColumnDef) -> TableAlterStatement {
    Table::alter()
        .table("agent_identity")
        .add_column(column)
        .to_owned()
}

/// Every revocation, also of agents that this database has no identity of.
fn revocation() -> TableCreateStatement {
    Table::create()
        .table("revocation")
        .col(string("agent").primary_key())
        .col(big_integer("revoked_ms"))
        .col(string("reason"))
        .to_owned()
}

/// Agents with a certificate of ours and an identity that this database does not know.
fn held_agent() -> TableCreateStatement {
    Table::create()
        .table("held_agent")
        .col(string("agent").primary_key())
        // Not in certificates of old versions.
        .col(integer_null("generation"))
        .col(string("serial"))
        // SHA-256 of the public key (SubjectPublicKeyInfo).
        .col(blob("key_sha256"))
        .col(big_integer("not_after_ms"))
        // What it calls itself; a fact, not an identity.
        .col(string_null("hostname"))
        .col(string_null("agent_version"))
        .col(string("address"))
        .col(big_integer("first_ms"))
        .col(big_integer("last_ms"))
        .to_owned()
}
