//! Accounts and their sessions.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::entity::{session, user_account};
use super::{Doing as _, Store, StoreError, commit};

/// Most sessions of one account; the oldest ends when a new one begins.
const SESSIONS_PER_ACCOUNT_MAX: u64 = 1_000;

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct AccountRow {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) disabled: bool,
}

/// A session to be stored.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) token_sha256: String,
    pub(crate) user_id: i64,
    pub(crate) now_ms: i64,
    pub(crate) expires_ms: i64,
}

impl From<user_account::Model> for AccountRow {
    fn from(row: user_account::Model) -> Self {
        Self {
            id: row.id,
            username: row.username,
            password_hash: row.password_hash,
            role: row.role,
            disabled: row.disabled,
        }
    }
}

impl Store {
    pub(crate) async fn account(&self, username: &str) -> Result<Option<AccountRow>, StoreError> {
        let row = user_account::Entity::find()
            .filter(user_account::Column::Username.eq(username))
            .one(&self.reader)
            .await
            .doing("find an account")?;
        Ok(row.map(AccountRow::from))
    }

    /// How many accounts there are, disabled ones included.
    pub(crate) async fn account_count(&self) -> Result<u64, StoreError> {
        user_account::Entity::find()
            .count(&self.reader)
            .await
            .doing("count accounts")
    }

    /// The enabled account of this role that is oldest.
    pub(crate) async fn first_account(&self, role: &str) -> Result<Option<AccountRow>, StoreError> {
        let row = user_account::Entity::find()
            .filter(user_account::Column::Role.eq(role))
            .filter(user_account::Column::Disabled.eq(false))
            .order_by_asc(user_account::Column::Id)
            .one(&self.reader)
            .await
            .doing("find the first account of a role")?;
        Ok(row.map(AccountRow::from))
    }

    /// Makes an account unless the name is taken. Returns whether it was made.
    pub(crate) async fn add_account(
        &self,
        username: &str,
        password_hash: &str,
        role: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let row = user_account::ActiveModel {
            id: NotSet,
            username: Set(username.to_owned()),
            password_hash: Set(password_hash.to_owned()),
            role: Set(role.to_owned()),
            disabled: Set(false),
            created_ms: Set(now_ms),
        };
        let keep = OnConflict::column(user_account::Column::Username)
            .do_nothing()
            .to_owned();
        let rows = user_account::Entity::insert(row)
            .on_conflict(keep)
            .exec_without_returning(&self.writer)
            .await
            .doing("make an account")?;
        Ok(rows == 1)
    }

    /// Stores a session, and ends expired ones and those of the account that are beyond the bound.
    pub(crate) async fn add_session(&self, new: NewSession) -> Result<(), StoreError> {
        const DOING: &str = "begin a session";
        let transaction = self.begin(DOING).await?;
        session::Entity::delete_many()
            .filter(session::Column::ExpiresMs.lte(new.now_ms))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        let beyond: Vec<String> = session::Entity::find()
            .select_only()
            .column(session::Column::TokenSha256)
            .filter(session::Column::UserId.eq(new.user_id))
            .order_by_desc(session::Column::CreatedMs)
            .offset(SESSIONS_PER_ACCOUNT_MAX - 1)
            .limit(SESSIONS_PER_ACCOUNT_MAX)
            .into_tuple()
            .all(&transaction)
            .await
            .doing(DOING)?;
        session::Entity::delete_many()
            .filter(session::Column::TokenSha256.is_in(beyond))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        let row = session::ActiveModel {
            token_sha256: Set(new.token_sha256),
            user_id: Set(new.user_id),
            created_ms: Set(new.now_ms),
            expires_ms: Set(new.expires_ms),
        };
        session::Entity::insert(row)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await
    }

    /// The enabled account that a session token belongs to, if the session has not ended.
    pub(crate) async fn account_of_session(
        &self,
        token_sha256: &str,
        now_ms: i64,
    ) -> Result<Option<AccountRow>, StoreError> {
        const DOING: &str = "find a session";
        let found = session::Entity::find_by_id(token_sha256.to_owned())
            .filter(session::Column::ExpiresMs.gt(now_ms))
            .one(&self.reader)
            .await
            .doing(DOING)?;
        let Some(found) = found else { return Ok(None) };
        let row = user_account::Entity::find_by_id(found.user_id)
            .filter(user_account::Column::Disabled.eq(false))
            .one(&self.reader)
            .await
            .doing(DOING)?;
        Ok(row.map(AccountRow::from))
    }

    pub(crate) async fn end_session(&self, token_sha256: &str) -> Result<(), StoreError> {
        session::Entity::delete_by_id(token_sha256.to_owned())
            .exec(&self.writer)
            .await
            .doing("end a session")?;
        Ok(())
    }
}
