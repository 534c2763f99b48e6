//! Changing many servers at once.

use muster_base::id::ServerId;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::super::entity::server;
use super::super::{Doing as _, Store, StoreError, commit};
use super::{ServerRow, find};

impl Store {
    /// Switches monitoring of these servers. Gives them as they are now or, when nothing was changed, the first that
    /// there is not.
    pub(crate) async fn set_monitoring(
        &self,
        servers: &[ServerId],
        is_monitored: bool,
        now_ms: i64,
    ) -> Result<Result<Vec<ServerRow>, ServerId>, StoreError> {
        const DOING: &str = "switch monitoring of servers";
        let transaction = self.begin(DOING).await?;
        server::Entity::update_many()
            .col_expr(server::Column::MonitoringEnabled, Expr::value(is_monitored))
            .col_expr(server::Column::UpdatedMs, Expr::value(now_ms))
            .filter(server::Column::Id.is_in(servers.iter().map(|id| id.0)))
            .filter(server::Column::DeletedMs.is_null())
            .exec(&transaction)
            .await
            .doing(DOING)?;
        let mut rows = Vec::with_capacity(servers.len());
        for id in servers {
            match find(&transaction, *id).await? {
                Some(found) => rows.push(ServerRow::from(found)),
                // Dropped, the transaction has changed nothing.
                None => return Ok(Err(*id)),
            }
        }
        commit(transaction, DOING).await?;
        Ok(Ok(rows))
    }
}
