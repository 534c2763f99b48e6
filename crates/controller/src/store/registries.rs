//! Registries with their sealed credentials.

use sea_orm::{
    ActiveValue::{NotSet, Set, Unchanged},
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _,
};

use super::entity::registry::{ActiveModel, Column, Entity, Model};
use super::{Doing as _, Store, StoreError, commit};

/// A registry as it is kept. Times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryRow {
    /// 0 if it is new.
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) url: String,
    /// As references name it.
    pub(crate) host: String,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) allow_http: bool,
    pub(crate) enabled: bool,
    /// Under which name the password or token is sealed.
    pub(crate) seal_name: String,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) validated_ms: Option<i64>,
    /// `valid`, `invalid` or `unknown`.
    pub(crate) validation: String,
    pub(crate) validation_error: Option<String>,
    pub(crate) created_ms: i64,
    pub(crate) changed_ms: i64,
}

/// How storing a registry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryKept {
    /// It is stored under this id.
    As(i64),
    /// Another one has its name.
    NameTaken,
    /// Another one has its address.
    HostTaken,
    /// There are as many as there may be.
    TooMany,
    /// There is no such registry any more.
    Gone,
}

impl From<Model> for RegistryRow {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            url: row.registry_url,
            host: row.host,
            username: row.username,
            email: row.email,
            allow_http: row.allow_http,
            enabled: row.enabled,
            seal_name: row.seal_name,
            sealed: row.sealed,
            validated_ms: row.validated_ms,
            validation: row.validation_status,
            validation_error: row.validation_error,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }
}

impl RegistryRow {
    fn active(&self) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            name: Set(self.name.clone()),
            description: Set(self.description.clone()),
            registry_url: Set(self.url.clone()),
            host: Set(self.host.clone()),
            username: Set(self.username.clone()),
            email: Set(self.email.clone()),
            allow_http: Set(self.allow_http),
            enabled: Set(self.enabled),
            seal_name: Set(self.seal_name.clone()),
            sealed: Set(self.sealed.clone()),
            validated_ms: Set(self.validated_ms),
            validation_status: Set(self.validation.clone()),
            validation_error: Set(self.validation_error.clone()),
            created_ms: Set(self.created_ms),
            changed_ms: Set(self.changed_ms),
        }
    }

    /// What stands in the way of storing it beside the others.
    async fn taken(&self, connection: &impl ConnectionTrait) -> Result<Option<RegistryKept>, StoreError> {
        let same = Condition::any()
            .add(Column::Name.eq(&self.name))
            .add(Column::Host.eq(&self.host));
        let other = Entity::find()
            .filter(same)
            .filter(Column::Id.ne(self.id))
            .one(connection)
            .await
            .doing("look for registries of the same name")?;
        Ok(other.map(|other| {
            if other.name == self.name {
                RegistryKept::NameTaken
            } else {
                RegistryKept::HostTaken
            }
        }))
    }
}

impl Store {
    /// All registries, by id.
    pub(crate) async fn registries(&self) -> Result<Vec<RegistryRow>, StoreError> {
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.reader).await;
        Ok(rows
            .doing("list registries")?
            .into_iter()
            .map(RegistryRow::from)
            .collect())
    }

    /// One registry.
    pub(crate) async fn registry(&self, id: i64) -> Result<Option<RegistryRow>, StoreError> {
        let row = Entity::find_by_id(id).one(&self.reader).await;
        Ok(row.doing("find a registry")?.map(RegistryRow::from))
    }

    /// Stores a new registry unless there are `max`.
    pub(crate) async fn add_registry(&self, row: &RegistryRow, max: u64) -> Result<RegistryKept, StoreError> {
        const DOING: &str = "store a registry";
        let transaction = self.begin(DOING).await?;
        if max <= Entity::find().count(&transaction).await.doing(DOING)? {
            return Ok(RegistryKept::TooMany);
        }
        if let Some(taken) = row.taken(&transaction).await? {
            return Ok(taken);
        }
        let inserted = Entity::insert(row.active())
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(RegistryKept::As(inserted.last_insert_id))
    }

    /// Stores a changed registry.
    pub(crate) async fn change_registry(&self, row: &RegistryRow) -> Result<RegistryKept, StoreError> {
        const DOING: &str = "change a registry";
        let transaction = self.begin(DOING).await?;
        if let Some(taken) = row.taken(&transaction).await? {
            return Ok(taken);
        }
        let mut active = row.active();
        (active.id, active.created_ms) = (Unchanged(row.id), NotSet);
        let changed = Entity::update_many()
            .set(active)
            .filter(Column::Id.eq(row.id))
            .exec(&transaction)
            .await;
        if changed.doing(DOING)?.rows_affected == 0 {
            return Ok(RegistryKept::Gone);
        }
        commit(transaction, DOING).await?;
        Ok(RegistryKept::As(row.id))
    }

    /// Writes down how the credentials of a registry did, unless it was changed since.
    pub(crate) async fn put_validation(
        &self,
        of: &RegistryRow,
        word: &str,
        error: Option<&str>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let active = ActiveModel {
            validated_ms: Set(Some(now_ms)),
            validation_status: Set(word.to_owned()),
            validation_error: Set(error.map(str::to_owned)),
            ..Default::default()
        };
        let changed = Entity::update_many()
            .set(active)
            .filter(Column::Id.eq(of.id))
            .filter(Column::ChangedMs.eq(of.changed_ms))
            .exec(&self.writer)
            .await;
        Ok(changed
            .doing("store how a registry's credentials did")?
            .rows_affected
            == 1)
    }

    /// Removes a registry with its credentials. Returns whether there was one.
    pub(crate) async fn remove_registry(&self, id: i64) -> Result<bool, StoreError> {
        let removed = Entity::delete_by_id(id).exec(&self.writer).await;
        Ok(removed.doing("remove a registry")?.rows_affected == 1)
    }
}
