//! A state database that comes from a backup: what it is, and making it a store of its own.

use camino::Utf8Path;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, Database, DatabaseTransaction, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _,
};
use uuid::Uuid;

use super::entity::{api_token, enrolment_token, installation, session};
use super::{Access, Doing as _, Store, StoreError, commands, commit, corrupt, options, schema};
use crate::identity::Installation;

/// Ids of resources that are passed over after a restore. The sample store was copied after the state, and may know
/// resources that this state does not: theirs must not be given to others.
const IDS_PASSED_OVER: i64 = 1_000_000;

/// What a state database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// The installation.
    pub(crate) installation: Installation,
    /// The newest step of its schema.
    pub(crate) schema_step: String,
}

/// What became of a restored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// The store's epoch from now on.
    pub(crate) store_epoch: u64,
    /// Enrolment tokens that were valid and are void.
    pub(crate) tokens_void: u64,
    /// Sessions that were open and are void.
    pub(crate) sessions_void: u64,
}

/// Reads which installation and schema a database file has; nothing of it is written.
pub(crate) async fn describe(path: &Utf8Path) -> Result<Description, StoreError> {
    const DOING: &str = "read which installation a copy is of";
    let schema_step = schema::applied_in(path).await?.pop().unwrap_or_default();
    let open = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let database = Database::connect(options(path, 1, Access::Look))
        .await
        .map_err(open)?;
    let row = installation::Entity::find().one(&database).await.doing(DOING)?;
    database.close().await.doing(DOING)?;
    let row = row.ok_or_else(|| corrupt("installation", ""))?;
    let uuid = |what, text: String| Uuid::parse_str(&text).map_err(|_| corrupt(what, text));
    Ok(Description {
        installation: Installation {
            uuid: uuid("installation.uuid", row.uuid)?,
            store_id: uuid("installation.store_id", row.store_id)?,
            store_epoch: row.store_epoch.cast_unsigned(),
        },
        schema_step,
    })
}

impl Store {
    /// Makes what was restored a store of its own: it gets an epoch, so that agents send again what it lacks, and what
    /// was handed out before is void, because it may have been used since.
    pub(crate) async fn begin_restored(&self, store_epoch: u64, now_ms: i64) -> Result<Renewed, StoreError> {
        const DOING: &str = "begin a restored store";
        let transaction = self.begin(DOING).await?;
        installation::Entity::update_many()
            .col_expr(
                installation::Column::StoreEpoch,
                Expr::value(store_epoch.cast_signed()),
            )
            .exec(&transaction)
            .await
            .doing(DOING)?;
        // Kept, not deleted: whoever shows one learns that it ended.
        let tokens_void = enrolment_token::Entity::update_many()
            .col_expr(enrolment_token::Column::ExpiresMs, Expr::value(now_ms))
            .filter(enrolment_token::Column::ExpiresMs.gt(now_ms))
            .exec(&transaction)
            .await
            .doing(DOING)?
            .rows_affected;
        // One that was removed since the backup would be there again.
        api_token::Entity::delete_many()
            .exec(&transaction)
            .await
            .doing(DOING)?;
        let sessions_void = session::Entity::find()
            .filter(session::Column::ExpiresMs.gt(now_ms))
            .count(&transaction)
            .await
            .doing(DOING)?;
        session::Entity::delete_many()
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commands::end_restored(&transaction, now_ms).await?;
        pass_over_ids(&transaction).await.doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Renewed {
            store_epoch,
            tokens_void,
            sessions_void,
        })
    }
}

async fn pass_over_ids(transaction: &DatabaseTransaction) -> Result<(), sea_orm::DbErr> {
    let raise = format!("UPDATE sqlite_sequence SET seq = seq + {IDS_PASSED_OVER} WHERE name = 'resource'");
    if transaction.execute_unprepared(&raise).await?.rows_affected() == 0 {
        // No resource was ever stored.
        let begin = format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('resource', {IDS_PASSED_OVER})");
        transaction.execute_unprepared(&begin).await?;
    }
    Ok(())
}
