//! Enrolment tokens, for people.

use muster_base::id::ServerId;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::store::entity::enrolment_token;
use crate::store::{Doing as _, Store, StoreError};

/// An enrolment token, without its secret.
#[derive(Debug, Clone)]
pub(crate) struct ListedToken {
    pub(crate) public_id: String,
    pub(crate) server: Option<ServerId>,
    pub(crate) uses_total: u32,
    pub(crate) uses_left: u32,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) created_by: String,
}

impl Store {
    /// Enrolment tokens after `after` in order of their public ids, at most `limit`, and how many there are in all.
    pub(crate) async fn enrolment_tokens(
        &self,
        after: &str,
        limit: u64,
    ) -> Result<(Vec<ListedToken>, u64), StoreError> {
        const DOING: &str = "list enrolment tokens";
        let all = enrolment_token::Entity::find();
        let total = all.clone().count(&self.reader).await.doing(DOING)?;
        let rows = all
            .filter(enrolment_token::Column::PublicId.gt(after))
            .order_by_asc(enrolment_token::Column::PublicId)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows.into_iter().map(ListedToken::from).collect(), total))
    }

    /// Ends an enrolment token now, with whatever uses it had left; one that has ended already stays as it is. Returns
    /// whether there is such a token. Agents that it made stay.
    pub(crate) async fn end_enrolment_token(&self, public_id: &str, now_ms: i64) -> Result<bool, StoreError> {
        const DOING: &str = "end an enrolment token";
        let of_id = || enrolment_token::Column::PublicId.eq(public_id);
        let ended = enrolment_token::Entity::update_many()
            .col_expr(enrolment_token::Column::ExpiresMs, Expr::value(now_ms))
            .filter(of_id())
            .filter(enrolment_token::Column::ExpiresMs.gt(now_ms))
            .exec(&self.writer)
            .await
            .doing(DOING)?;
        if 0 < ended.rows_affected {
            return Ok(true);
        }
        let known = enrolment_token::Entity::find().filter(of_id());
        Ok(0 < known.count(&self.reader).await.doing(DOING)?)
    }
}

impl From<enrolment_token::Model> for ListedToken {
    fn from(row: enrolment_token::Model) -> Self {
        Self {
            public_id: row.public_id,
            server: row.server_id.map(ServerId),
            uses_total: u32::try_from(row.uses_total).unwrap_or(0),
            uses_left: u32::try_from(row.uses_left).unwrap_or(0),
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            created_by: row.created_by,
        }
    }
}
