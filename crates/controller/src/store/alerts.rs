//! Rules, alerts, silences and windows; and what the engine wants changed, in one transaction.

mod estate;
mod mutes;

use muster_alert::{Alert, AlertState, Change, Severity};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

pub(crate) use self::estate::EstateRow;
pub(crate) use self::mutes::MuteRow;
use super::entity::{alert, alert_rule};
use super::{Doing as _, Store, StoreError, commit, corrupt, deliveries, positions};

/// A rule as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleRow {
    /// Its number.
    pub(crate) id: i64,
    /// Which of the rules that come along it is.
    pub(crate) default_key: Option<String>,
    /// The rule as JSON.
    pub(crate) body: serde_json::Value,
    /// When it was made, Unix ms.
    pub(crate) created_ms: i64,
    /// When it was changed last, Unix ms.
    pub(crate) updated_ms: i64,
    /// Who changed it last.
    pub(crate) updated_by: String,
    /// When it was deleted, if it is one that came along.
    pub(crate) deleted_ms: Option<i64>,
}

/// What is to be written.
#[derive(Debug, Clone)]
pub(crate) enum AlertWrite {
    /// What the engine wants.
    Change(Change),
    /// A rule, new or changed.
    Rule(Box<RuleRow>),
    /// A rule goes.
    DeleteRule(i64),
    /// How far the consumer of that name has come.
    Position(&'static str, i64),
}

/// Which alerts are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AlertFilter {
    /// In one of these states; all if empty.
    pub(crate) states: Vec<&'static str>,
    /// With one of these severities; all if empty.
    pub(crate) severities: Vec<&'static str>,
    /// Of this server.
    pub(crate) server: Option<i64>,
    /// Of this resource.
    pub(crate) resource: Option<i64>,
    /// Of this rule.
    pub(crate) rule: Option<i64>,
    /// Begun at this time or later, Unix ms.
    pub(crate) from_ms: Option<i64>,
    /// Begun before this time, Unix ms.
    pub(crate) to_ms: Option<i64>,
}

/// How many alerts there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct AlertCounts {
    /// Those that are not over.
    pub(crate) unresolved: Vec<AlertCount>,
    /// How many were over at or after the time that was asked for.
    pub(crate) resolved: u64,
}

/// How many alerts there are of one sort.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlertCount {
    pub(crate) state: AlertState,
    pub(crate) severity: Severity,
    pub(crate) rule: i64,
    pub(crate) count: u64,
}

impl Store {
    /// Writes all of it, or nothing.
    pub(crate) async fn write_alerts(&self, writes: &[AlertWrite], now_ms: i64) -> Result<(), StoreError> {
        const DOING: &str = "write alerts";
        let transaction = self.begin(DOING).await?;
        let mut has_news = false;
        for write in writes {
            match write {
                AlertWrite::Change(Change::Alert(alert)) => put_alert(&transaction, alert).await?,
                AlertWrite::Change(Change::Forget(id)) => {
                    alert::Entity::delete_by_id(*id)
                        .exec(&transaction)
                        .await
                        .doing(DOING)?;
                }
                AlertWrite::Change(Change::News(news, channels)) => {
                    deliveries::put(&transaction, news, channels, now_ms).await?;
                    has_news = true;
                }
                AlertWrite::Rule(rule) => put_rule(&transaction, rule).await?,
                AlertWrite::DeleteRule(id) => delete_rule(&transaction, *id, now_ms).await?,
                AlertWrite::Position(consumer, position) => {
                    positions::set_position(&transaction, consumer, *position).await?;
                }
            }
        }
        commit(transaction, DOING).await?;
        if has_news {
            self.outbox_wake().notify_one();
        }
        Ok(())
    }

    /// Every rule, deleted ones that came along included.
    pub(crate) async fn alert_rules(&self) -> Result<Vec<RuleRow>, StoreError> {
        let rows = alert_rule::Entity::find()
            .order_by_asc(alert_rule::Column::Id)
            .all(&self.reader)
            .await
            .doing("read rules")?;
        Ok(rows.into_iter().map(RuleRow::from).collect())
    }

    /// The highest numbers that rules and alerts have had.
    pub(crate) async fn alert_numbers(&self) -> Result<(i64, i64), StoreError> {
        const DOING: &str = "read the numbers of alerts";
        let of_rules: Option<Option<i64>> = alert_rule::Entity::find()
            .select_only()
            .column_as(alert_rule::Column::Id.max(), "highest")
            .into_tuple()
            .one(&self.reader)
            .await
            .doing(DOING)?;
        let of_alerts: Option<(Option<i64>, Option<i64>)> = alert::Entity::find()
            .select_only()
            .column_as(alert::Column::RuleId.max(), "rule")
            .column_as(alert::Column::Id.max(), "highest")
            .into_tuple()
            .one(&self.reader)
            .await
            .doing(DOING)?;
        let (rule, alert) = of_alerts.unwrap_or_default();
        Ok((of_rules.flatten().max(rule).unwrap_or(0), alert.unwrap_or(0)))
    }

    /// The alerts that are not over, and those that were over after `since_ms`.
    pub(crate) async fn alerts_to_restore(
        &self,
        since_ms: i64,
    ) -> Result<(Vec<Alert>, Vec<Alert>), StoreError> {
        const DOING: &str = "read open alerts";
        let open = alert::Entity::find()
            .filter(alert::Column::State.ne("resolved"))
            .order_by_asc(alert::Column::Id)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        let over = alert::Entity::find()
            .filter(alert::Column::State.eq("resolved"))
            .filter(alert::Column::EndedMs.gte(since_ms))
            .order_by_asc(alert::Column::Id)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((read_all(open)?, read_all(over)?))
    }

    /// Alerts, the newest first, before the number `before`; and how many there are in all.
    pub(crate) async fn alerts(
        &self,
        filter: &AlertFilter,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<Alert>, u64), StoreError> {
        const DOING: &str = "list alerts";
        let wanted = select(filter);
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        let mut page = wanted.order_by_desc(alert::Column::Id).limit(limit);
        if let Some(before) = before {
            page = page.filter(alert::Column::Id.lt(before));
        }
        let rows = page.all(&self.reader).await.doing(DOING)?;
        Ok((read_all(rows)?, total))
    }

    /// How many there are that are not over, and how many were over at `since_ms` or later.
    pub(crate) async fn alert_counts(&self, since_ms: i64) -> Result<AlertCounts, StoreError> {
        const DOING: &str = "count alerts";
        let unresolved: Vec<(String, String, i64, i64)> = alert::Entity::find()
            .select_only()
            .columns([
                alert::Column::State,
                alert::Column::Severity,
                alert::Column::RuleId,
            ])
            .column_as(alert::Column::Id.count(), "count")
            .filter(alert::Column::State.ne(AlertState::Resolved.as_str()))
            .group_by(alert::Column::State)
            .group_by(alert::Column::Severity)
            .group_by(alert::Column::RuleId)
            .into_tuple()
            .all(&self.reader)
            .await
            .doing(DOING)?;
        let resolved = alert::Entity::find()
            .filter(alert::Column::State.eq(AlertState::Resolved.as_str()))
            .filter(alert::Column::EndedMs.gte(since_ms))
            .count(&self.reader)
            .await
            .doing(DOING)?;
        let count = |(state, severity, rule, count): (String, String, i64, i64)| {
            Ok(AlertCount {
                state: AlertState::from_word(&state).ok_or_else(|| corrupt("alert.state", state))?,
                severity: Severity::from_word(&severity)
                    .ok_or_else(|| corrupt("alert.severity", severity))?,
                rule,
                count: count.unsigned_abs(),
            })
        };
        Ok(AlertCounts {
            unresolved: unresolved
                .into_iter()
                .map(count)
                .collect::<Result<_, StoreError>>()?,
            resolved,
        })
    }

    /// One alert.
    pub(crate) async fn alert(&self, id: i64) -> Result<Option<Alert>, StoreError> {
        let row = alert::Entity::find_by_id(id)
            .one(&self.reader)
            .await
            .doing("read an alert")?;
        row.map(read).transpose()
    }

    /// Forgets alerts that were over before `before_ms`.
    pub(crate) async fn forget_alerts(&self, before_ms: i64) -> Result<u64, StoreError> {
        let gone = alert::Entity::delete_many()
            .filter(alert::Column::State.eq("resolved"))
            .filter(alert::Column::EndedMs.lt(before_ms))
            .exec(&self.writer)
            .await
            .doing("forget old alerts")?;
        Ok(gone.rows_affected)
    }
}

fn select(filter: &AlertFilter) -> Select<alert::Entity> {
    let mut wanted = alert::Entity::find();
    if !filter.states.is_empty() {
        wanted = wanted.filter(alert::Column::State.is_in(filter.states.iter().copied()));
    }
    if !filter.severities.is_empty() {
        wanted = wanted.filter(alert::Column::Severity.is_in(filter.severities.iter().copied()));
    }
    if let Some(server) = filter.server {
        wanted = wanted.filter(alert::Column::ServerId.eq(server));
    }
    if let Some(resource) = filter.resource {
        wanted = wanted.filter(alert::Column::ResourceId.eq(resource));
    }
    if let Some(rule) = filter.rule {
        wanted = wanted.filter(alert::Column::RuleId.eq(rule));
    }
    if let Some(from_ms) = filter.from_ms {
        wanted = wanted.filter(alert::Column::StartedMs.gte(from_ms));
    }
    if let Some(to_ms) = filter.to_ms {
        wanted = wanted.filter(alert::Column::StartedMs.lt(to_ms));
    }
    wanted
}

fn read_all(rows: Vec<alert::Model>) -> Result<Vec<Alert>, StoreError> {
    rows.into_iter().map(read).collect()
}

fn read(row: alert::Model) -> Result<Alert, StoreError> {
    let text = row.body.to_string();
    serde_json::from_value(row.body).map_err(|_| corrupt("alert.body", text))
}

async fn put_alert(transaction: &DatabaseTransaction, alert: &Alert) -> Result<(), StoreError> {
    use alert::Column;
    let body = serde_json::to_value(alert).map_err(|error| corrupt("alert.body", error.to_string()))?;
    let row = alert::ActiveModel {
        id: Set(alert.id),
        state: Set(alert.state.as_str().to_owned()),
        severity: Set(alert.severity.as_str().to_owned()),
        rule_id: Set(alert.rule),
        server_id: Set(alert.server),
        resource_id: Set(alert.resource),
        started_ms: Set(alert.started_ms),
        ended_ms: Set(alert.ended_ms),
        body: Set(body),
    };
    let replace = OnConflict::column(Column::Id)
        .update_columns([
            Column::State,
            Column::Severity,
            Column::StartedMs,
            Column::EndedMs,
            Column::Body,
        ])
        .to_owned();
    alert::Entity::insert(row)
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .doing("write an alert")?;
    Ok(())
}

async fn put_rule(transaction: &DatabaseTransaction, rule: &RuleRow) -> Result<(), StoreError> {
    use alert_rule::Column;
    let row = alert_rule::ActiveModel {
        id: Set(rule.id),
        default_key: Set(rule.default_key.clone()),
        body: Set(rule.body.clone()),
        created_ms: Set(rule.created_ms),
        updated_ms: Set(rule.updated_ms),
        updated_by: Set(rule.updated_by.clone()),
        deleted_ms: Set(None),
    };
    let replace = OnConflict::column(Column::Id)
        .update_columns([
            Column::Body,
            Column::UpdatedMs,
            Column::UpdatedBy,
            Column::DeletedMs,
        ])
        .to_owned();
    alert_rule::Entity::insert(row)
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .doing("write a rule")?;
    Ok(())
}

async fn delete_rule(transaction: &DatabaseTransaction, id: i64, now_ms: i64) -> Result<(), StoreError> {
    const DOING: &str = "delete a rule";
    alert_rule::Entity::update_many()
        .col_expr(alert_rule::Column::DeletedMs, Expr::value(now_ms))
        .filter(alert_rule::Column::Id.eq(id))
        .filter(alert_rule::Column::DefaultKey.is_not_null())
        .exec(transaction)
        .await
        .doing(DOING)?;
    alert_rule::Entity::delete_many()
        .filter(alert_rule::Column::Id.eq(id))
        .filter(alert_rule::Column::DefaultKey.is_null())
        .exec(transaction)
        .await
        .doing(DOING)?;
    Ok(())
}

impl From<alert_rule::Model> for RuleRow {
    fn from(row: alert_rule::Model) -> Self {
        Self {
            id: row.id,
            default_key: row.default_key,
            body: row.body,
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            updated_by: row.updated_by,
            deleted_ms: row.deleted_ms,
        }
    }
}
