//! Links that are told no more stay for a while, so that it can be said what rested on a disk that is gone.
//!
//! A binary from before this step reads such links as present ones until their collector's next list replaces them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::big_integer_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Since when the collector does not tell it any more; null: it does.
        let alter = Table::alter()
            .table("link")
            .add_column(big_integer_null("gone_ms"))
            .to_owned();
        manager.alter_table(alter).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DELETE FROM link WHERE gone_ms IS NOT NULL")
            .await?;
        let alter = Table::alter().table("link").drop_column("gone_ms").to_owned();
        manager.alter_table(alter).await
    }
}
