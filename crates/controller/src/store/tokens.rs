//! API tokens.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use super::entity::{api_token, user_account};
use super::people::AccountRow;
use super::{Doing as _, Store, StoreError, commit};

/// An API token.
#[derive(Debug, Clone)]
pub(crate) struct ApiTokenRow {
    pub(crate) id: i64,
    pub(crate) public_id: String,
    pub(crate) user_id: i64,
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) scopes: String,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) last_used_ms: Option<i64>,
}

/// An API token to be stored.
#[derive(Debug, Clone)]
pub(crate) struct NewApiToken {
    pub(crate) public_id: String,
    pub(crate) user_id: i64,
    pub(crate) name: String,
    pub(crate) secret_sha256: Vec<u8>,
    pub(crate) scopes: String,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
}

impl ApiTokenRow {
    fn of((token, account): (api_token::Model, Option<user_account::Model>)) -> Self {
        Self {
            id: token.id,
            public_id: token.public_id,
            user_id: token.user_id,
            username: account.map(|account| account.username).unwrap_or_default(),
            name: token.name,
            scopes: token.scopes,
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
            last_used_ms: token.last_used_ms,
        }
    }
}

impl Store {
    /// Stores an API token unless its account has `max` of them. Returns its id.
    pub(crate) async fn add_api_token(&self, new: NewApiToken, max: u64) -> Result<Option<i64>, StoreError> {
        const DOING: &str = "store an API token";
        let transaction = self.begin(DOING).await?;
        let of_account = of(Some(new.user_id)).count(&transaction).await.doing(DOING)?;
        if max <= of_account {
            return Ok(None);
        }
        let row = api_token::ActiveModel {
            id: NotSet,
            public_id: Set(new.public_id),
            user_id: Set(new.user_id),
            name: Set(new.name),
            secret_sha256: Set(new.secret_sha256),
            scopes: Set(new.scopes),
            created_ms: Set(new.created_ms),
            expires_ms: Set(new.expires_ms),
            last_used_ms: Set(None),
        };
        let inserted = api_token::Entity::insert(row)
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Some(inserted.last_insert_id))
    }

    /// Up to `limit` API tokens after this id, of one account or of all, and how many there are.
    pub(crate) async fn api_tokens(
        &self,
        user_id: Option<i64>,
        after: i64,
        limit: u64,
    ) -> Result<(Vec<ApiTokenRow>, u64), StoreError> {
        const DOING: &str = "list API tokens";
        let total = of(user_id).count(&self.reader).await.doing(DOING)?;
        let tokens = of(user_id)
            .filter(api_token::Column::Id.gt(after))
            .order_by_asc(api_token::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        let owners: Vec<i64> = tokens.iter().map(|token| token.user_id).collect();
        let accounts = user_account::Entity::find()
            .filter(user_account::Column::Id.is_in(owners))
            .all(&self.reader)
            .await
            .doing(DOING)?;
        let owner = |id| accounts.iter().find(|account| account.id == id).cloned();
        let rows = tokens.into_iter().map(|token| {
            let owner = owner(token.user_id);
            ApiTokenRow::of((token, owner))
        });
        Ok((rows.collect(), total))
    }

    /// The token with this public id, its secret's hash, and its account, if that is enabled and the token has not
    /// ended.
    pub(crate) async fn api_token_by_public_id(
        &self,
        public_id: &str,
        now_ms: i64,
    ) -> Result<Option<(ApiTokenRow, Vec<u8>, AccountRow)>, StoreError> {
        const DOING: &str = "find an API token";
        let found = api_token::Entity::find()
            .filter(api_token::Column::PublicId.eq(public_id))
            .filter(api_token::Column::ExpiresMs.gt(now_ms))
            .one(&self.reader)
            .await
            .doing(DOING)?;
        let Some(token) = found else { return Ok(None) };
        let account = user_account::Entity::find_by_id(token.user_id)
            .filter(user_account::Column::Disabled.eq(false))
            .one(&self.reader)
            .await
            .doing(DOING)?;
        let Some(account) = account else { return Ok(None) };
        let secret = token.secret_sha256.clone();
        let row = ApiTokenRow::of((token, Some(account.clone())));
        Ok(Some((row, secret, account.into())))
    }

    pub(crate) async fn api_token_used(&self, id: i64, now_ms: i64) -> Result<(), StoreError> {
        api_token::Entity::update_many()
            .col_expr(api_token::Column::LastUsedMs, Expr::value(now_ms))
            .filter(api_token::Column::Id.eq(id))
            .exec(&self.writer)
            .await
            .doing("note that an API token was used")?;
        Ok(())
    }

    /// Removes an API token, of this account or of any. Returns whether there was one.
    pub(crate) async fn remove_api_token(&self, id: i64, user_id: Option<i64>) -> Result<bool, StoreError> {
        let mut delete = api_token::Entity::delete_many().filter(api_token::Column::Id.eq(id));
        if let Some(user_id) = user_id {
            delete = delete.filter(api_token::Column::UserId.eq(user_id));
        }
        let deleted = delete.exec(&self.writer).await.doing("remove an API token")?;
        Ok(deleted.rows_affected == 1)
    }

    /// Removes API tokens that ended before `ended_ms`.
    pub(crate) async fn forget_api_tokens(&self, ended_ms: i64) -> Result<(), StoreError> {
        api_token::Entity::delete_many()
            .filter(api_token::Column::ExpiresMs.lt(ended_ms))
            .exec(&self.writer)
            .await
            .doing("forget old API tokens")?;
        Ok(())
    }
}

fn of(user_id: Option<i64>) -> Select<api_token::Entity> {
    let select = api_token::Entity::find();
    match user_id {
        Some(user_id) => select.filter(api_token::Column::UserId.eq(user_id)),
        None => select,
    }
}
