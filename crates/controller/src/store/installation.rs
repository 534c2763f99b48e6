//! Which installation this is, and its sealed secrets.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;

use super::entity::{installation, secret};
use super::{Doing as _, Store, StoreError, commit, corrupt};
use crate::identity::Installation;

/// The only row's id.
const ONLY: i64 = 1;

impl Store {
    /// The installation of this database; `fresh` becomes it if there is none yet.
    pub(crate) async fn installation(
        &self,
        fresh: Installation,
        now_ms: i64,
    ) -> Result<Installation, StoreError> {
        const DOING: &str = "read which installation this is";
        let transaction = self.begin(DOING).await?;
        let row = installation::Entity::find_by_id(ONLY)
            .one(&transaction)
            .await
            .doing(DOING)?;
        if let Some(row) = row {
            let uuid = |what, text: String| Uuid::parse_str(&text).map_err(|_| corrupt(what, text));
            return Ok(Installation {
                uuid: uuid("installation.uuid", row.uuid)?,
                store_id: uuid("installation.store_id", row.store_id)?,
                store_epoch: row.store_epoch.cast_unsigned(),
            });
        }
        let row = installation::ActiveModel {
            id: Set(ONLY),
            uuid: Set(fresh.uuid.to_string()),
            store_id: Set(fresh.store_id.to_string()),
            store_epoch: Set(fresh.store_epoch.cast_signed()),
            created_ms: Set(now_ms),
        };
        installation::Entity::insert(row)
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(fresh)
    }

    /// All sealed secrets: name and sealed bytes.
    pub(crate) async fn secrets(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let rows = secret::Entity::find()
            .all(&self.reader)
            .await
            .doing("read the sealed secrets")?;
        Ok(rows.into_iter().map(|row| (row.name, row.sealed)).collect())
    }

    /// Whether sealed secrets are stored just as they are here. It is asked on the connection that writes, so behind
    /// whatever was left unfinished on it.
    pub(crate) async fn has_secrets(&self, secrets: &[(String, Vec<u8>)]) -> Result<bool, StoreError> {
        const DOING: &str = "find sealed secrets";
        let names = secrets.iter().map(|(name, _)| name.as_str());
        let transaction = self.begin(DOING).await?;
        let rows = secret::Entity::find()
            .filter(secret::Column::Name.is_in(names))
            .all(&transaction)
            .await
            .doing(DOING)?;
        let is_there = |(name, sealed): &(String, Vec<u8>)| {
            rows.iter().any(|row| row.name == *name && row.sealed == *sealed)
        };
        Ok(secrets.iter().all(is_there))
    }

    /// Stores sealed secrets, each in the place of what had its name: all or none.
    pub(crate) async fn put_secrets(
        &self,
        secrets: &[(String, Vec<u8>)],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.replace_secrets(secrets, &[], now_ms).await
    }

    /// Stores sealed secrets and forgets others: all or nothing of it.
    pub(crate) async fn replace_secrets(
        &self,
        secrets: &[(String, Vec<u8>)],
        forgotten: &[&str],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        const DOING: &str = "store sealed secrets";
        if secrets.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        let transaction = self.begin(DOING).await?;
        secret::Entity::delete_many()
            .filter(secret::Column::Name.is_in(forgotten.iter().copied()))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        put(&transaction, secrets, now_ms).await?;
        commit(transaction, DOING).await
    }
}

/// Stores sealed secrets, each in the place of what had its name.
pub(super) async fn put(
    transaction: &DatabaseTransaction,
    secrets: &[(String, Vec<u8>)],
    now_ms: i64,
) -> Result<(), StoreError> {
    if secrets.is_empty() {
        return Ok(());
    }
    let rows = secrets.iter().map(|(name, sealed)| secret::ActiveModel {
        name: Set(name.clone()),
        sealed: Set(sealed.clone()),
        updated_ms: Set(now_ms),
    });
    let replace = OnConflict::column(secret::Column::Name)
        .update_columns([secret::Column::Sealed, secret::Column::UpdatedMs])
        .to_owned();
    secret::Entity::insert_many(rows)
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .doing("store sealed secrets")?;
    Ok(())
}
