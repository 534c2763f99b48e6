//! Registries with their sealed credentials, and what is known of the images that containers run: which digest a tag
//! has, since when, and which tags there are.
//!
//! An older program can run on this schema: it neither reads nor writes these tables, and what it does not see is seen
//! again later.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, blob_null, boolean, integer, json_null, text, text_null,
    text_uniq,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(registry()).await?;
        manager.create_table(image_check()).await?;
        manager.create_table(image_digest()).await?;
        manager.create_table(image_tag()).await?;
        let index = |name: &str, table: &str| {
            Index::create()
                .name(name)
                .table(table.to_owned())
                .unique()
                .to_owned()
        };
        let check = index("image_check_once", "image_check")
            .col("reference")
            .col("platform")
            .to_owned();
        let digest = index("image_digest_once", "image_digest")
            .col("repository")
            .col("platform")
            .col("tag")
            .col("digest")
            .to_owned();
        for index in [check, digest] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["image_tag", "image_digest", "image_check", "registry"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn registry() -> TableCreateStatement {
    Table::create()
        .table("registry")
        .col(big_pk_auto("id"))
        .col(text_uniq("name"))
        .col(text("description"))
        .col(text("registry_url"))
        // Host and port as references name it: one registry, one row.
        .col(text_uniq("host"))
        .col(text("username"))
        .col(text("email"))
        .col(boolean("allow_http"))
        .col(boolean("enabled"))
        // Password or token, under seal_name.
        .col(text("seal_name"))
        .col(blob_null("sealed"))
        .col(big_integer_null("validated_ms"))
        .col(text("validation_status"))
        .col(text_null("validation_error"))
        .col(big_integer("created_ms"))
        .col(big_integer("changed_ms"))
        .to_owned()
}

fn image_check() -> TableCreateStatement {
    Table::create()
        .table("image_check")
        .col(big_pk_auto("id"))
        .col(text("reference"))
        .col(text("platform"))
        // What the last check that succeeded found; null before.
        .col(text_null("digest"))
        .col(big_integer_null("checked_ms"))
        .col(big_integer("tried_ms"))
        // Why the last check failed; null if it did not.
        .col(text_null("error"))
        .col(integer("failures"))
        .to_owned()
}

fn image_digest() -> TableCreateStatement {
    Table::create()
        .table("image_digest")
        .col(big_pk_auto("id"))
        .col(text("repository"))
        .col(text("platform"))
        // Empty for one that is known only because it runs somewhere.
        .col(text("tag"))
        .col(text("digest"))
        // What of it is for the platform; null while nobody had to know.
        .col(text_null("platform_digest"))
        .col(text_null("config_digest"))
        // There is nothing for the platform in it.
        .col(boolean("is_missing"))
        .col(big_integer("first_seen_ms"))
        // When it last became what the tag names.
        .col(big_integer("since_ms"))
        // Version, source, revision and the like, as its builder says.
        .col(json_null("details"))
        .to_owned()
}

fn image_tag() -> TableCreateStatement {
    Table::create()
        .table("image_tag")
        .col(big_pk_auto("id"))
        .col(text_uniq("repository"))
        // One a line.
        .col(text("tags"))
        .col(boolean("is_cut"))
        .col(big_integer("listed_ms"))
        .to_owned()
}
