//! Accounts, their sessions, and from where they logged in.

use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::entity::{login_origin, session, user_account};
use super::{Doing as _, Store, StoreError, commit};

/// Most sessions of one account; the oldest ends when a new one begins.
const SESSIONS_PER_ACCOUNT_MAX: u64 = 1_000;
/// Most networks remembered of one account; the one not used for longest goes.
const ORIGINS_PER_ACCOUNT_MAX: u64 = 32;

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct AccountRow {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) disabled: bool,
    pub(crate) created_ms: i64,
    pub(crate) last_login_ms: Option<i64>,
}

/// Changes to an account; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccountChange {
    pub(crate) role: Option<&'static str>,
    pub(crate) disabled: Option<bool>,
    pub(crate) password_hash: Option<String>,
    /// The session that a change of the password leaves; all others end.
    pub(crate) kept_session: Option<String>,
}

/// What became of a change to an account.
#[derive(Debug, Clone)]
pub(crate) enum Changed {
    /// It was made; this is the account now, or was before it was removed.
    Done(AccountRow),
    /// There is no such account.
    Unknown,
    /// Nobody would be left who may administer.
    LastAdmin,
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
            created_ms: row.created_ms,
            last_login_ms: row.last_login_ms,
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

    pub(crate) async fn account_by_id(&self, id: i64) -> Result<Option<AccountRow>, StoreError> {
        let row = user_account::Entity::find_by_id(id)
            .one(&self.reader)
            .await
            .doing("find an account")?;
        Ok(row.map(AccountRow::from))
    }

    /// Up to `limit` accounts after this id, and how many there are in all.
    pub(crate) async fn accounts(
        &self,
        after: i64,
        limit: u64,
    ) -> Result<(Vec<AccountRow>, u64), StoreError> {
        let rows = user_account::Entity::find()
            .filter(user_account::Column::Id.gt(after))
            .order_by_asc(user_account::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing("list accounts")?;
        let total = self.account_count().await?;
        Ok((rows.into_iter().map(AccountRow::from).collect(), total))
    }

    /// Changes an account, unless that left no enabled account of the role `admin`. Sessions that must not outlive the
    /// change end in the same transaction.
    pub(crate) async fn change_account(
        &self,
        id: i64,
        change: AccountChange,
        admin: &str,
    ) -> Result<Changed, StoreError> {
        const DOING: &str = "change an account";
        let transaction = self.begin(DOING).await?;
        let found = user_account::Entity::find_by_id(id)
            .one(&transaction)
            .await
            .doing(DOING)?;
        let Some(mut row) = found else {
            return Ok(Changed::Unknown);
        };
        row.role = change.role.map_or(row.role, str::to_owned);
        row.disabled = change.disabled.unwrap_or(row.disabled);
        let is_admin = row.role == admin && !row.disabled;
        if !is_admin && !has_other_admin(&transaction, id, admin).await? {
            return Ok(Changed::LastAdmin);
        }
        let has_new_password = change.password_hash.is_some();
        row.password_hash = change.password_hash.unwrap_or(row.password_hash);
        user_account::Entity::update_many()
            .col_expr(user_account::Column::Role, Expr::value(row.role.clone()))
            .col_expr(user_account::Column::Disabled, Expr::value(row.disabled))
            .col_expr(
                user_account::Column::PasswordHash,
                Expr::value(row.password_hash.clone()),
            )
            .filter(user_account::Column::Id.eq(id))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        if has_new_password || row.disabled {
            let kept = change.kept_session.unwrap_or_default();
            session::Entity::delete_many()
                .filter(session::Column::UserId.eq(id))
                .filter(session::Column::TokenSha256.ne(kept))
                .exec(&transaction)
                .await
                .doing(DOING)?;
        }
        commit(transaction, DOING).await?;
        Ok(Changed::Done(row.into()))
    }

    /// Puts a hash of the same password in the place of another, unless the password was changed meanwhile.
    pub(crate) async fn replace_hash(&self, id: i64, before: &str, hash: &str) -> Result<(), StoreError> {
        user_account::Entity::update_many()
            .col_expr(user_account::Column::PasswordHash, Expr::value(hash))
            .filter(user_account::Column::Id.eq(id))
            .filter(user_account::Column::PasswordHash.eq(before))
            .exec(&self.writer)
            .await
            .doing("renew a password's hash")?;
        Ok(())
    }

    /// Removes an account with its sessions and API tokens, unless no enabled account of the role `admin` were left.
    pub(crate) async fn remove_account(&self, id: i64, admin: &str) -> Result<Changed, StoreError> {
        const DOING: &str = "remove an account";
        let transaction = self.begin(DOING).await?;
        let found = user_account::Entity::find_by_id(id)
            .one(&transaction)
            .await
            .doing(DOING)?;
        let Some(row) = found else {
            return Ok(Changed::Unknown);
        };
        if !has_other_admin(&transaction, id, admin).await? {
            return Ok(Changed::LastAdmin);
        }
        user_account::Entity::delete_by_id(id)
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Changed::Done(row.into()))
    }

    /// Whether the account has logged in from this network.
    pub(crate) async fn is_known_origin(&self, user_id: i64, network: &str) -> Result<bool, StoreError> {
        let row = login_origin::Entity::find_by_id((user_id, network.to_owned()))
            .one(&self.reader)
            .await
            .doing("find from where an account logged in")?;
        Ok(row.is_some())
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
            last_login_ms: Set(None),
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

    /// Remembers that an account logged in from this network.
    pub(crate) async fn add_origin(
        &self,
        user_id: i64,
        network: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        const DOING: &str = "remember from where an account logged in";
        let transaction = self.begin(DOING).await?;
        let row = login_origin::ActiveModel {
            user_id: Set(user_id),
            network: Set(network.to_owned()),
            last_ms: Set(now_ms),
        };
        let key = [login_origin::Column::UserId, login_origin::Column::Network];
        let replace = OnConflict::columns(key)
            .update_column(login_origin::Column::LastMs)
            .to_owned();
        login_origin::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        let beyond: Vec<String> = login_origin::Entity::find()
            .select_only()
            .column(login_origin::Column::Network)
            .filter(login_origin::Column::UserId.eq(user_id))
            .order_by_desc(login_origin::Column::LastMs)
            .offset(ORIGINS_PER_ACCOUNT_MAX)
            .limit(ORIGINS_PER_ACCOUNT_MAX)
            .into_tuple()
            .all(&transaction)
            .await
            .doing(DOING)?;
        login_origin::Entity::delete_many()
            .filter(login_origin::Column::UserId.eq(user_id))
            .filter(login_origin::Column::Network.is_in(beyond))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        user_account::Entity::update_many()
            .col_expr(user_account::Column::LastLoginMs, Expr::value(now_ms))
            .filter(user_account::Column::Id.eq(user_id))
            .exec(&transaction)
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

/// Whether there is an enabled account of this role beside the one.
async fn has_other_admin(
    transaction: &DatabaseTransaction,
    id: i64,
    admin: &str,
) -> Result<bool, StoreError> {
    let others = user_account::Entity::find()
        .filter(user_account::Column::Id.ne(id))
        .filter(user_account::Column::Role.eq(admin))
        .filter(user_account::Column::Disabled.eq(false))
        .count(transaction)
        .await
        .doing("count admins")?;
    Ok(0 < others)
}
